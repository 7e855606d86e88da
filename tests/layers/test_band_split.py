"""BandSplit: what a loop over the bands would compute."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_bandit.bands import band_layout
from keras_bandit.layers import BandSplit

from ..called import called

few = settings(max_examples=4, deadline=None, derandomize=True)
# Ragged and overlapping; widths from 1 to 11 make several groups.
BANDS = [(0, 1), (0, 3), (1, 3), (2, 9), (6, 17)]


@st.composite
def covering_bands(draw, num_bins=12):
    """Sorted bands that cover all bins and may overlap."""
    inner = draw(st.sets(st.integers(1, num_bins - 1), max_size=5))
    edges = [0, *sorted(inner), num_bins]
    extra = draw(st.lists(st.integers(0, 4), min_size=6, max_size=6))
    return [
        (start, min(stop + more, num_bins))
        for start, stop, more in zip(edges, edges[1:], extra, strict=False)
    ]


def noise(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape).astype("float32")


def with_random_weights(layer, spectrogram):
    """Builds the layer; no weight stays 0 or 1, where errors would hide."""
    layer(spectrogram)
    layer.set_weights(
        [noise(*w.shape, seed=i) for i, w in enumerate(layer.weights)]
    )
    return layer


def run(layer, spectrogram):
    return ops.convert_to_numpy(called(layer, spectrogram))


def numpy_band_split(layer, spectrogram):
    gamma, beta, kernel, bias = (
        ops.convert_to_numpy(v).astype("float64")
        for v in (layer.gamma, layer.beta, layer.kernel, layer.bias)
    )
    batch, _, frames, _, _ = spectrogram.shape
    embeddings, first_row = [], 0
    for band, band_bias in zip(layer.bands, bias, strict=True):
        x = spectrogram[:, :, :, band.start : band.stop].astype("float64")
        # Channel, then all real bins, then all imaginary bins.
        x = x.transpose(0, 2, 1, 4, 3).reshape(batch, frames, -1)
        rows = slice(first_row, first_row + x.shape[-1])
        first_row = rows.stop
        x = x - x.mean(axis=-1, keepdims=True)
        x = x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + 1e-5)
        x = x * gamma[rows] + beta[rows]
        embeddings.append(x @ kernel[rows] + band_bias)
    return np.stack(embeddings, axis=1)


def assert_equals_loop(layer, spectrogram):
    expected = numpy_band_split(layer, spectrogram)
    # Sums of up to 50 float32 products, each of order one.
    np.testing.assert_allclose(
        run(layer, spectrogram), expected, rtol=1e-4, atol=5e-5
    )


@pytest.mark.parametrize("channels", [1, 2])
def test_check_layer(check_layer, channels):
    check_layer(
        lambda **kwargs: BandSplit(BANDS, 6, **kwargs),
        noise(2, channels, 5, 17, 2),
        unknown_axes=(0, 2),
    )


@pytest.mark.parametrize("channels", [1, 2])
def test_equals_a_loop_over_bands(channels):
    spectrogram = noise(2, channels, 3, 17, 2)
    layer = with_random_weights(BandSplit(BANDS, 6), spectrogram)
    assert run(layer, spectrogram).shape == (2, 5, 3, 6)
    assert_equals_loop(layer, spectrogram)


@few
@given(covering_bands())
def test_equals_a_loop_over_any_bands(bands):
    spectrogram = noise(1, 2, 2, 12, 2)
    layer = with_random_weights(BandSplit(bands, 3), spectrogram)
    assert_equals_loop(layer, spectrogram)


@pytest.mark.parametrize("channels", [1, 2])
def test_gradients(check_gradients, channels):
    spectrogram = noise(2, channels, 3, 17, 2)
    layer = with_random_weights(BandSplit(BANDS, 6), spectrogram)
    check_gradients(layer, numpy_band_split, spectrogram)


def test_variables_are_flat():
    layer = BandSplit(band_layout("musical", 64), 128)
    layer.build((None, 1, None, 1025, 2))
    assert len(layer.weights) == 4
    assert layer.count_params() == 565_112  # BandIt's Music 64


def test_a_band_sees_its_own_bins_only():
    spectrogram = noise(1, 1, 2, 17, 2)
    layer = with_random_weights(BandSplit(BANDS, 4), spectrogram)
    louder = spectrogram.copy()
    louder[..., 10, :] += 1
    changed = run(layer, louder) != run(layer, spectrogram)
    holds_bin = [start <= 10 < stop for start, stop in BANDS]
    assert changed.any(axis=(0, 2, 3)).tolist() == holds_bin


def test_loudness_is_normalized_away():
    spectrogram = noise(1, 1, 2, 17, 2) + 0.1
    layer = with_random_weights(BandSplit(BANDS, 4), spectrogram)
    # The ε of 1e-5 is nothing beside a variance of order 1e4.
    np.testing.assert_allclose(
        run(layer, 100 * spectrogram),
        run(layer, 1000 * spectrogram),
        rtol=1e-3,
        atol=1e-3,
    )


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_bins_beyond_float16_under_mixed_precision(dtype):
    loud = 1e6 * noise(1, 1, 2, 17, 2)  # float16 ends at 65504
    layer = BandSplit(BANDS, 4, dtype=dtype)
    assert np.isfinite(run(layer, loud).astype("float32")).all()


def test_silence_gives_the_biases():
    silence = np.zeros((1, 1, 2, 17, 2), "float32")
    layer = BandSplit(BANDS, 4)
    bias = np.broadcast_to(
        ops.convert_to_numpy(layer(silence))[:, :, :1], (1, 5, 2, 4)
    )
    np.testing.assert_array_equal(run(layer, silence), bias)
    np.testing.assert_allclose(
        bias[0, :, 0], ops.convert_to_numpy(layer.bias), atol=1e-7
    )


def test_one_band_one_frame_one_item():
    spectrogram = noise(1, 1, 1, 5, 2)
    layer = with_random_weights(BandSplit([(0, 5)], 3), spectrogram)
    assert_equals_loop(layer, spectrogram)


def test_last_bin_may_be_left_out():
    spectrogram = noise(1, 1, 2, 9, 2)
    layer = with_random_weights(BandSplit([(0, 4), (4, 8)], 3), spectrogram)
    assert_equals_loop(layer, spectrogram)


def test_embed_dim_below_one():
    with pytest.raises(ValueError, match=r"embed_dim .* at least 1; got 0"):
        BandSplit(BANDS, 0)


@pytest.mark.parametrize(
    ("bands", "message"),
    [
        ([(0, 5), (5, 19)], r"num_bins=17 at most; got \[5, 19\)"),
        ([(0, 5), (7, 17)], "uncovered: 5-6"),
        ([(5, 17), (0, 5)], "sorted by start"),
    ],
)
def test_bands_that_do_not_fit_the_spectrogram(bands, message):
    with pytest.raises(ValueError, match=message):
        BandSplit(bands, 4)(noise(1, 1, 2, 17, 2))


def test_empty_band():
    with pytest.raises(ValueError, match="start=3, stop=3"):
        BandSplit([(0, 3), (3, 3)], 4)


def test_another_spectrogram_than_built_for():
    layer = BandSplit([(0, 9)], 4)
    with pytest.raises(ValueError, match="expected ndim=5, found ndim=4"):
        layer(noise(1, 2, 9, 2))
    layer(noise(1, 1, 2, 9, 2))
    with pytest.raises(ValueError, match=r"expected axis 3.*value 9"):
        layer(noise(1, 1, 2, 17, 2))
    with pytest.raises(ValueError, match=r"expected axis 1.*value 1"):
        layer(noise(1, 2, 2, 9, 2))
