"""A model of gains, and tracks of noise."""

import pathlib
import types

import numpy as np
import pytest

from keras_bandit.data.track import ArrayTrack

RATE = 8000
GAINS = {"speech": 0.5, "music": 0.25, "effects": 0.125}


class Gains:
    """Stands in for an `AudioSeparator`: each stem is the mixture, scaled."""

    sample_rate = RATE
    num_channels = None
    chunk_seconds = 0.1
    min_samples = 256
    hop_length = 64
    silent_in_silent_out = True
    weights = (1,)
    dtype_policy = types.SimpleNamespace(name="float32")

    def __init__(self, gains=None, fail_after=None, error=KeyboardInterrupt):
        self.gains = dict(gains or GAINS)
        self.fail_after = fail_after  # calls
        self.error = error
        self.calls = 0
        self.computed = list(self.gains)

    @property
    def stems(self):
        return list(self.gains)

    def with_stems(self, stems):
        self.computed = list(stems)
        return Gains({stem: self.gains[stem] for stem in stems})

    def predict_on_batch(self, batch):
        if self.calls == self.fail_after:
            raise self.error
        self.calls += 1
        return {stem: gain * batch for stem, gain in self.gains.items()}

    def get_weights(self):
        return [np.array([gain]) for gain in self.gains.values()]

    def count_params(self):
        return len(self.gains)


def noise_track(name, seed=0, samples=4000, rate=RATE, channels=1, **changed):
    """A track of three stems of noise and their sum."""
    rng = np.random.default_rng(seed)
    stems = {
        stem: rng.normal(0, level, (channels, samples)).astype("float32")
        for stem, level in (("speech", 0.1), ("music", 0.05), ("effects", 0.06))
    }
    stems |= changed
    return ArrayTrack(name, rate, {**stems, "mixture": sum(stems.values())})


@pytest.fixture
def make_model():
    return Gains


@pytest.fixture
def make_track():
    return noise_track


@pytest.fixture
def tracks():
    return [noise_track(f"track {i}", seed=i) for i in range(3)]


@pytest.fixture
def no_plots(monkeypatch):
    """They take most of the time; tests of tables have them."""
    monkeypatch.setattr("keras_bandit.evaluation.pages.can_plot", lambda: False)


@pytest.fixture
def dataset(monkeypatch, tmp_path, tracks):
    """Tracks of a prepared film_mix, which tests may change."""
    monkeypatch.chdir(tmp_path)
    folder = pathlib.Path("data/film_mix/paths/1.0.0")
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").touch()

    def open_tracks(name, split, data_dir):
        assert name.startswith(("film_mix", "musdb18_hq"))
        return list(tracks) if split == "test" else []

    monkeypatch.setattr("keras_bandit.data.open_tracks", open_tracks)
    return tracks


@pytest.fixture
def error_lines(capsys):
    """The command's errors: nothing else was printed."""

    def lines():
        captured = capsys.readouterr()
        assert captured.out == ""
        start = "keras-bandit: error: "
        found = captured.err.splitlines()
        assert all(line.startswith(start) for line in found)
        return [line.removeprefix(start) for line in found]

    return lines
