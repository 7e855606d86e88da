"""Tables in the paper's shape, the paper's numbers, and plots."""

import json
import math
import types

import numpy as np
import pytest

from keras_bandit.evaluation import evaluate, paper
from keras_bandit.evaluation.plan import make_plan
from keras_bandit.evaluation.plots import box_plot
from keras_bandit.evaluation.tables import result_tables, summarize
from keras_bandit.models.presets import PRESETS

pytestmark = pytest.mark.once

IN_PAPER = [preset.name for preset in PRESETS.values() if preset.paper]
STEMS = ["speech", "music", "effects"]


def parse(table):
    """Cells of a Markdown table, header first."""
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table.splitlines()
    ]
    assert set("".join(lines[1])) <= set("-:")
    return [lines[0], *lines[2:]]


def cells(text):
    return text.split()


def architecture(name, loss=None):
    """A stand-in for a model that is built like a preset."""
    preset = PRESETS[name]
    model = type(preset.model, (), {})()
    model.backbone = types.SimpleNamespace(**preset.backbone)
    model.stems = list(preset.stems)
    model.metadata = {"training": {"config": {"loss": loss}}} if loss else {}
    return model


def rows_on_dnr(model):
    """What the paper has beside a model, on all of DnR v2's test set."""
    data = ("dnr/v2_paths/1.0.0", "test", 973, {44100})
    return paper.paper_rows(*data, model)


def scores_of(plan, values):
    """Scores of tracks: the same in each row and score, from one number."""
    return [
        {
            row: {
                name: dict.fromkeys(plan.scored, value + i)
                for name in plan.metrics
            }
            for i, row in enumerate(plan.rows)
        }
        for value in values
    ]


@pytest.fixture
def plan():
    return make_plan(
        STEMS,
        None,
        {"mne": ("music", "effects")},
        ["mixture", "irm", "psf"],
        ["snr", "si_snr"],
    )


def test_shape_of_table_1(plan):
    summary = summarize(scores_of(plan, [1, 2, 6]), plan)
    (title, mean), (second, median) = result_tables(summary, plan, "Mine", {})
    assert title == "SNR and SI-SNR, mean over tracks"
    assert second == "SNR and SI-SNR, median over tracks"
    header, *rows = parse(mean)
    names = ["Speech", "Music", "Effects", "Average", "M&E"]
    assert header == [""] + [
        f"{n} {s}" for n in names for s in ("SNR", "SI-SNR")
    ]
    assert [row[0] for row in rows] == [
        "Mixture",
        "Ideal Ratio Mask",
        "Phase Sensitive Filter",
        "Mine",
    ]
    assert rows[0][1:] == ["3.0"] * 10
    assert rows[3][1:] == ["6.0"] * 10
    assert (
        "-0.0"
        not in result_tables(
            summarize(scores_of(plan, [-0.01]), plan), plan, "Mine", {}
        )[0][1]
    )
    assert parse(median)[1][1:] == ["2.0"] * 10


def test_scores_that_are_medians_by_convention_come_so_first():
    plan = make_plan(["vocals"], None, None, [], ["snr", "usdr", "csdr"])
    summary = summarize(scores_of(plan, [1, 2, 6]), plan)
    titles = [title for title, _ in result_tables(summary, plan, "", {})]
    assert titles == [
        "SNR, mean over tracks",
        "SNR, median over tracks",
        "uSDR, mean over tracks",
        "uSDR, median over tracks",
        "cSDR, median over tracks",
        "cSDR, mean over tracks",
    ]


def test_undefined_scores_do_not_count():
    plan = make_plan(STEMS, None, None, [], ["csdr"])
    scores = scores_of(plan, [1, 2, 6])
    scores[2]["model"]["csdr"]["music"] = math.nan
    summary = summarize(scores, plan)
    assert summary["mean"]["model"]["csdr"]["music"] == 1.5
    assert summary["defined"]["model"]["csdr"] == {
        "speech": 3,
        "music": 2,
        "effects": 3,
    }
    for track in scores:
        track["model"]["csdr"]["music"] = math.nan
    summary = summarize(scores, plan)
    assert math.isnan(summary["mean"]["model"]["csdr"]["average"])
    table = result_tables(summary, plan, "Mine", {})[0][1]
    assert parse(table)[1] == ["Mine", "2.0", "-", "2.0", "-"]


