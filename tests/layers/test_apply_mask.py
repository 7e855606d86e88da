"""ApplyMask: the complex product, written with pairs."""

import numpy as np
import pytest
from keras import ops

from keras_bandit.layers import ApplyMask


def noise(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape).astype("float32")


def run(*inputs):
    return ops.convert_to_numpy(ApplyMask()(*inputs))


def as_complex(pairs):
    return pairs[..., 0] + 1j * pairs[..., 1]


def test_check_layer(check_layer):
    check_layer(
        lambda **kwargs: ApplyMask(**kwargs),
        noise(2, 2, 5, 9, 2),
        noise(2, 2, 5, 9, 2, seed=1),
        unknown_axes=(0, 2),
        always_float32=True,
    )


def test_is_the_complex_product():
    spectrogram, mask = noise(2, 2, 3, 5, 2), noise(2, 2, 3, 5, 2, seed=1)
    product = as_complex(spectrogram) * as_complex(mask)
    np.testing.assert_allclose(
        as_complex(run(spectrogram, mask)), product, atol=1e-5
    )


def test_channels_folded_into_the_batch():
    spectrogram, mask = noise(2, 3, 4, 5, 2), noise(2, 3, 4, 5, 2, seed=1)
    folded = mask.reshape(6, 1, 4, 5, 2)
    np.testing.assert_array_equal(
        run(spectrogram, folded), run(spectrogram, mask)
    )


def test_ones_return_the_spectrogram():
    spectrogram = noise(1, 1, 3, 5, 2)
    ones = np.zeros_like(spectrogram)
    ones[..., 0] = 1
    np.testing.assert_array_equal(run(spectrogram, ones), spectrogram)


def test_spectrogram_without_pairs():
    with pytest.raises(ValueError, match="expected ndim=5, found ndim=4"):
        run(noise(1, 1, 3, 5), noise(1, 1, 3, 5))
    with pytest.raises(ValueError, match=r"expected axis 4.*value 2"):
        run(noise(1, 1, 3, 5, 3), noise(1, 1, 3, 5, 3))
