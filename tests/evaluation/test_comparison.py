"""Several models in one table: `compare`, and several `--preset`."""

import json
import math
import os
import pathlib
import weakref

import pytest

from keras_bandit import cli
from keras_bandit.cli.console import CommandError
from keras_bandit.data.track import Track
from keras_bandit.evaluation import compare, evaluate

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("no_plots")]

SFX = {"speech": 0.4, "music": 0.3, "sfx": 0.2}
STEMS = ["speech", "music", "effects"]


def read_json(path):
    return json.loads(pathlib.Path(path).read_text())


def table_of(page):
    """A page's first table of scores, `{row: cells}`; its head is row ""."""
    lines = page.split("\n## ")[1].splitlines()[2:]
    rows = [[c.strip() for c in x.strip("|").split("|")] for x in lines if x]
    return {row[0]: row[1:] for row in [rows[0], *rows[2:]]}


# compare


@pytest.fixture
def score(make_model, tracks, tmp_path):
    """Evaluates a model of gains; returns the directory and the summary."""

    def score(name, gains=None, tracks=tracks, **options):
        options = {"hop_seconds": 0.05, **options}
        summary = evaluate(
            make_model(gains), tracks, tmp_path / name, **options
        )
        return tmp_path / name, summary

    return score


def test_rows_are_those_of_the_evaluations(score, tracks, tmp_path):
    (a, first), (b, second) = score("a"), score("b", SFX)
    found = compare({"A": a, "B": b}, tracks, tmp_path / "out")
    for kind in ("mean", "median", "defined"):
        rows = found[kind]
        assert list(rows) == ["mixture", "irm", "psf", "A", "B"]
        assert rows["A"] == first[kind]["model"]
        assert rows["B"] == second[kind]["model"]
        for oracle in ("mixture", "irm", "psf"):
            assert rows[oracle] == first[kind][oracle]
    assert (found["num_tracks"], found["left_out"]) == (3, [])
    written = read_json(tmp_path / "out/comparison.json")
    assert written["mean"] == found["mean"]
    assert written["settings"]["B"]["model"]["stems"] == list(SFX)
    page = (tmp_path / "out/comparison.md").read_text()
    assert page.startswith(
        "# A, B\n\n- Data: tracks, the same 3 tracks for all"
    )
    table = table_of(page)
    assert list(table)[-2:] == ["A", "B"]
    mean = found["mean"]["B"]["snr"]["effects"]
    assert table["B"][table[""].index("Effects SNR")] == f"{mean:.1f}"


def test_tracks_that_one_has_not_done_count_for_none(score, tracks, tmp_path):
    (a, _), (b, second) = score("a"), score("b", SFX, tracks[:2])
    found = compare({"A": a, "B": b}, tracks, tmp_path / "out")
    assert (found["num_tracks"], found["left_out"]) == (2, ["track 2"])
    assert found["mean"]["B"] == second["mean"]["model"]
    few = compare({"A": a}, tracks[:2], tmp_path / "few")
    assert found["mean"]["A"] == few["mean"]["A"]
    page = (tmp_path / "out/comparison.md").read_text()
    assert "Not done by all and not in the tables**: track 2" in page
    with pytest.raises(ValueError, match="A, B: no track was done by all"):
        compare({"A": a, "B": b}, tracks[2:], tmp_path / "out")


def test_a_stem_that_a_model_lacks_is_empty(score, tracks, tmp_path):
    (a, _), (b, second) = score("a", {"speech": 0.5}), score("b")
    found = compare({"A": a, "B": b}, tracks, tmp_path / "out")
    figures = found["mean"]["A"]["snr"]
    assert math.isnan(figures["music"])
    assert math.isnan(figures["average"])
    assert found["defined"]["A"]["snr"] == {
        "speech": 3,
        "music": 0,
        "effects": 0,
    }
    # Though the first evaluation has it not.
    assert found["mean"]["irm"] == second["mean"]["irm"]
    table = table_of((tmp_path / "out/comparison.md").read_text())
    assert table["A"][2:] == ["-"] * 6
    assert "-" not in table["B"]
    written = read_json(tmp_path / "out/comparison.json")
    assert written["mean"]["A"]["snr"]["music"] is None


