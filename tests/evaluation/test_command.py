"""`keras-bandit evaluate`, on generated tracks."""

import json
import os
import pathlib

import pytest

from keras_bandit import cli
from keras_bandit.data import stored_tracks
from keras_bandit.data.track import Track

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("no_plots")]


class Unreadable(Track):
    def __init__(self):
        stems = ["speech", "music", "effects", "mixture"]
        super().__init__("torn", 8000, 1, 4000, stems)

    def _read(self, stem, start, stop):
        raise OSError(5, "Input/output error", "torn/mix.wav")


@pytest.fixture
def model(monkeypatch, make_model):
    """A model behind any preset."""
    model = make_model()
    name = "keras_bandit.cli.evaluate.load_separator"
    monkeypatch.setattr(name, lambda preset: model)
    return model


def evaluate(*args):
    options = ["--preset", "presets/mine/", "--data-dir", "data"]
    options += ["--chunk-seconds", "0.1", "--hop-seconds", "0.05"]
    return cli.main(["evaluate", *options, "--engine", "keras", *args])


def read_json(path):
    return json.loads(pathlib.Path(path).read_text())


def test_results_are_written_and_shown(dataset, model, capsys):
    assert evaluate() == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    page = pathlib.Path("evaluation/results.md").read_text()
    assert page in shown.out
    assert page.startswith("# mine\n\n- Data: film_mix/paths/1.0.0 test, 3 ")
    settings = read_json("evaluation/config.json")["settings"]
    assert settings["dataset"] == "film_mix/paths/1.0.0"
    assert settings["hop_seconds"] == 0.05
    assert settings["oracles"] == ["mixture", "irm", "psf"]
    assert settings["metrics"] == ["snr", "si_snr"]
    assert len(os.listdir("evaluation/tracks")) == 3


def test_options(dataset, model, capsys):
    options = ["--stems", "speech", "--mne", "--oracles", "ibm", "--limit", "2"]
    assert evaluate("--quiet", "--output", "out", *options) == 0
    summary = read_json("out/summary.json")
    assert summary["num_tracks"] == 2
    assert list(summary["mean"]) == ["ibm", "model"]
    assert list(summary["mean"]["ibm"]["snr"]) == ["speech", "mne", "average"]
    assert capsys.readouterr() == ("", "")


def test_museval_and_the_scores_of_musdb(
    dataset, model, make_track, monkeypatch, capsys
):
    found = pathlib.Path("data/musdb18_hq/paths/1.0.0")
    monkeypatch.setattr(stored_tracks, "find_prepared", lambda *args: found)
    del dataset[1:]
    monkeypatch.setattr(
        "keras_bandit.evaluation.scores.museval_scores",
        lambda targets, estimates, rate: {
            name: dict.fromkeys(targets, 3.25)
            for name in (
                "museval_sdr",
                "museval_isr",
                "museval_sir",
                "museval_sar",
            )
        },
    )
    options = ["--dataset", "musdb18_hq", "--museval", "--oracles", "mixture"]
    assert evaluate(*options) == 0
    assert list(read_json("evaluation/summary.json")["mean"]["model"]) == [
        "snr",
        "si_snr",
        "usdr",
        "csdr",
        "museval_sdr",
        "museval_isr",
        "museval_sir",
        "museval_sar",
    ]
    assert "## SDR (museval), median over tracks" in capsys.readouterr().out


def test_run_again_continues(
    dataset, model, make_model, monkeypatch, error_lines
):
    assert evaluate("--limit", "1", "--quiet") == 0
    before = model.calls
    assert evaluate("--quiet") == 0
    assert model.calls == 3 * before
    assert evaluate("--quiet", "--oracles", "irm") == 2
    (line,) = error_lines()
    assert line.startswith(
        "evaluation: the evaluation there has other settings"
    )


def test_ctrl_c_keeps_what_is_done(dataset, model, capsys):
    model.fail_after = 8  # in the second track: 6 calls each
    assert evaluate() == 130
    assert capsys.readouterr() == ("", "keras-bandit: interrupted\n")
    assert os.listdir("evaluation/tracks") == ["track 0.json"]


def test_damaged_track_is_status_1(dataset, model, error_lines):
    dataset.insert(0, Unreadable())
    assert evaluate("--quiet") == 1
    (line,) = error_lines()
    assert line.startswith("track torn: ")
    assert "torn/mix.wav" in line
    assert len(os.listdir("evaluation/tracks")) == 3


def test_only_damaged_tracks_is_status_2(dataset, model, error_lines):
    dataset[:] = [Unreadable()]
    assert evaluate() == 2
    assert len(error_lines()) == 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["--hop-seconds", "0.2"],
            "at most --chunk-seconds; got --hop-seconds 0.2",
        ),
        (["--chunk-seconds", "0.01", "--hop-seconds", "0.01"], "at least 256"),
        (["--stems", "voice"], "no voice; it has speech, music, effects"),
        (["--oracles", "best"], "oracles must be a list of some of"),
        (["--split", "dev"], "invalid choice: 'dev'"),
        (["--split", "train"], "no tracks in split train"),
        (["--limit", "0"], "--limit: must be a positive integer"),
        (["--workers", "0"], "--workers: must be a positive integer"),
        (["--dataset", "dnr"], "of dnr prepared in data (none is)"),
        (["--data-dir", "elsewhere"], "elsewhere: not one dataset prepared"),
        (["--output", "file"], "file: not a directory"),
    ],
)
def test_mistakes_are_one_line_and_status_2(
    dataset, model, error_lines, args, message
):
    pathlib.Path("file").touch()
    assert evaluate(*args) == 2
    (line,) = error_lines()
    assert message in line
    assert model.calls == 0
    assert not os.path.exists("evaluation")


def test_several_datasets_need_a_name(dataset, model, error_lines):
    for name in ("dnr/v2_paths", "dnr/v2_segments"):
        os.makedirs(f"data/{name}/1.0.0")
        pathlib.Path("data", name, "1.0.0", "dataset_info.json").touch()
    assert evaluate() == 2
    (line,) = error_lines()
    for word in ("dnr/v2_paths", "film_mix/paths", "--dataset"):
        assert word in line
    assert evaluate("--dataset", "film_mix", "--quiet") == 0


def test_museval_that_is_missing(dataset, model, monkeypatch, error_lines):
    def missing():
        raise ImportError("pip install 'keras-bandit[museval]'")

    monkeypatch.setattr("keras_bandit.evaluation.scores._museval", missing)
    assert evaluate("--museval") == 2
    assert error_lines() == ["pip install 'keras-bandit[museval]'"]


@pytest.mark.parametrize(
    "argv", [[], ["--preset", "p"], ["--data-dir", "data"]]
)
def test_missing_arguments(error_lines, argv):
    assert cli.main(["evaluate", *argv]) == 2
    assert "required" in error_lines()[0]