def test_paper_s_rows_stand_below_ours(plan):
    rows = rows_on_dnr(architecture("bandit_musical64", "L1SNR"))
    summary = summarize(scores_of(plan, [1, 2]), plan)
    mean, median = result_tables(summary, plan, "Mine", rows)
    table = {row[0]: row[1:] for row in parse(mean[1])}
    assert list(table) == [
        "",
        "Mixture",
        "*paper*",
        "Ideal Ratio Mask",
        "Phase Sensitive Filter",
        "Mine",
        "*paper: bandit_musical64, L1SNR*",
        "*paper: BandIt+, L1SNR*",
    ]
    # Table 1, last line of BandIt, and Sec. V-E.
    assert table["*paper: bandit_musical64, L1SNR*"] == (
        cells("15.1 14.9 8.2 7.4 9.3 8.7 10.9 10.3 13.9 13.7")
    )
    assert parse(mean[1])[4] == (
        ["*paper*", *cells("14.4 14.6 9.0 8.4 11.0 10.7 11.5 11.2 - -")]
    )
    assert "paper" not in median[1]


def test_paper_s_row_for_musdb():
    model = architecture("bandit_musical64")
    model.stems = ["vocals", "drums", "bass", "other"]
    rows = paper.paper_rows("musdb18_hq", "test", 50, {44100}, model)
    plan = make_plan(model.stems, None, None, ["mixture"], ["snr", "usdr"])
    summary = summarize(scores_of(plan, [1, 2]), plan)
    tables = result_tables(summary, plan, "Mine", rows)
    header, *lines = parse(tables[0][1])
    assert header == ["", "Vocals", "Drums", "Bass", "Other", "Average"]
    assert lines[-1][1:] == cells("5.5 6.4 4.4 3.6 5.0")
    assert "paper" not in tables[2][1]  # uSDR


@pytest.mark.parametrize(
    ("name", "loss", "row"),
    [
        ("bandit_vox7", "L1SNR", "14.2 14.0 7.2 6.3 8.5 7.8 10.0 9.4"),
        ("bsrnn_gru8_vox7", "L1", "14.0 13.9 6.4 5.2 7.2 6.2 9.2 8.4"),
    ],
)
def test_the_paper_s_row_is_of_the_model_s_loss(name, loss, row):
    plan = make_plan(STEMS, None, None, [], ["snr", "si_snr"])
    rows = rows_on_dnr(architecture(name, loss))
    summary = summarize(scores_of(plan, [1]), plan)
    *_, last = parse(result_tables(summary, plan, "Mine", rows)[0][1])
    assert last == [f"*paper: {name}, {loss}*", *cells(row)]


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("bandit_musical64", "L2SNR"),
        ("bandit_vox7", "L1"),
        ("bandit_vox7", "PaperL1SNR"),
        ("bandit_vox7", {"waveform": "L1"}),
        ("bsrnn_gru8_vox7", "L1SNR"),
    ],
)
def test_no_row_for_a_loss_the_paper_has_not(name, loss):
    rows = rows_on_dnr(architecture(name, loss))
    assert rows["model"] == []
    assert rows["irm"]


@pytest.mark.parametrize(
    ("name", "usual"), [("bandit_vox7", "L1SNR"), ("bsrnn_gru8_vox7", "L1")]
)
@pytest.mark.parametrize("metadata", [None, {}, {"training": {"config": {}}}])
def test_a_loss_that_is_not_recorded_is_said(name, usual, metadata):
    model = architecture(name)
    if metadata is None:
        del model.metadata
    else:
        model.metadata = metadata
    ((label, scores),) = rows_on_dnr(model)["model"]
    assert label == f"paper: {name}, {usual} (ours: not recorded)"
    known = rows_on_dnr(architecture(name, usual))
    assert known["model"] == [(f"paper: {name}, {usual}", scores)]


