"""`report.json` and the names of files."""

import json
import pathlib

import numpy as np
import pytest
import soundfile

from keras_bandit.common.loudness import integrated_loudness
from keras_bandit.inference import separate_file

from ..gains import Gains

pytestmark = pytest.mark.once
RATE = 8000


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(audio):
    soundfile.write("film.wav", audio.T, RATE, subtype="FLOAT")
    return audio


def report(model, **options):
    separate_file("film.wav", "out", model, report=True, **options)
    return json.loads(pathlib.Path("out/report.json").read_text())


def test_loudness_peak_and_null_test():
    time = np.arange(8 * RATE) / RATE
    # Between the samples its peak is 3 dB above them.
    tone = np.sin(2 * np.pi * RATE / 4 * time + np.pi / 4)
    audio = write(0.5 * np.stack([tone, tone]))
    audio[:, : 4 * RATE] = 0
    write(audio)
    found = report(Gains(), mne=True)
    assert list(found["stems"]) == ["speech", "music", "effects", "mne"]
    speech = found["stems"]["speech"]
    expected = integrated_loudness(0.5 * audio, RATE)
    assert speech["loudness_lufs"] == pytest.approx(expected, abs=0.02)
    assert speech["true_peak_dbtp"] == pytest.approx(-12.04, abs=0.3)
    # Stems add up to 7/8 of the mixture.
    expected = 20 * np.log10(1 / 8)
    assert found["null_test_db"] == pytest.approx(expected, abs=0.01)
    assert found["dialogue_share"] == pytest.approx(0.5, abs=0.03)


def test_silence_has_no_numbers():
    write(np.zeros((2, 8000)))
    found = report(Gains())
    assert found["stems"]["music"] == {
        "loudness_lufs": None,
        "loudness_range_lu": 0.0,
        "true_peak_dbtp": None,
    }
    assert found["null_test_db"] is None
    assert found["dialogue_share"] == 0


def test_more_channels_than_the_standard_has():
    write(np.random.default_rng(0).uniform(-0.1, 0.1, (7, 8000)))
    assert report(Gains())["stems"]["speech"]["loudness_lufs"] < 0


def test_names_by_a_template():
    write(np.full((2, 4000), 0.1))
    name = "{title}_{stem}_{layout}_{rate}"
    done = separate_file("film.wav", "out", Gains(), name=name)
    assert done.paths["speech"].name == "film_speech_stereo_8000.wav"
    assert done.paths["speech"].exists()


@pytest.mark.parametrize(
    "name",
    [
        "{title}",
        "{stem}/x",
        "{stem",
        "{0}{stem}",
        "{name}{stem}",
        ".{stem}",
        "",
    ],
)
def test_bad_templates_are_refused(name):
    write(np.full((2, 4000), 0.1))
    with pytest.raises(ValueError, match="name must hold"):
        separate_file("film.wav", "out", Gains(), name=name)
    assert not pathlib.Path("out").exists()
