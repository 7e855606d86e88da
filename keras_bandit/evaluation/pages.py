"""What a reader of an evaluation is given: summary, tables and plots."""

import functools

from keras_bandit.common.files import replace_file, write_json, write_text
from keras_bandit.evaluation.paper import paper_rows
from keras_bandit.evaluation.plots import box_plot, can_plot
from keras_bandit.evaluation.results import PLOTS, SUMMARY, TABLES, for_json
from keras_bandit.evaluation.scores import score_names
from keras_bandit.evaluation.tables import result_tables


def write_results(
    results, summary, scores, tracks, plan, separator, model_name
):
    """Writes summary, tables and plots; `scores` has one item for each track."""
    settings = results.settings
    record = {"model_name": model_name, "settings": settings}
    record = {**for_json(summary), **record, "versions": results.versions}
    write_json(results.directory / SUMMARY, record)
    rates = {track.sample_rate for track in tracks}
    paper = paper_rows(
        settings["dataset"], settings["split"], len(tracks), rates, separator
    )
    page = _head(results, summary, tracks, model_name)
    if paper:
        page.append(
            "- Rows in italics: as printed in the BandIt paper, on the whole "
            "test set"
        )
    for title, table in result_tables(summary, plan, model_name, paper):
        page += ["", f"## {title}", "", table]
    write_text(results.directory / TABLES, "\n".join(page) + "\n")
    write_plots(results.directory / PLOTS, scores, plan, model_name)


def write_plots(folder, scores, plan, model_name):
    """Writes a box plot for each name that is scored, if matplotlib is there."""
    if not can_plot():
        return
    folder.mkdir(exist_ok=True)
    for name in plan.scored:
        row = scores[0][plan.rows[0]]
        names = [s for s in score_names(plan.metrics) if name in row[s]]
        figure = box_plot(scores, name, plan.rows, names, model_name)
        save = functools.partial(figure.savefig, format="png", dpi=120)
        replace_file(folder / f"{name}.png", save)


def _head(results, summary, tracks, model_name):
    """What was run and on what: the first lines of `results.md`."""
    settings, model = results.settings, results.settings["model"]
    hours = sum(t.num_samples / t.sample_rate for t in tracks) / 3600
    data = " ".join(filter(None, [settings["dataset"], settings["split"]]))
    rates = sorted({track.sample_rate for track in tracks})
    lines = [
        f"# {model_name}",
        "",
        f"- Data: {data or 'tracks'}, {len(tracks)} tracks, {hours:.2f} hours, "
        f"{', '.join(map(str, rates))} Hz; whole tracks, in dB",
        f"- Model: {model['class']}, {model['parameters']:,} parameters, "
        f"{model['sample_rate']} Hz, {model['dtype']}, weights sha256 "
        f"{model['weights_sha256'][:16]}…",
        f"- Separated in chunks of {settings['chunk_seconds']} s every "
        f"{settings['hop_seconds']} s",
    ]
    if settings["mixture_consistency"]:
        lines.append("- With mixture consistency: stems add up to the mixture")
    if settings["precision"] != "float32":
        lines.append(f"- Computed in {settings['precision']}")
    for versions in results.versions:
        found = ", ".join(f"{key} {value}" for key, value in versions.items())
        lines.append(f"- {found}")
    if rates != [model["sample_rate"]]:
        lines.append(
            f"- Mixtures were resampled to {model['sample_rate']} Hz for the "
            "model, and its estimates back"
        )
    for name, reason in summary["failed"].items():
        lines.append(f"- **Failed and not in the tables**: {name}: {reason}")
    return lines
