"""Complex numbers as pairs: NumPy's products and Fourier transforms."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_bandit import backend
from keras_bandit.backend import generic

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((2, 3, 2, 5, 9, 2)).astype("float32")
FRAMES = RNG.standard_normal((3, 2, 16)).astype("float32")


def as_complex(x):
    return x[..., 0] + 1j * x[..., 1]


def as_pairs(x):
    return np.stack([x.real, x.imag], axis=-1)


@pytest.fixture(params=[backend, generic], ids=["native", "generic"])
def module(request):
    return request.param


def test_product(module):
    result = module.complex_product(*map(ops.convert_to_tensor, (X, Y)))
    np.testing.assert_allclose(
        ops.convert_to_numpy(result),
        as_pairs(as_complex(X) * as_complex(Y)),
        atol=2e-6,
    )


def test_gradients_of_the_product(module, gradients):
    ours = gradients(module.complex_product, (X, Y), X + Y)
    upstream = as_complex(X + Y)
    for gradient, other in zip(ours, (Y, X), strict=True):
        expected = as_pairs(upstream * np.conj(as_complex(other)))
        np.testing.assert_allclose(gradient, expected, atol=1e-5)


def test_transform_and_its_inverse(module):
    spectrum = module.rfft(ops.convert_to_tensor(FRAMES))
    np.testing.assert_allclose(
        ops.convert_to_numpy(spectrum),
        as_pairs(np.fft.rfft(FRAMES)),
        atol=5e-6,
    )
    inverse = ops.convert_to_numpy(module.irfft(spectrum))
    np.testing.assert_allclose(inverse, FRAMES, atol=1e-6)


def test_inverse_ignores_imaginary_ends(module):
    spectrum = as_pairs(np.fft.rfft(FRAMES)).astype("float32")
    spectrum[..., [0, -1], 1] = 7.0
    inverse = module.irfft(ops.convert_to_tensor(spectrum))
    np.testing.assert_allclose(ops.convert_to_numpy(inverse), FRAMES, atol=1e-6)


def test_gradients_of_the_transforms(module, gradients):
    # Of the inverse: the transform of the cotangent, bins between the ends
    # twice, as each stands for two of the full spectrum.
    (gradient,) = gradients(module.irfft, (X[:, :, 0],), FRAMES)
    twice = np.where(np.isin(np.arange(9), (0, 8)), 1, 2)
    expected = as_pairs(np.fft.rfft(FRAMES) * twice / 16)
    np.testing.assert_allclose(gradient, expected, atol=1e-5)
    # And of the transform: the inverse's, bins between the ends half.
    (gradient,) = gradients(module.rfft, (FRAMES,), X[:, :, 0])
    expected = np.fft.irfft(as_complex(X[:, :, 0]) / twice, 16) * 16
    np.testing.assert_allclose(gradient, expected, atol=1e-5)


@pytest.mark.skipif(keras.config.backend() != "torch", reason="memory as it is")
def test_torch_takes_views():
    # Complex numbers lie at even places, which a view's need not.
    memory = ops.convert_to_tensor(np.append(np.float32(0), X.ravel()))
    shifted = ops.reshape(memory[1:], X.shape)
    swapped = ops.transpose(ops.convert_to_tensor(Y), (0, 2, 1, 3, 4))
    result = backend.complex_product(
        shifted, ops.transpose(swapped, (0, 2, 1, 3, 4))
    )
    expected = as_pairs(as_complex(X) * as_complex(Y))
    np.testing.assert_allclose(result, expected, atol=2e-6)
    halved = ops.convert_to_tensor(X)[..., ::2, :]
    expected = as_pairs(as_complex(X)[..., ::2] ** 2)
    result = backend.complex_product(halved, halved)
    np.testing.assert_allclose(result, expected, atol=2e-6)
