"""`keras-bandit fetch`: released weights, for machines that will be offline."""

import pathlib

from keras_bandit.cli.arguments import path
from keras_bandit.cli.backend import choose_backend
from keras_bandit.cli.console import (
    CommandError,
    explain,
    report,
    say,
)


def add_fetch(commands):
    """Adds the command to the parsers of `build_parser`."""
    parser = commands.add_parser(
        "fetch",
        help="fetch released weights by name",
        description="Downloads released weights (see presets), checks and "
        "converts them, and keeps the presets in KERAS_BANDIT_CACHE, or the "
        "user's cache directory, where --preset NAME finds them offline. "
        "Broken off, it goes on from there.",
    )
    parser.set_defaults(command=fetch_command)
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.option(
        "--mirror", "URL", path, "folder that has the files (their record)"
    )
    parser.option(
        "--from",
        "PATH",
        path,
        "file, or folder with the files, to take instead of the network",
        dest="source",
    )
    parser.flag("--keep-checkpoint", "keep the files in the cache as well")
    parser.add_backend()


def fetch_command(args):
    """Runs `keras-bandit fetch`; returns the exit status."""
    from keras_bandit.models.fetch import fetch_weights
    from keras_bandit.models.presets import PRESETS
    from keras_bandit.models.released_weights import ReleasedWeights

    if args.mirror and args.source:
        raise CommandError(
            f"--mirror and --from exclude each other; got --mirror "
            f"{args.mirror} and --from {args.source}"
        )
    presets = {name: PRESETS.get(name) for name in args.names}
    for name, preset in presets.items():
        if not isinstance(getattr(preset, "weights", None), ReleasedWeights):
            raise CommandError(
                f"{name}: no released weights of that name (see keras-bandit "
                "presets)"
            )
    choose_backend(args.backend)
    done = 0
    for name, preset in presets.items():
        try:
            folder = fetch_weights(
                preset,
                args.mirror,
                args.source and pathlib.Path(args.source),
                args.keep_checkpoint,
            )
        except (OSError, ValueError) as error:
            report(f"error: {name}: {explain(error)}")
            continue
        say(f"{name} -> {folder}")
        done += 1
    if not done:
        return 2
    return 0 if done == len(presets) else 1
