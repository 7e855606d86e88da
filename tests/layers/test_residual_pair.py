"""Residual pairs: over frames, then over bands, nothing mixed up."""

import numpy as np
import pytest
from keras import ops

from keras_bandit.layers import ResidualGRUPair, ResidualLSTMPair

from ..called import called


def noise(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, shape).astype("float32")


def run(layer, inputs):
    return ops.convert_to_numpy(called(layer, inputs))


@pytest.fixture(params=[ResidualGRUPair, ResidualLSTMPair])
def pair_class(request):
    return request.param


@pytest.fixture
def pair(pair_class):
    """Built for an embedding of 6; no weight stays 0 or 1."""
    pair = pair_class(5)
    pair.build((None, 3, None, 6))
    pair.set_weights(
        [noise(*w.shape, seed=i) for i, w in enumerate(pair.weights)]
    )
    return pair


def numpy_block(block, sequences):
    """Applies a block to `(steps, embed_dim)` sequences, all alike.

    The recurrent layer has its own tests; the rest is NumPy.
    """
    gamma, beta, kernel, bias = (
        ops.convert_to_numpy(variable)
        for variable in (
            block.norm.gamma,
            block.norm.beta,
            block.projection.kernel,
            block.projection.bias,
        )
    )
    x = np.stack(sequences, axis=1)  # (steps, sequences, embed_dim)
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.mean(centred**2, axis=-1, keepdims=True)
    normalized = centred / np.sqrt(variance + 1e-5) * gamma + beta
    states = run(block.recurrent, normalized)
    return np.moveaxis(states @ kernel + bias + x, 1, 0)


def numpy_pair(pair, inputs):
    batch, bands, frames, _ = inputs.shape
    x = inputs.copy()
    places = [(i, band) for i in range(batch) for band in range(bands)]
    outputs = numpy_block(pair.over_frames, [x[i, b] for i, b in places])
    for (i, band), output in zip(places, outputs, strict=True):
        x[i, band] = output
    places = [(i, frame) for i in range(batch) for frame in range(frames)]
    outputs = numpy_block(pair.over_bands, [x[i, :, t] for i, t in places])
    for (i, frame), output in zip(places, outputs, strict=True):
        x[i, :, frame] = output
    return x


def test_check_layer(check_layer, pair_class):
    check_layer(
        lambda **kwargs: pair_class(5, **kwargs),
        noise(2, 3, 4, 6),
        unknown_axes=(0, 2),
    )


@pytest.mark.parametrize("shape", [(2, 3, 4, 6), (1, 1, 4, 6), (1, 3, 1, 6)])
def test_equals_the_blocks_one_after_the_other(pair, shape):
    inputs = noise(*shape, seed=1)
    # Values of order ten after two projections in float32.
    np.testing.assert_allclose(
        run(pair, inputs), numpy_pair(pair, inputs), rtol=1e-5, atol=2e-5
    )


def test_is_residual(pair):
    for block in (pair.over_frames, pair.over_bands):
        block.projection.kernel.assign(np.zeros((10, 6), "float32"))
        block.projection.bias.assign(np.zeros(6, "float32"))
    inputs = noise(2, 3, 4, 6)
    np.testing.assert_array_equal(run(pair, inputs), inputs)


def test_items_are_independent(pair):
    inputs = noise(2, 3, 4, 6)
    together = run(pair, inputs)
    np.testing.assert_allclose(
        run(pair, inputs[1:]), together[1:], rtol=1e-5, atol=1e-5
    )


def test_constant_features_stay_finite(pair):
    # What silence becomes: no variance to normalize by.
    assert np.isfinite(run(pair, np.zeros((1, 3, 4, 6), "float32"))).all()


def test_parameters():
    pair = ResidualGRUPair(256)
    pair.build((None, 64, None, 128))
    assert pair.count_params() == 2 * 658_816  # BandIt's blocks
    pair = ResidualLSTMPair(256)
    pair.build((None, 43, None, 128))
    assert pair.count_params() == 2 * 856_448  # BSRNN's


def test_rnn_dim_below_one(pair_class):
    with pytest.raises(ValueError, match=r"units .* at least 1; got 0"):
        pair_class(0)


def test_inputs_of_another_rank(pair_class):
    with pytest.raises(ValueError, match="expected ndim=4, found ndim=3"):
        pair_class(5)(noise(3, 4, 6))
