"""Evaluation of real models: a BandIt from its preset, and any other."""

import json
import pathlib
import sys

import numpy as np
import pytest

from keras_bandit import cli
from keras_bandit.models import (
    BanditAudioSeparator,
    BanditBackbone,
)

pytestmark = pytest.mark.usefixtures("no_plots")


@pytest.fixture
def tiny():
    """A BandIt as the preset `tiny`."""
    backbone = BanditBackbone(
        num_bands=6,
        n_fft=256,
        sample_rate=8000,
        embed_dim=4,
        rnn_dim=5,
        num_pairs=1,
    )
    separator = BanditAudioSeparator(
        backbone, ["speech", "music", "effects"], hop_length=64, mlp_dim=3
    )
    separator.save_to_preset("tiny")
    return separator


def evaluate_tiny(*args):
    argv = ["evaluate", "--preset", "tiny", "--data-dir", "data"]
    argv += ["--chunk-seconds", "0.5", "--quiet", "--limit", "1"]
    return cli.main([*argv, "--output", "out", *args])


def read_json(path):
    return json.loads(pathlib.Path(path).read_text())


def test_preset(dataset, tiny, capsys):
    assert evaluate_tiny("--engine", "keras") == 0
    assert capsys.readouterr() == ("", "")
    track = dataset[0]
    estimate = tiny.separate(
        track.read("mixture"), 8000, chunk_seconds=0.5, hop_seconds=0.5
    )["speech"]
    error = np.sum((track.read("speech") - estimate) ** 2)
    expected = 10 * np.log10(np.sum(track.read("speech") ** 2) / error)
    summary = read_json("out/summary.json")
    assert summary["mean"]["model"]["snr"]["speech"] == pytest.approx(
        expected, abs=1e-3
    )
    assert summary["versions"][0]["keras"] == sys.modules["keras"].__version__
    assert summary["settings"]["model"]["dtype"] == "float32"


def test_precision_is_a_setting_and_the_engine_is_not(
    dataset, tiny, error_lines
):
    pytest.importorskip("openvino")
    assert evaluate_tiny("--engine", "openvino") == 0
    before = read_json("out/summary.json")
    assert evaluate_tiny("--engine", "keras") == 0
    after = read_json("out/summary.json")
    assert after["mean"] == before["mean"]
    versions = after["versions"]
    assert ["openvino" in found for found in versions] == [True, False]
    path = pathlib.Path("out/config.json")
    path.write_text(path.read_text().replace('"float32"', '"bfloat16"'))
    assert evaluate_tiny("--engine", "openvino") == 2
    (line,) = error_lines()
    assert "precision: 'bfloat16' before, 'float32' now" in line
