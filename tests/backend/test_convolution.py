"""Convolutions and normalizations of each backend: those of Keras."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_bandit.backend import convolution, group_norm, lay_out_kernel

SETTINGS = [
    {"kernel_size": 8, "strides": 4},
    {"kernel_size": 3, "padding": "same", "dilation_rate": 2},
    {"kernel_size": 3, "padding": "same"},
    {"kernel_size": 4, "padding": "same"},
    {"kernel_size": 1},
    {"kernel_size": 2, "strides": 3},
]


def assert_equal(ours, theirs, atol=1e-5):
    ours, theirs = map(ops.convert_to_numpy, (ours, theirs))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("settings", SETTINGS)
def test_convolution(settings, axes, transpose):
    if transpose:  # TensorFlow has none with gaps on a CPU
        settings = {k: v for k, v in settings.items() if k != "dilation_rate"}
    if axes == 2:
        # One axis alone, as in Demucs's frequency branch.
        other = {"kernel_size": 1, "strides": 1, "dilation_rate": 1}
        settings = {
            key: value if key == "padding" else (value, other[key])
            for key, value in settings.items()
        }
    keras.utils.set_random_seed(0)
    kind = f"Conv{axes}D" + "Transpose" * transpose
    layer = getattr(keras.layers, kind)(
        5, bias_initializer="normal", **settings
    )
    x = keras.random.normal((2, *[19] * axes, 4))
    before, values = layer(x), ops.convert_to_numpy(layer.kernel)
    lay_out_kernel(layer.kernel)
    assert_equal(layer.kernel, values, 0)
    assert_equal(convolution(layer, x, layer.call), before)
    layer.kernel.assign(2 * values)
    assert_equal(layer.kernel, 2 * values, 0)
    if keras.config.backend() == "torch":
        # As it is read: nothing is copied at a call.
        value = layer.kernel.value
        order = (-1, *range(axes), -2)
        assert value.permute(order).is_contiguous()


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("shape", [(2, 19, 8), (2, 5, 7, 8)])
def test_group_norm(shape, groups):
    keras.utils.set_random_seed(0)
    layer = keras.layers.GroupNormalization(
        groups,
        epsilon=1e-5,
        beta_initializer="normal",
        gamma_initializer="normal",
    )
    x = 3 + keras.random.normal(shape)
    expected = layer(x)
    assert_equal(group_norm(layer, x, layer.call), expected)
