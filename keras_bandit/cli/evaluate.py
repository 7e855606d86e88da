"""`keras-bandit evaluate`: scores of a model on a prepared dataset."""

import os
import pathlib
import sys

from keras_bandit.cli.backend import choose_backend
from keras_bandit.cli.console import CommandError, explain, report, say
from keras_bandit.cli.folders import check_writable
from keras_bandit.cli.model import load_separator, resolve_engine
from keras_bandit.cli.stems import choose_stems


def _only_dataset(data_dir):
    """Name of the only dataset prepared, with its config if that is one too."""
    found = pathlib.Path(data_dir).glob("*/*/*/dataset_info.json")
    names = sorted({"/".join(path.parts[-4:-2]) for path in found})
    datasets = sorted({name.partition("/")[0] for name in names})
    if len(datasets) != 1:
        there = f"there are {', '.join(names)}" if names else "none is"
        raise CommandError(
            f"{data_dir}: not one dataset prepared ({there}): name one with "
            "--dataset, or run keras-bandit prepare"
        )
    return names[0] if len(names) == 1 else datasets[0]


def _open_tracks(args):
    """Returns the dataset's full name and the tracks to evaluate."""
    from keras_bandit import data
    from keras_bandit.data.stored_tracks import find_prepared

    dataset = args.dataset or _only_dataset(args.data_dir)
    try:
        directory = find_prepared(dataset, args.data_dir)
        tracks = data.open_tracks(dataset, args.split, args.data_dir)
    except (ImportError, OSError, ValueError) as error:
        raise CommandError(explain(error)) from error
    if not tracks:
        raise CommandError(f"{directory}: no tracks in split {args.split}")
    return "/".join(directory.parts[-3:]), tracks[: args.limit]


def evaluate_command(args):
    """Runs `keras-bandit evaluate`; returns the exit status."""
    output = pathlib.Path(args.output)
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
    chunk_seconds = args.chunk_seconds or separator.chunk_seconds
    if args.hop_seconds and args.hop_seconds > chunk_seconds:
        raise CommandError(
            "--hop-seconds must be at most --chunk-seconds; got "
            f"{args.hop_seconds} and {chunk_seconds}"
        )
    chosen = choose_stems(args, separator.stems)
    from keras_bandit.evaluation import evaluate

    try:
        summary = evaluate(
            separator,
            tracks,
            output,
            stems=chosen.stems,
            composites={"mne": chosen.mne} if chosen.mne else None,
            chunk_seconds=chunk_seconds,
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
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        raise CommandError(explain(error)) from error
    if not summary["num_tracks"]:
        return 2
    if not args.quiet:
        say((output / "results.md").read_text(encoding="utf-8"))
        say(f"-> {output}")
    return 1 if summary["failed"] else 0
