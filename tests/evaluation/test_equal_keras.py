"""Scores and oracles in NumPy equal the metrics and transforms in Keras."""

import numpy as np
import pytest
from keras import ops

from keras_bandit import metrics
from keras_bandit.common.numpy_spectral import unit_window
from keras_bandit.evaluation import scores
from keras_bandit.evaluation.oracles import (
    ORACLES,
    ideal_mask,
    oracle_estimate,
)
from keras_bandit.layers import ISTFT, STFT, ApplyMask


def noise(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.1, shape).astype("float32")


@pytest.mark.parametrize("name", ["snr", "si_snr"])
@pytest.mark.parametrize(
    "case", ["noisy", "perfect", "silent target", "silent"]
)
def test_equal_those_of_training(name, case):
    target = noise(2, 4000) + 0.05
    estimate = 0.3 * target + 0.5 * noise(2, 4000, seed=1)
    if case == "perfect":
        estimate = target
    if case in ("silent target", "silent"):
        target = np.zeros_like(target)
    if case == "silent":
        estimate = target
    expected = getattr(metrics, name)(
        ops.convert_to_tensor(target), ops.convert_to_tensor(estimate)
    )
    expected = ops.convert_to_numpy(expected).mean()
    value = getattr(scores, name)(target, estimate)
    # Float32 has its own error where the noise is nothing but rounding.
    tolerance = 0.05 if case == "perfect" else 1e-3
    assert value == pytest.approx(float(expected), abs=tolerance)


@pytest.mark.parametrize("name", ORACLES)
def test_equals_the_model_s_transform_with_that_mask(name):
    mixture, target = noise(2, 3000), noise(2, 3000, seed=1)
    stft = STFT(256, 64)
    spectra = {
        key: ops.convert_to_numpy(stft(ops.convert_to_tensor(audio[None])))
        for key, audio in (("mixture", mixture), ("target", target))
    }
    mixture_bins, target_bins = (
        spectra[key][..., 0] + 1j * spectra[key][..., 1]
        for key in ("mixture", "target")
    )
    mask = ideal_mask(name, target_bins, mixture_bins)
    mask = np.stack([mask, np.zeros_like(mask)], axis=-1).astype("float32")
    masked = ApplyMask()(
        ops.convert_to_tensor(spectra["mixture"]), ops.convert_to_tensor(mask)
    )
    expected = ISTFT(256, 64)(masked, ops.convert_to_tensor(mixture[None]))
    estimate = oracle_estimate(name, mixture, target, n_fft=256, hop_length=64)
    # IAM and PSF divide by the mixture: where it vanishes, float32's error
    # grows with them.
    np.testing.assert_allclose(
        estimate, ops.convert_to_numpy(expected)[0], rtol=0, atol=1e-4
    )


def test_window_is_the_model_s():
    expected = ops.convert_to_numpy(STFT(64, 16)._window)
    np.testing.assert_allclose(unit_window(64), expected, atol=1e-7)
