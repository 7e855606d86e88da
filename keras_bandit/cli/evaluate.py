"""`keras-bandit evaluate`: scores of models on a prepared dataset."""

import gc
import itertools
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
        help="score models on a prepared dataset",
        description="Separates whole tracks of a prepared dataset and scores "
        "the stems, with oracles beside them. Writes OUTPUT/results.md, "
        "summary.json, plots/<stem>.png and tracks/<name>.json; run again, "
        "it continues with the tracks that are missing. Of several presets "
        "these are in OUTPUT/models/<name>, and OUTPUT/comparison.md has all "
        "of them in one table.",
    )
    parser.set_defaults(command=evaluate_command, engine_cache=None)
    option, flag = parser.option, parser.flag
    parser.add_preset(
        "; several times: compares them", action="append", dest="presets"
    )
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
    option(
        "--stems",
        "A,B",
        names,
        "stems to compute and score (all; of several models each those it has)",
    )
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


def _named(presets):
    """`{name: preset}`, by the ends of paths that tell them from each other."""
    if len(presets) == 1:
        return {os.path.basename(os.path.normpath(presets[0])): presets[0]}
    from keras_bandit.evaluation.plan import MODEL, ROWS

    parts = []
    for preset in presets:
        where = os.path.abspath(preset) if os.path.isdir(preset) else preset
        path = pathlib.PurePath(where)
        parts.append(path.relative_to(path.anchor).parts)
        if parts.count(parts[-1]) > 1:
            raise CommandError(f"--preset {preset} is given more than once")
    for length in itertools.count(1):
        names = ["/".join(part[-length:]) for part in parts]
        if len({*names, MODEL, *ROWS}) == len(names) + 1 + len(ROWS):
            return dict(zip(names, presets, strict=True))


def _choose(separator, args):
    """The `StemChoice` of a model; one of several gives the stems it has."""
    from keras_bandit.evaluation.plan import COMPOSITES, stem_name
    from keras_bandit.inference.stem_choice import choose_stems

    stems, mne = args.stems, args.mne
    if len(args.presets) > 1:
        own = {stem_name(stem): stem for stem in separator.stems}
        if stems:
            wanted = [*map(stem_name, stems), *["mne"] * mne]
            stems = [own[stem] for stem in wanted if stem in own]
            if not stems:
                raise ValueError(
                    f"stems: this model has none of {', '.join(args.stems)}; "
                    f"it has {', '.join(separator.stems)}"
                )
        mne = mne and "mne" not in own and own.keys() >= {*COMPOSITES["mne"]}
    return choose_stems(
        separator.stems,
        stems,
        mne,
        mixture_consistency=args.mixture_consistency,
    )


def _evaluate(args, preset, output, name, about=None, **options):
    """Scores a model; returns its summary. Errors begin with `about`."""
    separator = load_separator(preset)
    from keras_bandit.evaluation import evaluate

    begin = f"{about}: " if about else ""
    expected = ImportError, OSError, RuntimeError, ValueError
    with user_errors(*expected, about=about):
        chosen = _choose(separator, args)
        return evaluate(
            separator,
            output_dir=output,
            stems=chosen.stems,
            composites={k: [*mix.factors] for k, mix in chosen.mixes.items()}
            or None,
            chunk_seconds=args.chunk_seconds,
            hop_seconds=args.hop_seconds,
            batch_size=args.batch_size,
            oracles=args.oracles,
            num_workers=args.workers or 0,
            precision=args.precision,
            mixture_consistency=args.mixture_consistency,
            progress=not args.quiet and sys.stderr.isatty(),
            model_name=name,
            split=args.split,
            report=lambda line: report(f"error: {begin}{line}"),
            **options,
        )


def _evaluate_one(args, output, presets, **options):
    """Scores one model; returns the exit status."""
    ((name, preset),) = presets.items()
    summary = _evaluate(args, preset, output, name, **options)
    if not summary["num_tracks"]:
        return 2
    return 1 if summary["failed"] else 0


def _evaluate_several(args, output, presets, **options):
    """Scores models, then puts them into one table; returns the exit status."""
    from keras_bandit.evaluation import compare
    from keras_bandit.evaluation.plan import stem_name

    evaluations, failed, complete = {}, {}, True
    for name, preset in presets.items():
        folder = output / "models" / name
        try:
            summary = _evaluate(args, preset, folder, name, name, **options)
        except CommandError as error:
            failed[name] = str(error).removeprefix(f"{name}: ")
            report(f"error: {error}")
            continue
        finally:
            gc.collect()  # the model is gone before the next one is loaded
        if summary["num_tracks"]:
            evaluations[name] = folder
        else:
            failed[name] = "no track could be scored"
        complete = complete and not summary["failed"]
    if not evaluations:
        return 2
    with user_errors(OSError, ValueError):
        table = compare(evaluations, options["tracks"], output, failed)
    (scored, *_) = table["defined"][next(iter(evaluations))].values()
    wanted = [*(args.stems or []), *["mne"] * args.mne]
    missing = [stem for stem in wanted if stem_name(stem) not in scored]
    if missing:
        report(f"error: no preset has {', '.join(missing)}")
    return 1 if failed or missing or not complete else 0


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
    function, page = _evaluate_one, "results.md"
    if len(args.presets) > 1:
        from keras_bandit.evaluation.comparison import check_comparison_output

        with user_errors(ValueError):
            check_comparison_output(output)
        function, page = _evaluate_several, "comparison.md"
    status = function(
        args,
        output,
        _named(args.presets),
        tracks=tracks,
        metrics=metrics,
        dataset=dataset,
        # With "auto" a model that OpenVINO cannot run stays with Keras.
        engine=engine if engine == "keras" else args.engine,
    )
    if status < 2 and not args.quiet:
        say((output / page).read_text(encoding="utf-8"))
        say(f"-> {output}")
    return status
