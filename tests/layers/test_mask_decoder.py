"""MaskDecoder: what a loop over the bands would compute."""

import numpy as np
import pytest
from keras import ops

from keras_bandit.bands import band_layout
from keras_bandit.layers import MaskDecoder

from ..called import called

# Ragged and overlapping; widths from 1 to 11 make several groups.
BANDS = [(0, 1), (0, 3), (1, 3), (2, 9), (6, 17)]
TOTAL_WIDTH = 1 + 3 + 2 + 7 + 11


def noise(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape).astype("float32")


def with_random_weights(layer, features):
    """Builds the layer; no weight stays 0 or 1, where errors would hide."""
    layer(features)
    layer.set_weights(
        [noise(*w.shape, seed=i) for i, w in enumerate(layer.weights)]
    )
    return layer


def run(layer, features):
    return ops.convert_to_numpy(called(layer, features))


def numpy_mask_decoder(layer, features):
    weights = {
        variable.name: ops.convert_to_numpy(variable).astype("float64")
        for variable in layer.weights
    }
    masks, first_row = [], 0
    for b, band in enumerate(layer.bands):
        x = features[:, b].astype("float64")  # (batch, frames, embed_dim)
        x = x - x.mean(axis=-1, keepdims=True)
        x = x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + 1e-5)
        x = x * weights["gamma"][b] + weights["beta"][b]
        x = np.tanh(x @ weights["hidden_kernel"][b] + weights["hidden_bias"][b])
        size = 2 * layer.num_channels * band.width
        rows = slice(first_row, first_row + 2 * size)
        first_row = rows.stop
        x = x @ weights["output_kernel"][rows].T + weights["output_bias"][rows]
        masks.append(x[..., :size] / (1 + np.exp(-x[..., size:])))
    return np.concatenate(masks, axis=-1)


def assert_equals_loop(layer, features):
    expected = numpy_mask_decoder(layer, features)
    # Sums of a dozen float32 products, each of order one.
    np.testing.assert_allclose(
        run(layer, features), expected, rtol=1e-4, atol=5e-5
    )


@pytest.mark.parametrize("channels", [1, 2])
def test_check_layer(check_layer, channels):
    check_layer(
        lambda **kwargs: MaskDecoder(BANDS, 8, channels, **kwargs),
        noise(2, 5, 4, 6),
        unknown_axes=(0, 2),
        always_float32=True,
    )


@pytest.mark.parametrize("channels", [1, 2])
def test_equals_a_loop_over_bands(channels):
    features = noise(2, 5, 3, 6)
    layer = with_random_weights(MaskDecoder(BANDS, 8, channels), features)
    masks = run(layer, features)
    assert masks.shape == (2, 3, 2 * channels * TOTAL_WIDTH)
    assert_equals_loop(layer, features)


@pytest.mark.parametrize("channels", [1, 2])
def test_gradients(check_gradients, channels):
    features = noise(2, 5, 3, 6)
    layer = with_random_weights(MaskDecoder(BANDS, 8, channels), features)
    check_gradients(layer, numpy_mask_decoder, features)


def test_variables_are_flat():
    layer = MaskDecoder(band_layout("musical", 64), 512)
    layer.build((None, 64, None, 128))
    assert len(layer.weights) == 6
    assert layer.count_params() == 8_638_840  # one stem of BandIt's Music 64


def test_a_band_of_features_makes_its_own_masks_only():
    features = noise(1, 5, 2, 6)
    layer = with_random_weights(MaskDecoder(BANDS, 8), features)
    other = features.copy()
    other[:, 3] = noise(2, 6, seed=9)
    changed = (run(layer, other) != run(layer, features)).any(axis=(0, 1))
    band_of_value = np.repeat(np.arange(5), [2, 6, 4, 14, 22])
    np.testing.assert_array_equal(changed, band_of_value == 3)


def test_masks_are_unbounded():
    features = noise(1, 1, 1, 4)
    layer = MaskDecoder([(0, 2)], 3, kernel_initializer="zeros")
    layer(features)
    layer.output_bias.assign([50.0, -50, 0, 7, 100, 100, 100, 100])
    np.testing.assert_allclose(run(layer, features)[0, 0], [50, -50, 0, 7])


def test_one_band_one_frame_one_item():
    features = noise(1, 1, 1, 4)
    layer = with_random_weights(MaskDecoder([(0, 5)], 3), features)
    assert_equals_loop(layer, features)


def test_constant_features_stay_finite():
    # What silence becomes: no variance to normalize by.
    features = np.ones((1, 5, 2, 6), "float32")
    layer = with_random_weights(MaskDecoder(BANDS, 8), features)
    assert_equals_loop(layer, features)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mlp_dim": 0}, "mlp_dim .* at least 1; got 0"),
        (
            {"mlp_dim": 4, "num_channels": 0},
            "num_channels .* at least 1; got 0",
        ),
    ],
)
def test_sizes_below_one(arguments, message):
    with pytest.raises(ValueError, match=message):
        MaskDecoder(BANDS, **arguments)


def test_another_number_of_bands():
    with pytest.raises(ValueError, match=r"5 bands on axis 1.*\(1, 4, 2, 6\)"):
        MaskDecoder(BANDS, 8)(noise(1, 4, 2, 6))


def test_features_of_another_rank():
    with pytest.raises(ValueError, match="expected ndim=4, found ndim=3"):
        MaskDecoder(BANDS, 8)(noise(5, 2, 6))
