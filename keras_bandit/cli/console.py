"""What the command prints, and the error that ends it."""

import contextlib
import re
import sys

from keras_bandit.common.one_line import one_line

_ARGUMENTS = r"\b(chunk_seconds|hop_seconds|mixture_consistency|overwrite)\b=?"


def _option(argument):
    return "--" + argument[0].replace("_", "-").replace("=", " ")


class CommandError(Exception):
    """A mistake of the user's; the message is one line that says which."""


def explain(error):
    """Returns an exception's message in one line, a file's name first."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return one_line(error)


@contextlib.contextmanager
def user_errors(*expected, about=None):
    """Ends the command in one line where the user can mend what went wrong.

    `CommandError` in place of expected exceptions; `about` begins the line.
    """
    try:
        yield
    except expected as error:
        # The library names its arguments, the user has given options.
        message = re.sub(_ARGUMENTS, _option, explain(error))
        message = f"{about}: {message}" if about else message
        raise CommandError(message) from error


def report(message):
    """Prints a line on standard error, after the program's name."""
    print(f"keras-bandit: {message}", file=sys.stderr)


failed_prints = []
"""Errors of `say`; `main` reports the first at the end."""


def say(message):
    """Prints on standard output; where that fails, the work goes on."""
    # Names of files that are not in the terminal's encoding are escaped.
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    text = message.encode(encoding, "backslashreplace").decode(encoding)
    try:
        print(text, flush=True)
    except OSError as error:
        failed_prints.append(error)