def test_a_sum_and_a_decoder_of_that_name_share_a_column(
    score, tracks, tmp_path
):
    composites = {"mne": ("music", "effects")}
    a, first = score("a", composites=composites)
    b, second = score("b", {"speech": 0.5, "mne": 0.5})
    found = compare({"A": a, "B": b}, tracks, tmp_path / "out")
    rows = found["mean"]
    assert rows["A"]["snr"] == first["mean"]["model"]["snr"]
    mne = second["mean"]["model"]["snr"]["mne"]
    assert rows["B"]["snr"]["mne"] == mne
    assert math.isnan(rows["B"]["snr"]["average"])


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"oracles": ["irm"]}, "oracles"),
        ({"metrics": ["snr"]}, "metrics"),
        ({"split": "test"}, "split"),
    ],
)
def test_other_settings_are_refused(score, tracks, tmp_path, change, key):
    (a, _), (b, _) = score("a"), score("b", SFX, **change)
    with pytest.raises(ValueError, match=f"must have the same {key}; got"):
        compare({"A": a, "B": b}, tracks, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_bad_arguments(score, tracks, make_track, tmp_path):
    a, _ = score("a")
    with pytest.raises(ValueError, match="none named as one of"):
        compare({"irm": a}, tracks, tmp_path / "out")
    with pytest.raises(ValueError, match="one model or more"):
        compare({}, tracks, tmp_path / "out")
    with pytest.raises(ValueError, match="a: holds the evaluation of one"):
        compare({"A": a}, tracks, a)
    with pytest.raises(ValueError, match="another track of that name"):
        compare({"A": a}, [make_track("track 0", samples=9)], tmp_path / "out")
    with pytest.raises(FileNotFoundError):
        compare({"A": tmp_path / "none"}, tracks, tmp_path / "out")
    assert os.listdir(tmp_path) == ["a"]
    compare({"A": a}, tracks, tmp_path / "out")
    with pytest.raises(ValueError, match=r"holds comparison.md but no config"):
        score("out")


def test_plots_have_a_box_for_each_model(score, tracks, tmp_path, monkeypatch):
    monkeypatch.setattr("keras_bandit.evaluation.pages.can_plot", lambda: True)
    a, _ = score("a", {"speech": 0.5}, tracks[:1], oracles=[])
    b, _ = score("b", {"music": 0.5}, tracks[:1], oracles=[])
    compare({"A": a, "B": b}, tracks, tmp_path / "out")
    pictures = sorted(p.name for p in (tmp_path / "out/plots").iterdir())
    assert pictures == ["music.png", "speech.png"]


# The command


class Broken(Track):
    """A track that cannot be read."""

    def __init__(self):
        super().__init__("torn", 8000, 1, 4000, [*STEMS, "mixture"])

    def _read(self, stem, start, stop):
        raise OSError(5, "Input/output error", "torn/mix.wav")


@pytest.fixture
def models(monkeypatch, make_model):
    """Gains of the models behind presets: `None` are those of all stems."""
    gains = {"one": None, "two/": SFX, "few": {"speech": 0.25}}
    alive = weakref.WeakSet()

    def load(preset):
        assert not alive  # the one before is gone
        if preset not in gains:
            raise CommandError(f"cannot load preset {preset}: why")
        model = make_model(gains[preset])
        alive.add(model)
        return model

    monkeypatch.setattr("keras_bandit.cli.evaluate.load_separator", load)
    return gains


def run(presets, *args):
    options = [x for preset in presets for x in ("--preset", preset)]
    options += ["--data-dir", "data", "--engine", "keras"]
    options += ["--chunk-seconds", "0.1", "--hop-seconds", "0.05"]
    return cli.main(["evaluate", *options, *args])


def comparison():
    return read_json("evaluation/comparison.json")


def test_several_presets(dataset, models, capsys):
    assert run(["one", "two/", "few"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    page = pathlib.Path("evaluation/comparison.md").read_text()
    assert page in shown.out
    assert page.startswith("# one, two, few\n\n- Data: film_mix/paths/1.0.0 ")
    assert sorted(os.listdir("evaluation")) == [
        "comparison.json",
        "comparison.md",
        "models",
    ]
    rows = comparison()["mean"]
    assert list(rows) == ["mixture", "irm", "psf", "one", "two", "few"]
    for name in ("one", "two", "few"):
        folder = pathlib.Path("evaluation/models", name)
        alone = read_json(folder / "summary.json")["mean"]["model"]
        assert (
            rows[name]["snr"].items()
            >= {
                **alone["snr"],
                "average": rows[name]["snr"]["average"],
            }.items()
        )
        assert (folder / "results.md").read_text().startswith(f"# {name}\n")


def test_each_folder_is_that_of_one_preset(dataset, models):
    assert run(["one", "two/"], "--quiet") == 0
    folder = "evaluation/models/two"
    before = read_json(f"{folder}/summary.json")
    assert run(["two/"], "--quiet", "--output", folder) == 0
    assert read_json(f"{folder}/summary.json") == before


def test_continues_with_tracks_and_with_presets(dataset, models, make_model):
    assert run(["one", "two/"], "--quiet", "--limit", "1") == 0
    assert comparison()["num_tracks"] == 1
    assert run(["one", "two/"], "--quiet") == 0
    done = pathlib.Path("evaluation/models/one/tracks")
    times = {x: x.stat().st_mtime_ns for x in done.iterdir()}
    assert len(times) == 3
    assert run(["few", "one", "two/"], "--quiet") == 0
    assert {x: x.stat().st_mtime_ns for x in done.iterdir()} == times
    assert list(comparison()["mean"])[3:] == ["few", "one", "two"]


def test_stems_are_those_that_each_has(dataset, models, error_lines):
    options = ["--stems", "speech,effects", "--mne", "--quiet"]
    models["mne"] = {"mne": 0.5}
    assert run(["one", "two/", "few", "mne"], *options) == 0
    means = {name: x["snr"] for name, x in comparison()["mean"].items()}
    names = ["speech", "effects", "mne", "average"]
    for name, has in {
        "one": names,
        "two": names,
        "few": ["speech"],
        "mne": ["mne"],
        "irm": names,
    }.items():
        assert {*means[name]} == {*names}
        assert [x for x in names if means[name][x] is not None] == has


def test_stems_that_none_has(dataset, models, error_lines):
    assert run(["one", "few"], "--stems", "speech,voice", "--quiet") == 1
    assert error_lines() == ["no preset has voice"]
    assert run(["one", "few"], "--stems", "music", "--output", "out") == 1
    assert list(read_json("out/comparison.json")["failed"]) == ["few"]


def test_a_preset_that_fails(dataset, models, error_lines):
    models["odd"] = {"vocals": 1.0}
    assert run(["gone", "one", "odd"], "--quiet") == 1
    gone, odd = error_lines()
    assert gone == "cannot load preset gone: why"
    assert odd.startswith("odd: track track 0 has no vocals")
    found = comparison()
    assert list(found["mean"])[3:] == ["one"]
    assert list(found["failed"]) == ["gone", "odd"]
    page = pathlib.Path("evaluation/comparison.md").read_text()
    assert "**Failed and not in the tables**: odd: track track 0 has" in page
    assert run(["gone", "odd"], "--quiet", "--output", "out") == 2
    assert len(error_lines()) == 2
    assert not os.path.exists("out")


def test_a_track_that_fails(dataset, models, error_lines):
    dataset.insert(0, Broken())
    assert run(["one", "two/"], "--quiet") == 1
    first, second = error_lines()
    assert first.startswith("one: track torn: ")
    assert second.startswith("two: track torn: ")
    assert comparison()["left_out"] == ["torn"]
    dataset[1:] = []
    assert run(["one", "two/"], "--quiet", "--output", "out") == 2
    assert len(error_lines()) == 2


@pytest.mark.parametrize(
    ("presets", "names"),
    [
        (["a/best", "b/best"], ["a/best", "b/best"]),
        (["a/best", "b/best", "few"], ["a/best", "b/best", "few"]),
        (["a/best", "best"], ["a/best", "best"]),
        (["a/irm", "b/model"], ["a/irm", "b/model"]),
        (["a", "b"], ["a", "b"]),
    ],
)
def test_names(dataset, models, make_model, presets, names):
    models.update(dict.fromkeys(presets, SFX))
    assert run(presets, "--quiet", "--limit", "1") == 0
    assert list(comparison()["mean"])[3:] == names
    for name in names:
        assert os.path.exists(f"evaluation/models/{name}/results.md")


def test_names_of_directories(dataset, models, tmp_path):
    os.makedirs("runs/a/best")
    here, other = str(tmp_path / "runs/a/best"), "hf://me/best"
    models |= {here: None, other: SFX}
    assert run([here, other], "--quiet", "--limit", "1") == 0
    assert list(comparison()["mean"])[3:] == ["a/best", "me/best"]


@pytest.mark.parametrize(
    ("presets", "message"),
    [
        (["one", "two/", "one/"], "--preset one/ is given more than once"),
        (["few", "./few"], "--preset ./few is given more than once"),
    ],
)
def test_a_preset_twice(dataset, models, error_lines, presets, message):
    assert run(presets) == 2
    assert error_lines() == [message]
    assert not os.path.exists("evaluation")


def test_the_folder_of_one_evaluation(dataset, models, error_lines):
    assert run(["one"], "--quiet") == 0
    assert run(["one", "two/"]) == 2
    (line,) = error_lines()
    assert line.startswith("evaluation: holds the evaluation of one model")
    assert not os.path.exists("evaluation/models")
