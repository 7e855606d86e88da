"""Scores of many tracks as a few numbers, and those as Markdown."""

import numpy as np

from keras_bandit.evaluation.plan import MIXTURE, MODEL
from keras_bandit.evaluation.scores import MEDIANS, score_names

AVERAGE = "average"

ROW_TITLES = {
    MIXTURE: "Mixture",
    "irm": "Ideal Ratio Mask",
    "wiener": "Ideal Wiener-like Mask",
    "iam": "Ideal Amplitude Mask",
    "psf": "Phase Sensitive Filter",
    "ibm": "Ideal Binary Mask",
}

SCORE_TITLES = {
    "snr": "SNR",
    "si_snr": "SI-SNR",
    "usdr": "uSDR",
    "csdr": "cSDR",
    "museval_sdr": "SDR (museval)",
    "museval_isr": "ISR (museval)",
    "museval_sir": "SIR (museval)",
    "museval_sar": "SAR (museval)",
}

_NAMES = {"mne": "M&E"}


def row_title(row, model_name):
    return model_name if row == MODEL else ROW_TITLES[row]


def name_title(name):
    """How a stem or composite is called in tables and plots."""
    return _NAMES.get(name, name.replace("_", " ").capitalize())


def summarize(scores, plan):
    """Mean and median over tracks.

    Args:
        scores: list of `{row: {score: {name: float}}}`, one for each track;
            NaN where a score isn't defined, which does not count.
        plan: `Plan`.

    Returns:
        `{"mean": …, "median": …, "defined": …}`, each `{row: {score: {name:
        value}}}`; `defined` counts the tracks. Mean and median also have
        "average": the mean over `plan.sources`. NaN where no
        track has the score.
    """
    summary = {"mean": {}, "median": {}, "defined": {}}
    for row in plan.rows:
        for score in score_names(plan.metrics):
            values = {
                name: np.array([track[row][score][name] for track in scores])
                for name in scores[0][row][score]
            }
            values = {name: x[~np.isnan(x)] for name, x in values.items()}
            _put(summary["defined"], row, score, values, len)
            for kind, function in (("mean", np.mean), ("median", np.median)):
                figures = _put(
                    summary[kind],
                    row,
                    score,
                    values,
                    lambda x, function=function: (
                        float(function(x)) if x.size else float("nan")
                    ),
                )
                figures[AVERAGE] = float(
                    np.mean([figures[stem] for stem in plan.sources])
                )
    return summary


def _put(tree, row, score, values, function):
    figures = {name: function(x) for name, x in values.items()}
    tree.setdefault(row, {})[score] = figures
    return figures


def result_tables(summary, plan, model_name, paper):
    """The tables of an evaluation: means and medians.

    Args:
        summary: of `summarize`.
        plan: `Plan`.
        model_name: str. Title of the model's row.
        paper: of `paper_rows`.

    Returns:
        list of `(title, table)`. One table for SNR and SI-SNR, in the shape
        of BandIt's Table 1; each other score has its own. The figure that is
        customary comes first: the mean, or the median for `MEDIANS`.
    """
    scores = score_names(plan.metrics)
    pair = [score for score in scores if score in ("snr", "si_snr")]
    groups = [pair] if pair else []
    groups += [[score] for score in scores if score not in pair]
    tables = []
    for group in groups:
        kinds = ("mean", "median")
        if group[0] in MEDIANS:
            kinds = ("median", "mean")
        title = " and ".join(SCORE_TITLES[score] for score in group)
        for i, kind in enumerate(kinds):
            # The paper reports means.
            rows = _rows(
                summary[kind], plan, model_name, paper if not i else {}
            )
            table = _score_table(rows, group, plan)
            tables.append((f"{title}, {kind} over tracks", table))
    return tables


def _rows(figures, plan, model_name, paper):
    """`(title, {score: {name: float}}, ours)`, the paper's rows after ours."""
    rows = []
    for row in plan.rows:
        rows.append((row_title(row, model_name), figures[row], True))
        rows.extend((f"*{label}*", x, False) for label, x in paper.get(row, []))
    return rows


def _score_table(rows, scores, plan):
    columns = [(stem, score) for stem in plan.stems for score in scores]
    if len(plan.sources) > 1:
        columns += [(AVERAGE, score) for score in scores]
    known = rows[0][1][scores[0]]
    columns += [
        (name, score)
        for name in plan.composites
        for score in scores
        if name in known
    ]
    header = [
        f"{name_title(name)} {SCORE_TITLES[score]}"
        if len(scores) > 1
        else name_title(name)
        for name, score in columns
    ]
    body = []
    for title, figures, ours in rows:
        cells = [
            figures.get(score, {}).get(name, float("nan"))
            for name, score in columns
        ]
        # A row of the paper may have none of these.
        if ours or not np.isnan(cells).all():
            body.append([title, *(_cell(x) for x in cells)])
    return markdown_table(["", *header], body)


def _cell(value):
    # "z": no "-0.0".
    return "-" if np.isnan(value) else f"{value:z.1f}"


def markdown_table(header, rows):
    """A Markdown table with numbers to the right.

    Args:
        header: list of str.
        rows: list of lists of str, as long as the header.

    Returns:
        str of several lines, without a last line break.
    """
    widths = [
        max(map(len, column)) for column in zip(header, *rows, strict=True)
    ]
    rule = ["-" * max(widths[0], 3)] + ["-" * (w - 1) + ":" for w in widths[1:]]
    lines = [header, rule, *rows]
    return "\n".join(
        "| "
        + " | ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        + " |"
        for line in lines
    )
