"""StandardizeSpectrogram: mean 0, deviation 1, and silence."""

import numpy as np
import pytest
from keras import ops

from keras_bandit.layers import StandardizeSpectrogram


def noise(*shape):
    rng = np.random.default_rng(0)
    return (3 + rng.normal(size=shape)).astype("float32")


def run(spectrogram, linked=False):
    return ops.convert_to_numpy(StandardizeSpectrogram(linked)(spectrogram))


def test_check_layer(check_layer):
    check_layer(
        lambda **kwargs: StandardizeSpectrogram(**kwargs),
        noise(2, 2, 5, 9, 2),
        unknown_axes=(0, 1, 2),
        always_float32=True,
    )


@pytest.mark.parametrize("linked", [False, True])
def test_is_the_standardization_of_complex_values(linked):
    spectrogram = noise(3, 2, 5, 9, 2)
    spectrogram[:, 1] *= 0.1
    values = spectrogram[..., 0] + 1j * spectrogram[..., 1]
    axes = (1, 2, 3) if linked else (2, 3)
    values = values - values.mean(axis=axes, keepdims=True)
    values /= np.sqrt(np.mean(np.abs(values) ** 2, axis=axes, keepdims=True))
    found = run(spectrogram, linked)
    np.testing.assert_allclose(
        found[..., 0] + 1j * found[..., 1], values, atol=1e-5
    )


@pytest.mark.parametrize("level", [1e-6, 1e6])
def test_level_makes_no_difference(level):
    spectrogram = noise(1, 1, 5, 9, 2)
    np.testing.assert_allclose(
        run(np.float32(level) * spectrogram), run(spectrogram), atol=1e-5
    )


def test_silence_stays_silence():
    spectrogram = noise(2, 1, 5, 9, 2)
    spectrogram[1] = 0
    standardized = run(spectrogram)
    assert not standardized[1].any()
    np.testing.assert_array_equal(standardized[:1], run(spectrogram[:1]))
