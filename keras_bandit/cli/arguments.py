"""What the commands' arguments have in common: types, options, errors."""

import argparse

from keras_bandit.cli.console import CommandError
from keras_bandit.common.checks import MAX_SECONDS
from keras_bandit.inference import (
    CHUNKINGS,
    DEFAULT_BATCH_SIZE,
    MAX_BATCH_SIZE,
)
from keras_bandit.inference.engines import ENGINES, PRECISIONS

_EXIT_STATUS = """\
exit status:
  0    everything was done
  1    some of several files failed; the others are done
  2    nothing was done: bad arguments, preset or input
  130  interrupted with Ctrl-C
"""


def seconds(text):
    """Parses a positive number of seconds, at most a day."""
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value <= MAX_SECONDS:
        raise argparse.ArgumentTypeError(
            "must be a positive number of seconds, at most "
            f"{MAX_SECONDS}; got {text!r}"
        )
    return value


def whole(text, least=0, most=2**31 - 1):
    """Parses an integer that is not negative."""
    if not text.isdecimal() or not least <= int(text) <= most:
        kind = "a positive integer" if least else "an integer from 0"
        raise argparse.ArgumentTypeError(
            f"must be {kind}, at most {most}; got {text!r}"
        )
    return int(text)


def count(text, most=2**31 - 1):
    """Parses a positive integer."""
    return whole(text, 1, most)


def batch_size(text):
    """Parses a number of chunks."""
    return count(text, MAX_BATCH_SIZE)


def path(text):
    """Parses a path: an empty one would be the current directory."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"must be a path; got {text!r}")
    return text


def names(text):
    """Parses names separated by commas; a repeated one counts once."""
    found = [name.strip() for name in text.split(",")]
    if not all(found):
        raise argparse.ArgumentTypeError(
            f"must be names separated by commas; got {text!r}"
        )
    return list(dict.fromkeys(found))


def tracks(text):
    """Parses `--audio-track` as `parse_tracks` does."""
    from keras_bandit.media.opening import parse_tracks

    try:
        return parse_tracks(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


class SetChunking(argparse.Action):
    """Sets `--chunk-seconds` and `--hop-seconds` by one name."""

    def __call__(self, parser, namespace, value, option_string=None):
        vars(namespace).update(CHUNKINGS[value])


class Parser(argparse.ArgumentParser):
    """Explains the exit status, and reports a bad argument in one line."""

    def __init__(self, *args, epilog="", **kwargs):
        super().__init__(
            *args,
            epilog=epilog + _EXIT_STATUS,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **kwargs,
        )

    def error(self, message):
        raise CommandError(f"{message} (see {self.prog} --help)")

    def option(self, name, metavar, type, help, **kwargs):
        """Adds an option with a value."""
        self.add_argument(name, metavar=metavar, type=type, help=help, **kwargs)

    def flag(self, name, help):
        """Adds an option without a value."""
        self.add_argument(name, action="store_true", help=help)

    def add_preset(self, several="", **kwargs):
        """Adds `--preset`, which `load_separator` takes.

        `several` says in the help what it is for when given more than once.
        """
        self.option(
            "--preset",
            "NAME_OR_DIR",
            path,
            "preset directory (see convert), name (see presets), or hf://..."
            + several,
            required=True,
            **kwargs,
        )

    def add_mixture_consistency(self):
        """Adds `--mixture-consistency`."""
        self.flag(
            "--mixture-consistency",
            "spread the residual evenly over the stems, so that they add up to "
            "the mixture",
        )

    def add_chunks(self, hop_help):
        """Adds the options that `separate` cuts a recording by."""
        self.option(
            "--chunk-seconds",
            "S",
            seconds,
            "length of the chunks that the model sees (the model's, such as 6)",
        )
        self.option("--hop-seconds", "S", seconds, hop_help)
        self.add_argument(
            "--chunking",
            choices=CHUNKINGS,
            action=SetChunking,
            default=argparse.SUPPRESS,
            help="both lengths by a name: "
            + ", ".join(
                f"{name} {x['chunk_seconds']:g} and {x['hop_seconds']:g} s"
                for name, x in CHUNKINGS.items()
            ),
        )
        self.option(
            "--batch-size",
            "N",
            batch_size,
            "chunks at a time; raise it on a GPU (%(default)s)",
            default=DEFAULT_BATCH_SIZE,
        )

    def add_engine(self):
        """Adds `--engine` and `--precision`, which `resolve_engine` takes."""
        self.add_argument(
            "--engine",
            choices=ENGINES,
            default="auto",
            help="what computes: keras, openvino, onnxruntime, or openvino "
            "where it is installed, can run the model, there is no GPU and no "
            "--backend (%(default)s)",
        )
        self.add_argument(
            "--precision",
            choices=PRECISIONS,
            default="float32",
            help="bfloat16 is faster and less exact: OpenVINO, on processors "
            "that have it (%(default)s)",
        )

    def add_backend(self):
        """Adds `--backend`, which `choose_backend` takes."""
        self.add_argument(
            "--backend",
            choices=["tensorflow", "jax", "torch"],
            help="Keras backend (KERAS_BACKEND, else ~/.keras/keras.json, else "
            "tensorflow)",
        )
