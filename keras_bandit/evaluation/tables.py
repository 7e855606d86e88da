"""Scores of many tracks as a few numbers, and those as Markdown."""

import itertools

import numpy as np
from tabulate import tabulate

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
    """How a row is called in tables and plots."""
    return model_name if row == MODEL else ROW_TITLES.get(row, row)


def name_title(name):
    """How a stem or composite is called in tables and plots."""
    return _NAMES.get(name, name.replace("_", " ").capitalize())


def defined_values(scores, row, score, name):
    """One score of all tracks, `(tracks,)`, without those that are NaN."""
    values = np.array([track[row][score][name] for track in scores])
    return values[~np.isnan(values)]


def summarize(scores, plan):
    """Mean, median and number of the tracks that have a score (not NaN).

    `{"mean": …, "median": …, "defined": …}`, each `{row: {score: {name:
    value}}}` as the scores of a track. Mean and median also have "average",
    over `plan.sources`.
    """
    summary = {}
    for kind, function in (
        ("mean", lambda x: float(np.mean(x)) if x.size else float("nan")),
        ("median", lambda x: float(np.median(x)) if x.size else float("nan")),
        ("defined", len),
    ):
        summary[kind] = {row: {} for row in plan.rows}
        for row, score in itertools.product(
            plan.rows, score_names(plan.metrics)
        ):
            figures = summary[kind][row][score] = {
                name: function(defined_values(scores, row, score, name))
                for name in scores[0][row][score]
            }
            if kind != "defined":
                sources = [figures[stem] for stem in plan.sources]
                figures[AVERAGE] = float(np.mean(sources))
    return summary


def result_tables(summary, plan, model_name, paper):
    """The tables of an evaluation, list of `(title, Markdown)`.

    From a summary of `summarize` and the rows of `paper_rows`. SNR and SI-SNR
    share a table in the shape of BandIt's Table 1; each other score has its
    own. The customary figure comes first: the mean, or for `MEDIANS` the
    median.
    """
    scores = score_names(plan.metrics)
    pair = [score for score in scores if score in ("snr", "si_snr")]
    groups = [[score] for score in scores if score not in pair]
    tables = []
    for group in [pair, *groups] if pair else groups:
        title = " and ".join(SCORE_TITLES[score] for score in group)
        kinds = ["mean", "median"]
        if group[0] in MEDIANS:
            kinds.reverse()
        for kind in kinds:
            # The paper reports means, of SNR and SI-SNR.
            beside = paper if kind == "mean" and group == pair else {}
            rows = []
            for row in plan.rows:
                rows.append((row_title(row, model_name), summary[kind][row]))
                rows += [(f"*{label}*", x) for label, x in beside.get(row, [])]
            table = _score_table(rows, group, plan)
            tables.append((f"{title}, {kind} over tracks", table))
    return tables


def _score_table(rows, scores, plan):
    """Markdown of `(title, {score: {name: float}})`, ours in the first row."""
    names = [*plan.stems, *[AVERAGE] * (len(plan.sources) > 1)]
    names += [n for n in plan.composites if n in rows[0][1][scores[0]]]
    columns = [(name, score) for name in names for score in scores]
    header = [
        f"{name_title(name)} {SCORE_TITLES[score]}"
        if len(scores) > 1
        else name_title(name)
        for name, score in columns
    ]
    values = [
        [x.get(s, {}).get(n, np.nan) for n, s in columns] for _, x in rows
    ]
    body = [
        # "z": no "-0.0".
        [title, *("-" if np.isnan(x) else f"{x:z.1f}" for x in numbers)]
        for (title, _), numbers in zip(rows, values, strict=True)
    ]
    align = ["left"] + ["right"] * len(header)
    return tabulate(
        body, ["", *header], "pipe", disable_numparse=True, colalign=align
    )
