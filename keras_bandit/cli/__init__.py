"""The `keras-bandit` command: separate, evaluate, prepare, presets, convert.

`arguments.py` has the parsers; each command has a module of its name. NumPy,
soundfile and Keras are imported when a command runs, not before: `--help` and
mistakes in the arguments answer at once, and `--backend` comes in time.
"""

import atexit
import contextlib
import os
import sys

from keras_bandit.cli.arguments import build_parser
from keras_bandit.cli.console import CommandError, report, unsaid


def main(argv=None):
    """Runs the command line.

    Args:
        argv: list of str; `None` takes the process's arguments.

    Returns:
        int, the exit status: see `keras-bandit --help`.
    """
    unsaid.clear()
    try:
        args = build_parser().parse_args(argv)
        status = args.command(args)
    except CommandError as error:
        report(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        report("interrupted")
        return 130
    if unsaid and not isinstance(unsaid[0], BrokenPipeError):
        report(f"error: standard output: {unsaid[0].strerror}")
    return status or int(bool(unsaid))


def run():
    """The `keras-bandit` command: `main`, then the process's end.

    Python frees the modules of Keras and its backend one object after the
    other, which takes seconds; the system takes back their memory at once.
    """
    status = main()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # None where it was closed from the start
            with contextlib.suppress(OSError):  # `main` has said so
                stream.flush()
    os._exit(status)
