"""`keras-bandit convert`: a released checkpoint to a preset directory."""

import pathlib

from keras_bandit.cli.backend import choose_backend, import_keras
from keras_bandit.cli.console import CommandError, explain, say
from keras_bandit.cli.folders import check_writable
from keras_bandit.common.files import replace_directory
from keras_bandit.models.presets import is_preset_directory


def _check_replaceable(out_dir, overwrite):
    """Refuses a file, and a full directory unless it is a preset to replace."""
    if out_dir.exists() and not out_dir.is_dir():
        raise CommandError(f"{out_dir}: not a directory")
    if not out_dir.is_dir() or not any(out_dir.iterdir()):
        return
    if not overwrite:
        raise CommandError(f"{out_dir}: already there; --overwrite replaces")
    if not is_preset_directory(out_dir):
        raise CommandError(
            f"{out_dir}: not a preset directory (no config.json), so it is "
            "not replaced"
        )


def _describe(separator):
    """Says in a few lines what a model is."""
    lines = separator.describe().items()
    return "\n".join(f"  {label:<12}{text}" for label, text in lines)


def convert_command(args):
    """Runs `keras-bandit convert`; returns the exit status."""
    checkpoint = pathlib.Path(args.checkpoint)
    out_dir = pathlib.Path(args.out_dir)
    if not checkpoint.exists():
        raise CommandError(f"{checkpoint}: No such file or directory")
    _check_replaceable(out_dir, args.overwrite)
    check_writable(out_dir.absolute().parent)
    choose_backend(args.backend)
    import_keras()
    from keras_bandit import convert

    try:
        separator = convert.from_checkpoint(
            str(checkpoint), sample_rate=args.sample_rate
        )
    except (ImportError, OSError, ValueError) as error:
        raise CommandError(f"{checkpoint}: {explain(error)}") from error
    try:
        replace_directory(out_dir, separator.save_to_preset)
    except OSError as error:
        raise CommandError(explain(error)) from error
    say(f"{checkpoint} -> {out_dir}\n{_describe(separator)}")
    return 0
