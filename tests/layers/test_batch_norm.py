"""Batch normalization with PyTorch's numbers, and the stack of LSTMs."""

import numpy as np
import pytest
from keras import ops

from keras_bandit.layers import LSTM, BatchNorm, BidirectionalLSTM, LSTMStack


def noise(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return (2 * rng.normal(size=shape) + 1).astype("float32")


def run(layer, inputs, **kwargs):
    return ops.convert_to_numpy(layer(inputs, **kwargs))


@pytest.mark.parametrize("shape", [(3, 4), (2, 5, 4), (2, 1, 3, 4)])
def test_training_and_inference(shape):
    layer, inputs = BatchNorm(), noise(*shape)
    rows = inputs.reshape(-1, 4).astype("float64")
    outputs = run(layer, inputs, training=True)
    expected = (rows - rows.mean(0)) / np.sqrt(rows.var(0) + 1e-5)
    np.testing.assert_allclose(outputs.reshape(-1, 4), expected, atol=1e-5)
    # A tenth of the batch's mean and of its unbiased variance.
    moving = (0.1 * rows.mean(0), 0.9 + 0.1 * rows.var(0, ddof=1))
    for variable, value in zip(
        (layer.moving_mean, layer.moving_variance), moving, strict=True
    ):
        found = ops.convert_to_numpy(variable)
        np.testing.assert_allclose(found, value, rtol=1e-5)
    outputs = run(layer, inputs)
    expected = (rows - moving[0]) / np.sqrt(moving[1] + 1e-5)
    np.testing.assert_allclose(outputs.reshape(-1, 4), expected, atol=1e-5)


def test_frozen_it_keeps_its_statistics():
    layer, inputs = BatchNorm(trainable=False), noise(3, 4)
    outputs = run(layer, inputs, training=True)
    np.testing.assert_allclose(outputs, inputs / np.sqrt(1 + 1e-5), rtol=1e-5)
    assert not ops.convert_to_numpy(layer.moving_mean).any()


@pytest.mark.parametrize("bidirectional", [True, False])
def test_stack_is_its_layers(bidirectional):
    stack = LSTMStack(6, 2, bidirectional, dropout=0.5)
    inputs = noise(3, 5, 4)
    outputs = run(stack, inputs)
    x = inputs.transpose(1, 0, 2)
    for layer in stack.recurrent:
        kind = BidirectionalLSTM if bidirectional else LSTM
        assert type(layer) is kind
        x = run(layer, x)
    np.testing.assert_allclose(outputs, x.transpose(1, 0, 2), atol=1e-6)
    folded = run(stack, inputs[:, None])
    np.testing.assert_allclose(folded[:, 0], outputs, atol=1e-6)
    assert not np.allclose(run(stack, inputs, training=True), outputs)


def test_check_stack(check_layer):
    check_layer(
        lambda **kwargs: LSTMStack(4, 2, **kwargs),
        noise(3, 5, 4),
        unknown_axes=(0, 1),
    )


def test_one_direction_knows_the_past():
    layer, inputs = LSTM(3), noise(5, 2, 4)
    changed = inputs.copy()
    changed[2] += 1
    moved = (run(layer, inputs) != run(layer, changed)).any(axis=(1, 2))
    assert moved.tolist() == [False] * 2 + [True] * 3
    # As the forward half of both directions.
    both = BidirectionalLSTM(3)
    both.build((None, None, 4))
    both.set_weights([np.stack([w, 0 * w]) for w in layer.get_weights()])
    np.testing.assert_allclose(
        run(layer, inputs), run(both, inputs)[..., :3], atol=1e-6
    )


def test_odd_output_of_two_directions():
    with pytest.raises(ValueError, match="must be even"):
        LSTMStack(5)
