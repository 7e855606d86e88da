"""`keras-bandit export`: a preset as files for engines without Keras."""

import pathlib

from keras_bandit.cli.arguments import names, path, seconds
from keras_bandit.cli.backend import choose_backend
from keras_bandit.cli.console import CommandError, say, user_errors
from keras_bandit.cli.model import load_separator
from keras_bandit.common.files import check_writable
from keras_bandit.export import FORMATS


def add_export(commands):
    """Adds the command to the parsers of `build_parser`."""
    parser = commands.add_parser(
        "export",
        help="export a preset for engines without Keras",
        description="Writes a preset's model to the directory OUT. onnx and "
        "openvino hold the core, what lies between the STFT and its inverse; "
        "saved_model and litert "
        "the whole model, waveform to waveforms, for one length. "
        "OUT/separator.json says what the model is.",
    )
    parser.set_defaults(command=export_command)
    parser.add_argument("preset", type=path, metavar="PRESET")
    parser.add_argument("out", type=path, metavar="OUT")
    parser.add_argument("--format", choices=FORMATS, required=True)
    parser.option(
        "--stems", "A,B", names, "stems to export, such as speech,music (all)"
    )
    parser.option(
        "--chunk-seconds",
        "S",
        seconds,
        "length of the chunks, fixed in saved_model and litert (the model's, "
        "such as 6)",
    )
    parser.flag("--overwrite", "replace OUT if it is an export")
    parser.add_backend()


def export_command(args):
    """Runs `keras-bandit export`; returns the exit status."""
    out = pathlib.Path(args.out)
    backend = args.backend
    if args.format in ("saved_model", "litert"):
        if backend not in (None, "tensorflow"):
            raise CommandError(
                f"--format {args.format} is written on TensorFlow; got "
                f"--backend {backend}"
            )
        backend = "tensorflow"
    from keras_bandit.export.description import check_export_replaceable

    with user_errors(OSError):
        check_export_replaceable(out, args.overwrite)
        check_writable(out.absolute().parent)
    choose_backend(backend)
    separator = load_separator(args.preset)
    with user_errors(ImportError, OSError, ValueError):
        separator.export_core(
            out,
            args.format,
            stems=args.stems,
            chunk_seconds=args.chunk_seconds,
            overwrite=args.overwrite,
        )
    say(f"{args.preset} -> {out} ({args.format})")
    return 0
