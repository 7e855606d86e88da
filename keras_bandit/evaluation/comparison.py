"""Several models in one table, from their evaluations on the same tracks."""

from __future__ import annotations

import itertools
import math
import pathlib
from typing import TYPE_CHECKING

from tabulate import tabulate

from keras_bandit.common.files import write_json, write_text
from keras_bandit.evaluation.pages import write_plots
from keras_bandit.evaluation.plan import MODEL, ROWS, Plan
from keras_bandit.evaluation.results import (
    COMPARISON,
    CONFIG,
    PLOTS,
    for_json,
    read_evaluation,
)
from keras_bandit.evaluation.scores import score_names
from keras_bandit.evaluation.tables import result_tables, summarize

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from keras_bandit.common.types import AnyPath
    from keras_bandit.data.track import Track


COMPARED = ("dataset", "split", "oracles", "metrics")
"""Settings that must be the same for all models."""


def check_comparison_output(directory):
    """`ValueError` for the directory of one model's evaluation."""
    if (pathlib.Path(directory) / CONFIG).exists():
        raise ValueError(
            f"{directory}: holds the evaluation of one model; choose another "
            "directory for the comparison"
        )


def compare(
    evaluations: Mapping[str, AnyPath],
    tracks: Sequence[Track],
    output_dir: AnyPath,
    failed: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Puts evaluations of several models into one table.

    Rows are the oracles, once, and a row for each model. Tracks count that
    every model has done, so that all rows are of the same tracks. A score is
    NaN where a model lacks the stem, and so is then its average.

    Writes `comparison.md`, `comparison.json` and, if matplotlib is installed,
    `plots/<name>.png` to `output_dir`.

    Args:
        evaluations: `{name of a model: output_dir of its evaluate}`.
        tracks: list of `keras_bandit.data.track.Track`: of those that were
            evaluated, the ones to compare on.
        output_dir: path, made if it does not exist.
        failed: `{name: why}` of models without an evaluation, for the page.

    Returns:
        dict: `"mean"`, `"median"` and `"defined"` as `evaluate` returns them,
        with names of models as rows; `"num_tracks"`; `"left_out"`, names of
        the other tracks; `"failed"`.

    Raises:
        ValueError: if the evaluations differ in dataset, split, oracles or
            metrics, have no track in common or are damaged; if a model is
            named as an oracle, or `output_dir` holds one model's evaluation.
        OSError: if a file cannot be read or written.
    """
    output, failed = pathlib.Path(output_dir), failed or {}
    check_comparison_output(output)
    if not evaluations or set(evaluations) & {*ROWS, MODEL}:
        raise ValueError(
            "evaluations must be of one model or more, none named as one of "
            f"{[*ROWS, MODEL]}; got {list(evaluations)}"
        )
    settings, scores = {}, {}
    for name, directory in evaluations.items():
        settings[name], scores[name] = read_evaluation(directory, tracks)
    plan = _common_plan(settings)
    common = [t for t in tracks if all(t.name in x for x in scores.values())]
    if not common:
        raise ValueError(
            f"{', '.join(evaluations)}: no track was done by all of them"
        )
    merged = [
        _merge({name: x[track.name] for name, x in scores.items()}, plan)
        for track in common
    ]
    output.mkdir(parents=True, exist_ok=True)
    figures = summarize(merged, plan)
    counts = {
        "num_tracks": len(common),
        "left_out": [t.name for t in tracks if t not in common],
        "failed": failed,
    }
    record = {**for_json(figures), **counts, "settings": settings}
    write_json((output / COMPARISON).with_suffix(".json"), record)
    summary = {**figures, **counts}
    page = _head(settings, summary, common)
    for title, table in result_tables(summary, plan, None, {}):
        page += ["", f"## {title}", "", table]
    write_text(output / COMPARISON, "\n".join(page) + "\n")
    write_plots(output / PLOTS, merged, plan, None)
    return summary


def _common_plan(settings):
    """The `Plan` of all models' stems, from `{model: settings}`."""
    first, *others = settings.values()
    for other, key in itertools.product(others, COMPARED):
        if other[key] != first[key]:
            raise ValueError(
                f"evaluations must have the same {key}; got {first[key]!r} "
                f"and {other[key]!r}"
            )
    stems, composites = {}, {}
    for each in settings.values():
        stems |= dict.fromkeys(each["stems"])
        composites |= each["composites"]
    # One model's sum may be another's stem.
    composites = {k: v for k, v in composites.items() if k not in stems}
    return Plan(
        tuple(stems),
        composites,
        tuple(first["oracles"]),
        tuple(first["metrics"]),
        tuple(settings),
    )


def _merge(scores, plan):
    """A track's scores by oracle and model, from `{model: its rows}`."""
    sources = {row: [x[row] for x in scores.values()] for row in plan.oracles}
    sources |= {model: [rows[MODEL]] for model, rows in scores.items()}
    merged = {row: {} for row in plan.rows}
    for score in score_names(plan.metrics):
        known = {name for x in scores.values() for name in x[MODEL][score]}
        for row, found in sources.items():
            # An oracle's score of a stem is the same beside every model.
            merged[row][score] = {
                name: next(
                    (x[score][name] for x in found if name in x[score]),
                    math.nan,
                )
                for name in plan.scored
                if name in known
            }
    return merged


def _head(settings, summary, tracks):
    """What was compared and on what: the first lines of the page."""
    first = next(iter(settings.values()))
    data = " ".join(filter(None, [first["dataset"], first["split"]]))
    hours = sum(t.num_samples / t.sample_rate for t in tracks) / 3600
    lines = [
        f"# {', '.join(settings)}",
        "",
        f"- Data: {data or 'tracks'}, the same {len(tracks)} tracks for all, "
        f"{hours:.2f} hours; whole tracks, in dB",
        "- Averages are over all stems in the table: a model that lacks one "
        "has none",
    ]
    if summary["left_out"]:
        left_out = ", ".join(summary["left_out"])
        lines.append(f"- **Not done by all and not in the tables**: {left_out}")
    for name, reason in summary["failed"].items():
        lines.append(f"- **Failed and not in the tables**: {name}: {reason}")
    rows = [
        {
            "": name,
            "model": x["model"]["class"],
            "parameters": f"{x['model']['parameters']:,}",
            "rate / Hz": x["model"]["sample_rate"],
            "chunks / s": f"{x['chunk_seconds']:g}",
            "every / s": f"{x['hop_seconds']:g}",
        }
        for name, x in settings.items()
    ]
    align = ("left", "left", *["right"] * 4)
    table = tabulate(
        rows, "keys", "pipe", disable_numparse=True, colalign=align
    )
    return [*lines, "", table]
