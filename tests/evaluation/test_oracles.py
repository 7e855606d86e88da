"""Oracles: the authors' masks, and identities."""

import numpy as np
import pytest

from keras_bandit.evaluation import oracles
from keras_bandit.evaluation.oracles import ORACLES, oracle_estimate

pytestmark = pytest.mark.once

STEMS = ["speech", "music", "effects"]
AUTHORS = {
    "irm": "IdealRatioMask",
    "wiener": "IdealWienerMask",
    "iam": "IdealAmplitudeMask",
    "psf": "PhaseSensitiveFilter",
    "ibm": "IdealBinaryMask",
}

every = pytest.mark.parametrize("name", ORACLES)


def noise(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.1, shape).astype("float32")


@every
@pytest.mark.parametrize("stem", STEMS)
def test_golden_values(name, stem, golden):
    arrays, targets = golden("oracles"), golden("metrics")
    estimate = oracle_estimate(
        name, arrays["mixture"][0], targets[f"target/{stem}"][0]
    )
    expected = arrays[f"{AUTHORS[name]}/{stem}"][0]
    # float32 on both sides, peaks below 1.
    np.testing.assert_allclose(estimate[:, ::7], expected, rtol=0, atol=1e-6)


@every
@pytest.mark.parametrize("samples", [1, 511, 4097, 30000])
def test_target_alone_comes_back(name, samples):
    target = noise(2, samples)
    estimate = oracle_estimate(name, target, target)
    assert estimate.shape == target.shape
    assert estimate.dtype == np.float32
    np.testing.assert_allclose(estimate, target, rtol=0, atol=1e-6)


@every
def test_stems_that_never_sound_together_come_back(name):
    target, other = noise(1, 9000), noise(1, 9000, seed=1)
    target[:, 3000:] = 0.0
    other[:, :6000] = 0.0  # no frame of 2048 sees both
    for stem in (target, other):
        estimate = oracle_estimate(name, target + other, stem)
        np.testing.assert_allclose(estimate, stem, rtol=0, atol=1e-6)


@every
def test_silence(name):
    silence, mixture = np.zeros((1, 5000), "float32"), noise(1, 5000)
    np.testing.assert_array_equal(
        oracle_estimate(name, silence, silence), silence
    )
    np.testing.assert_array_equal(
        oracle_estimate(name, mixture, silence), silence
    )


@pytest.mark.parametrize("name", ["irm", "wiener"])
def test_ratio_masks_of_a_stem_and_of_the_rest_sum_to_the_mixture(name):
    mixture, target = noise(1, 8000), noise(1, 8000, seed=1)
    estimates = [
        oracle_estimate(name, mixture, part)
        for part in (target, mixture - target)
    ]
    np.testing.assert_allclose(sum(estimates), mixture, rtol=0, atol=1e-6)


def test_phase_sensitive_filter_is_the_best_real_mask():
    mixture, target = noise(1, 20000), noise(1, 20000, seed=1)
    error = {
        name: np.sum((oracle_estimate(name, mixture, target) - target) ** 2)
        for name in ORACLES
    }
    assert min(error, key=error.get) == "psf"


@every
def test_blocks_change_nothing(name, monkeypatch):
    mixture, target = noise(2, 9001), noise(2, 9001, seed=1)
    whole = oracle_estimate(name, mixture, target)
    monkeypatch.setattr(oracles, "_BLOCK_FRAMES", 3)
    np.testing.assert_allclose(
        oracle_estimate(name, mixture, target), whole, rtol=0, atol=1e-7
    )


@pytest.mark.parametrize(
    ("name", "mixture", "target", "message"),
    [
        ("best", noise(1, 9), noise(1, 9), "must be one of .*got 'best'"),
        ("irm", noise(1, 9), noise(1, 8), r"got \(1, 9\) and \(1, 8\)"),
        ("irm", noise(9), noise(9), r"\(channels, samples\); got \(9,\)"),
    ],
)
def test_errors(name, mixture, target, message):
    with pytest.raises(ValueError, match=message):
        oracle_estimate(name, mixture, target)
