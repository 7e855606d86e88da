"""`keras-bandit separate`: files in, one file per stem out."""

import json
import pathlib
import sys
import time

from keras_bandit.cli.arguments import path
from keras_bandit.cli.backend import choose_backend
from keras_bandit.cli.console import (
    CommandError,
    explain,
    report,
    say,
    user_errors,
)
from keras_bandit.cli.model import load_on_engine, resolve_engine
from keras_bandit.cli.separation_options import (
    add_separation_options,
    chosen_options,
)
from keras_bandit.common.files import check_writable

_SECONDS_BETWEEN_LINES = 60.0


def add_separate(commands):
    """Adds the command to the parsers of `build_parser`."""
    parser = commands.add_parser(
        "separate",
        help="separate sound files and films into stems",
        description="Separates sound files and the sound of films (extra "
        "video) into stems. Writes "
        "OUTPUT/<file name>/<stem>.<format> at the rate, channels and length "
        "of the input.",
    )
    parser.set_defaults(command=separate_command)
    option, flag = parser.option, parser.flag
    parser.add_argument("files", type=path, nargs="+", metavar="FILE")
    parser.add_preset()
    option(
        "--output",
        "DIR",
        path,
        "directory of the results (%(default)s)",
        default="separated",
    )
    add_separation_options(parser)
    flag("--overwrite", "replace existing files")
    flag(
        "--resume",
        "keep what is finished as it is computed; killed at any time, the same "
        "command goes on (takes as much room as the stems in FLOAT)",
    )
    flag("--json", "print a JSON object for each file that is done")
    flag("--quiet", "only errors and warnings, no progress or summary")
    parser.add_backend()


def _folders(args):
    """Returns `{source: directory of its stems}`, no two of them the same."""
    folders = {}
    for source in map(pathlib.Path, args.files):
        if source.stem in (".", ".."):  # "...wav"
            raise CommandError(
                f"{source}: names no folder for its stems; rename it"
            )
        folder = pathlib.Path(args.output, source.stem)
        for other in folders:
            if folders[other] == folder:
                raise CommandError(
                    f"{other} and {source} would both be written to "
                    f"{source.stem}/; separate them with two --output"
                )
        folders[source] = folder
    return folders


def _attempt(function, items):
    """Applies a function to each; reports the failed, returns the others'."""
    from keras_bandit.media.audio import AudioFileError

    expected = AudioFileError, CommandError, FloatingPointError, OSError
    results = []
    for item in items:
        try:
            results.append(function(item))
        except expected as error:
            exists = isinstance(error, FileExistsError)
            advice = "; --overwrite replaces" if exists else ""
            report(f"error: {explain(error)}{advice}")
    return results


def _summary(file):
    found, folder = file.recording, next(iter(file.paths.values())).parent
    seconds = found.num_samples / found.sample_rate
    return (
        f"{file.source}: {seconds:.2f} s, {found.num_channels} channel(s), "
        f"{found.sample_rate} Hz -> {folder}/: {', '.join(file.paths)} "
        f"({file.subtype}), separated in {file.elapsed:.1f} s, "
        f"{seconds / file.elapsed:.2f} x real time"
    )


def _as_json(file):
    """What became of a file, one line for programs."""
    found = file.recording
    seconds = found.num_samples / found.sample_rate
    return json.dumps(
        {
            "source": str(file.source),
            "seconds": seconds,
            "channels": found.num_channels,
            "layout": found.layout,
            "sample_rate": found.sample_rate,
            "subtype": file.subtype,
            "paths": {name: str(path) for name, path in file.paths.items()},
            "elapsed": file.elapsed,
            "times_real_time": seconds / file.elapsed,
            "warnings": file.warnings,
        }
    )


def _lines(name):
    """A function that prints how far a file is, a line a minute."""
    began = said = time.monotonic()

    def progress(done, seconds):
        nonlocal said
        now = time.monotonic()
        if now - said < _SECONDS_BETWEEN_LINES:
            return
        said, speed = now, done / (now - began)
        left = "" if seconds is None else f" of {seconds / 60:.1f}"
        rest = (
            ""
            if seconds is None
            else f", {(seconds - done) / speed:.0f} s left"
        )
        report(
            f"{name}: {done / 60:.1f}{left} min, {speed:.2f} x real time{rest}"
        )

    return progress


def separate_command(args):
    """Runs `keras-bandit separate`; returns the exit status."""
    folders = _folders(args)
    engine = resolve_engine(args)
    if args.engine_cache and engine == "openvino":
        with user_errors(OSError):
            check_writable(args.engine_cache)
    choose_backend(args.backend)
    from keras_bandit.inference.files import check_file, separate_file

    options = chosen_options(args) | {"inputs": list(folders)}

    def show(name):
        if args.quiet:
            return False
        return name if sys.stderr.isatty() else _lines(name)

    def check(source, separator=None):
        return check_file(source, folders[source], separator, **options)

    def separate(file):
        source = file.source
        try:
            done = separate_file(
                source,
                folders[source],
                separator,
                progress=show(source.name),
                **options,
            )
        except MemoryError as error:
            raise CommandError(f"{source}: too large: {error}") from error
        for warning in done.warnings:
            report(f"warning: {warning}")
        if args.json:
            say(_as_json(done))
        elif not args.quiet:
            say(_summary(done))

    # All that can be known beforehand is checked before the model is loaded,
    # and all files before the first is computed.
    files = _attempt(check, folders)
    if files:
        separator = load_on_engine(args, engine)
        with user_errors(ValueError):
            files = _attempt(lambda file: check(file.source, separator), files)
    if files:
        computed = files[0].choice.computed
        if computed != list(separator.stems):
            separator = separator.with_stems(computed)
    done = _attempt(separate, files)
    if not done:
        return 2
    return 0 if len(done) == len(folders) else 1
