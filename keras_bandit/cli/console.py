"""What the command prints, and the error that ends it."""

import sys

from keras_bandit.common.one_line import one_line


class CommandError(Exception):
    """A mistake of the user's; the message is one line that says which."""


def explain(error):
    """Returns an exception's message in one line, a file's name first."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return one_line(error)


def report(message):
    """Prints a line on standard error, after the program's name."""
    print(f"keras-bandit: {message}", file=sys.stderr)


unsaid = []
"""The errors that kept `say` from printing."""


def say(message):
    """Prints on standard output; where that fails, the work goes on."""
    try:
        print(message, flush=True)
    except OSError as error:
        unsaid.append(error)
