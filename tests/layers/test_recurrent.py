"""Bidirectional layers: Keras's own cells with PyTorch's parametrization."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_bandit.layers import BidirectionalGRU, BidirectionalLSTM

from ..called import called

UNITS = 5


def noise(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, shape).astype("float32")


def run(layer, inputs):
    return ops.convert_to_numpy(called(layer, inputs))


def swap_gates(array):
    """(reset, update, new) to Keras's (update, reset, new)."""
    reset, update, new = np.split(array, 3, axis=-1)
    return np.concatenate([update, reset, new], axis=-1)


def keras_gru_weights(kernel, recurrent_kernel, bias, recurrent_bias):
    """One direction's weights in the layout of `keras.layers.GRU`."""
    return [
        swap_gates(kernel),
        swap_gates(recurrent_kernel),
        swap_gates(np.stack([bias, recurrent_bias])),
    ]


def keras_lstm_weights(kernel, recurrent_kernel, bias, recurrent_bias):
    return [kernel, recurrent_kernel, bias + recurrent_bias]


@pytest.fixture(params=[BidirectionalGRU, BidirectionalLSTM])
def layer_class(request):
    return request.param


@pytest.fixture
def layer(layer_class):
    """Built for 4 features; the weights are larger than initial ones."""
    layer = layer_class(UNITS)
    layer.build((None, None, 4))
    layer.set_weights(
        [noise(*w.shape, seed=i) for i, w in enumerate(layer.weights)]
    )
    return layer


def test_check_layer(check_layer, layer_class):
    check_layer(
        lambda **kwargs: layer_class(UNITS, **kwargs),
        noise(7, 3, 4),
        unknown_axes=(0, 1),
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "convert"),
    [
        (BidirectionalGRU, keras.layers.GRU, keras_gru_weights),
        (BidirectionalLSTM, keras.layers.LSTM, keras_lstm_weights),
    ],
)
def test_equals_keras(ours, theirs, convert):
    inputs = noise(6, 3, 4)
    layer = ours(UNITS)
    layer.build((None, None, 4))
    weights = [noise(*w.shape, seed=i) for i, w in enumerate(layer.weights)]
    layer.set_weights(weights)
    both = keras.layers.Bidirectional(theirs(UNITS, return_sequences=True))
    both.build((None, None, 4))
    both.set_weights(
        [*convert(*(w[0] for w in weights)), *convert(*(w[1] for w in weights))]
    )
    expected = run(both, inputs.transpose(1, 0, 2)).transpose(1, 0, 2)
    # States in (-1, 1) after six float32 steps.
    np.testing.assert_allclose(run(layer, inputs), expected, atol=2e-6)


def test_forward_half_knows_the_past_and_backward_half_the_future(layer):
    inputs = noise(6, 2, 4)
    changed = inputs.copy()
    changed[3] += 1
    moved = (run(layer, inputs) != run(layer, changed)).any(axis=1)
    forward, backward = moved[:, :UNITS], moved[:, UNITS:]
    assert forward.all(axis=1).tolist() == [False] * 3 + [True] * 3
    assert backward.all(axis=1).tolist() == [True] * 4 + [False] * 2


def test_sequences_are_independent(layer):
    inputs = noise(6, 3, 4)
    together = run(layer, inputs)
    np.testing.assert_allclose(
        run(layer, inputs[:, 1:2]), together[:, 1:2], atol=1e-6
    )


def test_one_step_one_sequence(layer):
    assert run(layer, noise(1, 1, 4)).shape == (1, 1, 2 * UNITS)


def test_units_below_one(layer_class):
    with pytest.raises(ValueError, match=r"units .* at least 1; got 0"):
        layer_class(0)


def test_inputs_of_another_rank(layer_class):
    with pytest.raises(ValueError, match="expected ndim=3, found ndim=4"):
        layer_class(UNITS)(noise(2, 3, 4, 5))
