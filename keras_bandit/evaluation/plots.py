"""Box plots of the scores of tracks."""

import importlib.util

from keras_bandit.evaluation.tables import (
    SCORE_TITLES,
    defined_values,
    name_title,
    row_title,
)


def can_plot():
    """Whether matplotlib is installed (the extra `plot`)."""
    return importlib.util.find_spec("matplotlib") is not None


def box_plot(scores, name, rows, score_names, model_name):
    """Draws how the scores of one stem spread over the tracks.

    A box goes from the first to the third quartile, with a line at the median;
    whiskers reach to the last track within 1.5 times its length, others are
    points. Each row has a box, each score a panel. NaN does not count.
    """
    from matplotlib.figure import Figure

    # A figure of its own, without pyplot: no window, no global state.
    figure = Figure(
        figsize=(2 + 3 * len(score_names), 1.5 + 0.45 * len(rows)),
        layout="constrained",
    )
    figure.suptitle(f"{name_title(name)}, {len(scores)} tracks")
    panels = figure.subplots(1, len(score_names), sharey=True, squeeze=False)[0]
    for panel, score in zip(panels, score_names, strict=True):
        panel.boxplot(
            [defined_values(scores, row, score, name) for row in rows],
            orientation="horizontal",
            manage_ticks=False,
            flierprops={"markersize": 3},
        )
        panel.set_xlabel(f"{SCORE_TITLES[score]} (dB)")
        panel.grid(axis="x", alpha=0.3)
    # Once for all panels, which share the axis.
    titles = [row_title(row, model_name) for row in rows]
    panels[0].set_yticks(range(1, len(rows) + 1), titles)
    panels[0].set_ylim(len(rows) + 0.5, 0.5)  # first row on top
    return figure
