"""Scores: golden values, those of museval, and the ends."""

import importlib.util
import math

import numpy as np
import pytest

from keras_bandit.evaluation import scores

pytestmark = pytest.mark.once

STEMS = ["speech", "music", "effects"]


def noise(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.1, shape).astype("float32")


both = pytest.mark.parametrize("name", ["snr", "si_snr"])


@both
@pytest.mark.parametrize("stem", STEMS)
def test_golden_values(name, stem, golden):
    arrays = golden("metrics")
    value = getattr(scores, name)(
        arrays[f"target/{stem}"][0], arrays[f"metric_estimate/{stem}"][0]
    )
    assert value == pytest.approx(
        float(arrays[f"{name}/{stem}"][0, 0]), abs=1e-4
    )


def test_usdr_pools_channels():
    target = noise(2, 5000)
    estimate = target.copy()
    estimate[0] *= 1 + 10**-0.5  # 10 dB there, perfect in the other channel
    energy = np.sum(target.astype("float64") ** 2, axis=1)
    expected = 10 + 10 * math.log10(energy.sum() / energy[0])
    assert scores.usdr(target, estimate) == pytest.approx(expected, abs=1e-3)


def test_csdr_is_the_median_over_whole_seconds():
    decibels = [3, 20, 7, 11, -50]
    target = noise(2, 5 * 100)
    gains = np.repeat([10 ** (-x / 20) for x in decibels], 100)
    estimate = target * (1 + gains)
    assert scores.csdr(target[:, :470], estimate[:, :470], 100) == (
        pytest.approx(9, abs=1e-3)  # the last one is not whole
    )
    assert scores.csdr(target, estimate, 100) == pytest.approx(7, abs=1e-3)


def test_csdr_leaves_silent_seconds_out():
    target = noise(1, 300)
    estimate = target * (1 + 10**-0.5)
    target[:, 100:] = 0
    assert scores.csdr(target, estimate, 100) == pytest.approx(10, abs=1e-3)
    assert math.isnan(scores.csdr(np.zeros_like(target), estimate, 100))


def test_csdr_of_a_recording_shorter_than_a_second():
    target = noise(1, 50)
    assert scores.csdr(target, 2 * target, 100) == pytest.approx(0, abs=1e-4)


needs_museval = pytest.mark.skipif(
    importlib.util.find_spec("museval") is None, reason="museval not installed"
)


@needs_museval
def test_csdr_is_museval_s_sdr():
    rate = 800  # bss_eval takes long
    stems = STEMS[:2]
    targets = {s: noise(2, 6 * rate + 9, seed=i) for i, s in enumerate(stems)}
    estimates = {
        s: 0.9 * x + noise(2, x.shape[1], seed=9) * (0.2 + i)
        for i, (s, x) in enumerate(targets.items())
    }
    found = scores.museval_scores(targets, estimates, rate)
    assert list(found) == list(scores.MUSEVAL)
    for stem in stems:
        assert found["museval_sdr"][stem] == pytest.approx(
            scores.csdr(targets[stem], estimates[stem], rate), abs=1e-3
        )
        # The estimate has no other stem in it, only noise of its own.
        assert found["museval_sir"][stem] > found["museval_sdr"][stem]


@needs_museval
def test_museval_without_a_silent_stem():
    rate = 800
    targets = {s: noise(1, 3 * rate, seed=i) for i, s in enumerate(STEMS)}
    targets["music"][:] = 0
    estimates = {s: x + noise(1, 3 * rate, seed=9) for s, x in targets.items()}
    found = scores.museval_scores(targets, estimates, rate)
    assert math.isnan(found["museval_sdr"]["music"])
    assert math.isfinite(found["museval_sdr"]["speech"])
    silent = {stem: np.zeros_like(x) for stem, x in targets.items()}
    found = scores.museval_scores(silent, estimates, rate)
    assert all(math.isnan(x) for x in found["museval_sdr"].values())


def test_museval_that_is_missing(monkeypatch):
    monkeypatch.setattr(scores.importlib.util, "find_spec", lambda name: None)
    scores._museval.cache_clear()
    with pytest.raises(ImportError, match=r"keras-bandit\[museval\]"):
        scores.check_metrics(["snr", "museval"])


@pytest.mark.parametrize("names", [[], ["sdr"], "snr", ["snr", "pesq"]])
def test_unknown_metrics(names):
    with pytest.raises(ValueError, match="metrics must be a list of some of"):
        scores.check_metrics(names)