@pytest.mark.parametrize(
    ("data", "split", "num_tracks", "rates"),
    [
        ("film_mix", "test", 973, {44100}),
        (None, None, 973, {44100}),
        ("dnr", "validation", 973, {44100}),
        ("dnr", "test", 1200, {48000}),  # v3
        ("dnr", "test", 973, {44100, 48000}),
        ("dnr", "test", 20, {44100}),  # --limit, or other clips
        ("musdb18_hq", "test", 973, {44100}),
    ],
)
def test_other_data_has_no_rows_of_the_paper(data, split, num_tracks, rates):
    model = architecture("bandit_musical64")
    assert paper.paper_rows(data, split, num_tracks, rates, model) == {}


@pytest.mark.parametrize("name", IN_PAPER)
def test_models_of_the_paper_are_recognized(name):
    assert paper.built_like(architecture(name)).name == name
    small = architecture(name)
    small.backbone.embed_dim = 64
    assert paper.built_like(small) is None


@pytest.mark.parametrize("name", ["bandit_v2_musical64", "bsrnn_microtonal"])
def test_models_the_paper_has_not(name):
    assert paper.built_like(architecture(name)) is None


def test_a_model_without_a_backbone_has_no_row():
    model = types.SimpleNamespace(stems=STEMS)
    assert rows_on_dnr(model)["model"] == []


@pytest.mark.parametrize("name", IN_PAPER)
def test_averages_of_the_paper(name):
    figures = PRESETS[name].paper
    for values in (figures.snr_db, figures.si_snr_db):
        # In the row of bark64 the average of SNR does not fit its stems.
        if name != "bandit_bark64" or values is figures.si_snr_db:
            *stems, average = values.values()
            # Three numbers and their mean, each rounded to 0.1.
            assert np.mean(stems) == pytest.approx(average, abs=0.101)


def test_files_for_the_reader(make_model, tracks, tmp_path):
    composites = {"mne": ("music", "effects")}
    summary = evaluate(
        make_model(),
        tracks,
        tmp_path,
        composites=composites,
        chunk_seconds=0.1,
        hop_seconds=0.05,
        model_name="Mine",
        dataset="film_mix",
        split="test",
    )
    page = (tmp_path / "results.md").read_text()
    assert page.startswith("# Mine\n\n- Data: film_mix test, 3 tracks")
    assert page.count("\n## ") == 2
    written = json.loads((tmp_path / "summary.json").read_text())
    for kind in ("mean", "median", "defined"):
        assert written[kind] == summary[kind]
    assert written["settings"]["hop_seconds"] == 0.05
    pictures = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert pictures == ["effects.png", "mne.png", "music.png", "speech.png"]
    for path in (tmp_path / "plots").iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")


def test_a_box_for_each_row(plan):
    scores = scores_of(plan, range(10))
    figure = box_plot(scores, "mne", plan.rows, ["snr", "si_snr"], "Mine")
    assert len(figure.axes) == 2
    for panel in figure.axes:
        # Box, median, two whiskers with two caps, points beyond them.
        assert len(panel.lines) == 7 * len(plan.rows)
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == [
        "Mixture",
        "Ideal Ratio Mask",
        "Phase Sensitive Filter",
        "Mine",
    ]
    middle = [tuple(line.get_xdata()) for line in figure.axes[0].lines]
    assert {(x, x) for x in (4.5, 5.5, 6.5, 7.5)} <= set(middle)


def test_plot_of_undefined_scores(plan):
    scores = scores_of(plan, [math.nan, 1.0])
    for track in scores:
        track["mixture"]["snr"]["music"] = math.nan
    figure = box_plot(scores, "music", plan.rows, ["snr"], "Mine")
    assert len(figure.axes) == 1


def test_without_matplotlib_all_but_plots(
    make_model, tracks, tmp_path, monkeypatch
):
    monkeypatch.setattr("keras_bandit.evaluation.pages.can_plot", lambda: False)
    evaluate(make_model(), tracks, tmp_path, chunk_seconds=0.1, hop_seconds=0.1)
    assert (tmp_path / "results.md").exists()
    assert not (tmp_path / "plots").exists()
