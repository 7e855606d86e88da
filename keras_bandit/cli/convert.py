"""`keras-bandit convert`: a released checkpoint to a preset directory."""

import os
import pathlib

from keras_bandit.cli.arguments import count, names, path
from keras_bandit.cli.backend import choose_backend, import_keras
from keras_bandit.cli.console import CommandError, say, user_errors
from keras_bandit.common.files import (
    check_replaceable,
    check_writable,
    replace_directory,
)


def add_convert(commands):
    """Adds the command to the parsers of `build_parser`."""
    parser = commands.add_parser(
        "convert",
        help="convert a released checkpoint to a preset directory",
        description="Converts a released checkpoint (BandIt v1 and v2, and "
        "BSRNN by BandIt's authors; Open-Unmix, a file or a folder of targets; "
        "MRX; Hybrid Demucs and HTDemucs, a file or a bag's .yaml) to a preset "
        "directory. The model's type and sizes are read from the checkpoint's "
        "tensors.",
    )
    parser.set_defaults(command=convert_command)
    option, flag = parser.option, parser.flag
    parser.add_argument("checkpoint", type=path, metavar="CHECKPOINT")
    parser.add_argument("out_dir", type=path, metavar="OUT_DIR")
    flag("--overwrite", "replace OUT_DIR if it is a preset directory")
    option(
        "--sample-rate",
        "HZ",
        count,
        "rate the model was trained at (from hparams.yaml or the bands)",
    )
    option(
        "--hop-length",
        "N",
        count,
        "samples between frames, where the files do not say (Open-Unmix)",
    )
    option(
        "--stems",
        "A,B",
        names,
        "names of the stems, where the files do not say (Open-Unmix, Demucs)",
    )
    parser.add_backend()


def _check_replaceable(out_dir, checkpoint, overwrite):
    """Refuses all but a preset without the checkpoint in it."""
    inside = os.path.realpath(out_dir) + os.sep
    if overwrite and os.path.realpath(checkpoint).startswith(inside):
        raise CommandError(f"{out_dir}: holds {checkpoint}, so it is kept")
    kind = "a preset directory (no task.json)"
    check_replaceable(
        out_dir, overwrite, kind, lambda path: (path / "task.json").is_file()
    )


def _describe(separator):
    """Says in a few lines what a model is."""
    lines = separator.describe().items()
    return "\n".join(f"  {label:<12}{text}" for label, text in lines)


def convert_command(args):
    """Runs `keras-bandit convert`; returns the exit status."""
    checkpoint = pathlib.Path(args.checkpoint)
    out_dir = pathlib.Path(args.out_dir)
    with user_errors(OSError):
        if not checkpoint.exists():
            raise CommandError(f"{checkpoint}: No such file or directory")
        _check_replaceable(out_dir, checkpoint, args.overwrite)
        check_writable(out_dir.absolute().parent)
    choose_backend(args.backend)
    import_keras()
    from keras_bandit import convert
    from keras_bandit.backend.process import without_tensorflow

    # Keras imports TensorFlow to read or write a configuration if it can.
    with without_tensorflow():
        with user_errors(ImportError, OSError, ValueError, about=checkpoint):
            settings = {"hop_length": args.hop_length, "stems": args.stems}
            separator = convert.from_checkpoint(
                str(checkpoint),
                sample_rate=args.sample_rate,
                **{k: v for k, v in settings.items() if v is not None},
            )
        with user_errors(OSError):
            real = os.path.realpath(out_dir)  # not a link to it
            replace_directory(real, separator.save_to_preset)
    say(f"{checkpoint} -> {out_dir}\n{_describe(separator)}")
    return 0
