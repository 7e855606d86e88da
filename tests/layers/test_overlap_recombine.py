"""OverlapRecombine: the weighted sum of masks, and ones that stay ones."""

import numpy as np
import pytest
from keras import ops

from keras_bandit.bands import band_layout
from keras_bandit.layers import ApplyMask, OverlapRecombine

from ..called import called

BANDS = [(0, 1), (0, 3), (1, 3), (2, 9), (6, 17)]


def noise(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape).astype("float32")


def run(layer, masks):
    return ops.convert_to_numpy(called(layer, masks))


def random_masks(channels):
    width = sum(stop - start for start, stop in BANDS)
    return noise(2, 3, 2 * channels * width)


def ones(bands, channels=1, frames=3):
    """Masks of real part 1 and imaginary part 0 for every band."""
    values = 2 * channels * sum(band.width for band in bands)
    masks = np.zeros((1, frames, values), "float32")
    masks[..., ::2] = 1
    return masks


@pytest.mark.parametrize("channels", [1, 2])
def test_check_layer(check_layer, channels):
    check_layer(
        lambda **kwargs: OverlapRecombine(BANDS, 17, channels, **kwargs),
        random_masks(channels),
        unknown_axes=(0, 1),
        always_float32=True,
    )


def numpy_recombine(layer, masks):
    """The sum of eq. 12, band after band."""
    batch, frames, _ = masks.shape
    channels = layer.num_channels
    result, first = np.zeros((batch, channels, frames, 17, 2)), 0
    for start, stop, weights in layer.bands:
        values = slice(first, first + 2 * channels * (stop - start))
        first = values.stop
        mask = masks[..., values].reshape(batch, frames, channels, -1, 2)
        mask = mask.transpose(0, 2, 1, 3, 4)
        result[:, :, :, start:stop] += weights[:, None] * mask
    return result


@pytest.fixture(params=[1, 2, 3])
def weighted_layer(request):
    """Layer of 1 to 3 channels whose bands weigh the bins unequally."""
    rng = np.random.default_rng(0)
    bands = [(s, e, rng.uniform(0.1, 1, e - s)) for s, e in BANDS]
    return OverlapRecombine(bands, 17, request.param)


def test_equals_a_loop_over_bands(weighted_layer):
    masks = random_masks(weighted_layer.num_channels)
    expected = numpy_recombine(weighted_layer, masks)
    # Three products of order one in float32.
    np.testing.assert_allclose(run(weighted_layer, masks), expected, atol=2e-6)


def test_gradients(weighted_layer, check_gradients):
    masks = random_masks(weighted_layer.num_channels)
    check_gradients(weighted_layer, numpy_recombine, masks)


@pytest.mark.parametrize(
    ("name", "num_bands"),
    [("vocals_v7", None), ("musical", 64), ("tribark", 48), ("microtonal", 58)],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_masks_of_ones_return_the_mixture(name, num_bands, channels):
    bands = band_layout(name, num_bands)
    layer = OverlapRecombine(bands, 1025, channels)
    mask = layer(ones(bands, channels))
    mixture = noise(1, channels, 3, 1025, 2)
    estimate = ops.convert_to_numpy(ApplyMask()(mixture, mask))
    # Up to eleven float32 weights add up to one within a few 1e-7.
    np.testing.assert_allclose(estimate, mixture, rtol=0, atol=5e-6)


@pytest.mark.parametrize("name", ["mel", "erb", "bark"])
def test_uncovered_nyquist_bin_becomes_silent(name):
    bands = band_layout(name, 48)
    mask = run(OverlapRecombine(bands, 1025), ones(bands))
    assert not mask[..., -1, :].any()
    np.testing.assert_allclose(mask[..., :-1, 0], 1, atol=2e-6)
    assert not mask[..., 1].any()


def test_one_band_one_frame_one_item():
    mask = noise(1, 1, 1, 5, 2)
    layer = OverlapRecombine([(0, 5)], 5)
    np.testing.assert_array_equal(run(layer, mask.reshape(1, 1, 10)), mask)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([(0, 5), (5, 19)], 17), r"num_bins=17 at most; got \[5, 19\)"),
        (([(0, 5), (7, 17)], 17), "uncovered: 5-6"),
        (([(0, 5), (5, 5)], 5), "start=5, stop=5"),
        (([(0, 5)], 5, 0), "num_channels .* at least 1; got 0"),
    ],
)
def test_bands_and_sizes_that_do_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        OverlapRecombine(*arguments)


def test_masks_of_another_size():
    with pytest.raises(ValueError, match=r"expected axis 2.*value 10"):
        OverlapRecombine([(0, 5)], 5)(noise(1, 3, 12))
