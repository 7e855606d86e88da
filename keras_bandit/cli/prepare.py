"""`keras-bandit prepare`: a dataset, ready for training and evaluation."""

import sys

from keras_bandit.cli.console import CommandError, explain, report, say

_OPTIONS = {
    "in skip=": "in --skip",
    "skip names": "--skip names",
    "overwrite=True": "--remix",
}


def prepare_command(args):
    """Runs `keras-bandit prepare`; returns the exit status."""
    options = {
        "counts": args.num_tracks,
        "seconds": args.seconds,
        "sample_rate": args.sample_rate,
        "seed": args.seed,
        "workers": args.workers,
        "overwrite": args.remix or None,
        "skip": args.skip,
    }
    mixing = {key: value for key, value in options.items() if value is not None}
    from keras_bandit.data.prepare import describe, prepare

    try:
        directory, notes = prepare(
            args.dataset,
            args.manual_dir,
            args.data_dir,
            config=args.config,
            overwrite=args.overwrite,
            show_progress=not args.quiet and sys.stderr.isatty(),
            mixing=mixing,
        )
    except FileExistsError as error:
        raise CommandError(
            f"{error.filename or error}; --overwrite makes it again"
        ) from error
    except ValueError as error:
        # Several lines where several files are at fault. Python's arguments
        # have other names here.
        message = str(error)
        for argument, option in _OPTIONS.items():
            message = message.replace(argument, option)
        raise CommandError(message) from error
    except (ImportError, OSError) as error:
        raise CommandError(explain(error)) from error
    for note in notes:
        report(f"note: {note}")
    if not args.quiet:
        say(f"{directory}: {describe(directory)}")
    return 0
