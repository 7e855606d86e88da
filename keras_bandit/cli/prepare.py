"""`keras-bandit prepare`: a dataset, ready for training and evaluation."""

import argparse
import os
import sys

from keras_bandit.cli.arguments import count, names, path, seconds
from keras_bandit.cli.console import CommandError, explain, report, say

_OPTIONS = {
    "in skip=": "in --skip",
    "skip names": "--skip names",
    "overwrite=True": "--remix",
}


def _counts(text):
    """Parses three counts separated by commas; some may be 0."""
    counts = text.split(",")
    if len(counts) != 3 or not all(count.isdecimal() for count in counts):
        raise argparse.ArgumentTypeError(
            f"must be three numbers of tracks, such as 70,10,20; got {text!r}"
        )
    return dict(
        zip(("train", "validation", "test"), map(int, counts), strict=True)
    )


def _files(text):
    """Parses paths separated by commas, or one path that holds commas."""
    return [text] if os.path.exists(text) else names(text)


def add_prepare(commands):
    """Adds the command to the parsers of `build_parser`."""
    parser = commands.add_parser(
        "prepare",
        help="prepare a dataset for training and evaluation",
        description="Checks the files of a dataset and stores them, or an "
        "index of them, in DATA_DIR/DATASET/CONFIG. Damaged or missing files "
        "are all named, and then nothing is written.",
        epilog="""\
datasets, and what the manual directory holds:
  dnr          Divide and Remaster: the folders tr, cv, tt (version 2), or
               language folders with train, val, test (version 3)
  musdb18_hq   MUSDB18-HQ: the folders train and test
  film_mix     any of the folders speech, music, effects with your sounds, or
               nothing (sounds are generated): tracks are mixed there first

configs:
  paths        keep the audio where it is, store an index (default)
  segments     store seconds of samples: portable, for training elsewhere
  of dnr       v2_paths (default), ..., v3_eng_paths, v3_multi_segments, ...

""",
    )
    parser.set_defaults(command=prepare_command)
    option, flag = parser.option, parser.flag
    parser.add_argument(
        "dataset", choices=["dnr", "musdb18_hq", "film_mix"], metavar="DATASET"
    )
    option(
        "--manual-dir",
        "DIR",
        path,
        "folder with the dataset's files",
        required=True,
    )
    option(
        "--data-dir", "DIR", path, "where datasets are prepared", required=True
    )
    option("--config", "NAME", str, "how it is stored, see below")
    flag(
        "--overwrite",
        "make it again if it is prepared; the former one stays if that fails",
    )
    option(
        "--num-tracks",
        "TRAIN,VALIDATION,TEST",
        _counts,
        "film_mix: tracks to mix (70,10,20)",
    )
    option("--seconds", "S", seconds, "film_mix: length of the tracks (60)")
    option("--sample-rate", "HZ", count, "film_mix: rate of the tracks (44100)")
    option("--seed", "N", int, "film_mix: seed (0)")
    option("--workers", "N", count, "film_mix: processes that mix (1)")
    flag(
        "--remix",
        "film_mix: remove tracks that were mixed otherwise, with another "
        "length, rate, seed or other sounds",
    )
    parser.add_argument(
        "--skip",
        type=_files,
        action="extend",
        metavar="FILE,...",
        help="film_mix: sound files to leave out; may be given several times",
    )
    flag("--quiet", "only errors, no progress")


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
    except MemoryError as error:
        raise CommandError(f"too large: {explain(error)}") from error
    except (ImportError, OSError) as error:
        raise CommandError(explain(error)) from error
    for note in notes:
        report(f"note: {note}")
    if not args.quiet:
        say(f"{directory}: {describe(directory)}")
    return 0
