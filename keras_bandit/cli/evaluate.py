"""`keras-bandit evaluate`: scores of a model on a prepared dataset."""

import os
import pathlib
import sys

from keras_bandit.cli.arguments import count, names, path
from keras_bandit.cli.backend import choose_backend
from keras_bandit.cli.console import (
    CommandError,
    report,
    say,
    user_errors,
)
from keras_bandit.cli.model import load_separator, resolve_engine
from keras_bandit.common.files import check_writable


def add_evaluate(commands):
    """Adds the command to the parsers of `build_parser`."""
    parser = commands.add_parser(
        "evaluate",
        help="score a model on a prepared dataset",
        description="Separates whole tracks of a prepared dataset and scores "
        "the stems, with oracles beside them. Writes OUTPUT/results.md, "
        "summary.json, plots/<stem>.png and tracks/<name>.json; run again, "
        "it continues with the tracks that are missing.",
    )
    parser.set_defaults(command=evaluate_command, engine_cache=None)
    option, flag = parser.option, parser.flag
    parser.add_preset()
    option(
        "--data-dir",
        "DIR",
        path,
        "where datasets are prepared (see prepare)",
        required=True,
    )
    parser.add_argument(
        "--split",
        choices=["train", "validation", "test"],
        default="test",
        help="part of the dataset (%(default)s)",
    )
    option(
        "--output",
        "DIR",
        path,
        "directory of the results (%(default)s)",
        default="evaluation",
    )
    option(
        "--dataset",
        "NAME[/CONFIG]",
        str,
        "dnr, musdb18_hq or film_mix (the one that is prepared in DATA_DIR, if "
        "it is one)",
    )
    option("--stems", "A,B", names, "stems to compute and score (all)")
    flag("--mne", "also score mne: music plus effects")
    parser.add_mixture_consistency()
    parser.add_chunks(
        hop_help="from chunk to chunk (0.5, the authors', or a shorter chunk)",
    )
    parser.add_engine()
    option(
        "--oracles",
        "A,B",
        names,
        "rows beside the model: mixture, irm, wiener, iam, psf, ibm "
        "(mixture,irm,psf)",
        default=["mixture", "irm", "psf"],
    )
    flag("--museval", "also score with museval (BSSEval v4), which takes long")
    option(
        "--workers",
        "N",
        count,
        "threads for oracles and scores, beside the model (none)",
    )
    option("--limit", "N", count, "only the first N tracks")
    flag("--quiet", "only errors, no progress or table")
    parser.add_backend()


def _only_dataset(data_dir):
    """Name of the only dataset prepared, with its config if that is one too."""
    found = pathlib.Path(data_dir).glob("*/*/*/dataset_info.json")
    prepared = sorted({"/".join(info.parts[-4:-2]) for info in found})
    datasets = sorted({name.partition("/")[0] for name in prepared})
    if len(datasets) != 1:
        there = f"there are {', '.join(prepared)}" if prepared else "none is"
        raise CommandError(
            f"{data_dir}: not one dataset prepared ({there}): name one with "
            "--dataset, or run keras-bandit prepare"
        )
    return prepared[0] if len(prepared) == 1 else datasets[0]


def _open_tracks(args):
    """Returns the dataset's full name and the tracks to evaluate."""
    from keras_bandit import data
    from keras_bandit.data.stored_tracks import find_prepared

    dataset = args.dataset or _only_dataset(args.data_dir)
    with user_errors(ImportError, OSError, ValueError):
        directory = find_prepared(dataset, args.data_dir)
        tracks = data.open_tracks(dataset, args.split, args.data_dir)
    if not tracks:
        raise CommandError(f"{directory}: no tracks in split {args.split}")
    return "/".join(directory.parts[-3:]), tracks[: args.limit]


def evaluate_command(args):
    """Runs `keras-bandit evaluate`; returns the exit status."""
    output = pathlib.Path(args.output)
    with user_errors(OSError):
        check_writable(output)
    engine = resolve_engine(args)
    choose_backend(args.backend)
    dataset, tracks = _open_tracks(args)
    metrics = ["snr", "si_snr"]
    if dataset.startswith("musdb18_hq/"):
        metrics += ["usdr", "csdr"]
    if args.museval:
        metrics.append("museval")
    separator = load_separator(args.preset)
    from keras_bandit.evaluation import evaluate
    from keras_bandit.inference.files import choose_stems

    with user_errors(ImportError, OSError, RuntimeError, ValueError):
        chosen = choose_stems(
            separator.stems,
            args.stems,
            args.mne,
            mixture_consistency=args.mixture_consistency,
        )
        summary = evaluate(
            separator,
            tracks,
            output,
            stems=chosen.stems,
            composites={"mne": chosen.mne} if chosen.mne else None,
            chunk_seconds=args.chunk_seconds,
            hop_seconds=args.hop_seconds,
            batch_size=args.batch_size,
            oracles=args.oracles,
            metrics=metrics,
            num_workers=args.workers or 0,
            # With "auto" a model that OpenVINO cannot run stays with Keras.
            engine=engine if engine == "keras" else args.engine,
            precision=args.precision,
            mixture_consistency=args.mixture_consistency,
            progress=not args.quiet and sys.stderr.isatty(),
            model_name=os.path.basename(os.path.normpath(args.preset)),
            dataset=dataset,
            split=args.split,
            report=lambda line: report(f"error: {line}"),
        )
    if not summary["num_tracks"]:
        return 2
    if not args.quiet:
        say((output / "results.md").read_text(encoding="utf-8"))
        say(f"-> {output}")
    return 1 if summary["failed"] else 0
