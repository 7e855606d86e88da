"""The `keras-bandit` command; each of its commands has a module.

NumPy, soundfile and Keras are imported when a command runs: `--help` answers at
once, and `--backend` comes in time.
"""

import atexit
import contextlib
import os
import signal
import sys

from keras_bandit import __version__
from keras_bandit.cli.arguments import Parser
from keras_bandit.cli.bulk import add_bulk
from keras_bandit.cli.console import CommandError, failed_prints, report
from keras_bandit.cli.convert import add_convert
from keras_bandit.cli.evaluate import add_evaluate
from keras_bandit.cli.export import add_export
from keras_bandit.cli.fetch import add_fetch
from keras_bandit.cli.info import add_info
from keras_bandit.cli.prepare import add_prepare
from keras_bandit.cli.presets import add_presets
from keras_bandit.cli.separate import add_separate
from keras_bandit.cli.serve import add_serve


def build_parser():
    """Returns the `argparse` parser of all commands."""
    parser = Parser(
        prog="keras-bandit",
        description="Separates the sound of films into dialogue, music and "
        "effects with BandIt and its relatives.",
    )
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {__version__}"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_separate(commands)
    add_serve(commands)
    add_bulk(commands)
    add_info(commands)
    add_presets(commands)
    add_fetch(commands)
    add_convert(commands)
    add_prepare(commands)
    add_evaluate(commands)
    add_export(commands)
    return parser


def main(argv=None):
    """Runs the command line, the process's or `argv`; returns the exit status."""
    failed_prints.clear()
    try:
        args = build_parser().parse_args(argv)
        status = args.command(args)
    except CommandError as error:
        report(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        report("interrupted")
        return 130
    if failed_prints and not isinstance(failed_prints[0], BrokenPipeError):
        report(f"error: standard output: {failed_prints[0].strerror}")
    return status or int(bool(failed_prints))


def run():
    """The `keras-bandit` command: `main`, then the process's end.

    Python frees the modules of Keras and its backend one object after the
    other, which takes seconds; the system takes back their memory at once.
    """
    # `kill` cleans up as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    status = main()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # None where it was closed from the start
            with contextlib.suppress(OSError):  # `main` has said so
                stream.flush()
    os._exit(status)
