"""The functions of this package in `keras.ops`: any backend, no haste.

The reference that the other modules of this package are tested against.
Signatures and equations are documented in `keras_bandit.backend`.
"""

import numpy as np
from keras import ops


def _input_products(inputs, kernel, bias):
    """Products of the inputs with `kernel`, in each direction's own order.

    Returns `(steps, 2, batch, gates * units)`; the backward half is
    reversed in time, so that one scan serves both directions.
    """
    products = [
        ops.matmul(inputs, kernel[direction]) + bias[direction]
        for direction in range(2)
    ]
    return ops.stack([products[0], ops.flip(products[1], axis=0)], axis=1)


def _join_directions(states):
    """`(steps, 2, batch, units)` to `(steps, batch, 2 * units)` in time."""
    return ops.concatenate(
        [states[:, 0], ops.flip(states[:, 1], axis=0)], axis=-1
    )


def bidirectional_gru(inputs, kernel, recurrent_kernel, bias, recurrent_bias):
    recurrent_bias = ops.expand_dims(recurrent_bias, 1)  # over the batch

    def step(state, products):
        recurrent = ops.matmul(state, recurrent_kernel) + recurrent_bias
        input_reset, input_update, input_new = ops.split(products, 3, -1)
        reset, update, new = ops.split(recurrent, 3, -1)
        reset = ops.sigmoid(input_reset + reset)
        update = ops.sigmoid(input_update + update)
        new = ops.tanh(input_new + reset * new)
        state = new + update * (state - new)
        return state, state

    products = _input_products(inputs, kernel, bias)
    _, states = ops.scan(
        step,
        ops.zeros(_state_shape(inputs, recurrent_kernel), inputs.dtype),
        products,
    )
    return _join_directions(states)


def bidirectional_lstm(inputs, kernel, recurrent_kernel, bias, recurrent_bias):
    def step(carry, products):
        state, cell = carry
        gates = products + ops.matmul(state, recurrent_kernel)
        input_gate, forget, new, output = ops.split(gates, 4, -1)
        cell = ops.sigmoid(forget) * cell
        cell = cell + ops.sigmoid(input_gate) * ops.tanh(new)
        state = ops.sigmoid(output) * ops.tanh(cell)
        # TensorFlow's `scan` wants outputs shaped like the carry.
        return (state, cell), (state, cell)

    products = _input_products(inputs, kernel, bias + recurrent_bias)
    zeros = ops.zeros(_state_shape(inputs, recurrent_kernel), inputs.dtype)
    _, (states, _) = ops.scan(step, (zeros, zeros), products)
    return _join_directions(states)


def lstm(inputs, kernel, recurrent_kernel, bias, recurrent_bias):
    def step(carry, products):
        state, cell = carry
        gates = products + ops.matmul(state, recurrent_kernel)
        input_gate, forget, new, output = ops.split(gates, 4, -1)
        cell = ops.sigmoid(forget) * cell
        cell = cell + ops.sigmoid(input_gate) * ops.tanh(new)
        state = ops.sigmoid(output) * ops.tanh(cell)
        return (state, cell), (state, cell)

    products = ops.matmul(inputs, kernel) + (bias + recurrent_bias)
    shape = (ops.shape(inputs)[1], recurrent_kernel.shape[0])
    zeros = ops.zeros(shape, inputs.dtype)
    _, (states, _) = ops.scan(step, (zeros, zeros), products)
    return states


def _state_shape(inputs, recurrent_kernel):
    return (2, ops.shape(inputs)[1], recurrent_kernel.shape[1])


def split(x, sizes):
    # TensorFlow refuses a list of no cuts.
    if len(sizes) == 1:
        return [x]
    return ops.split(x, np.cumsum(sizes)[:-1].tolist(), axis=0)


def take(x, index, axis):
    return ops.take(x, index, axis=axis)


# Unstacked, not indexed: TensorFlow's gradient of an indexed part is an array
# of zeros as large as both.


def complex_product(x, y):
    x_real, x_imag = ops.unstack(x, 2, axis=-1)
    y_real, y_imag = ops.unstack(y, 2, axis=-1)
    real = x_real * y_real - x_imag * y_imag
    imag = x_real * y_imag + x_imag * y_real
    return ops.stack([real, imag], axis=-1)


def rfft(x):
    return ops.stack(ops.rfft(x), axis=-1)


def irfft(x):
    bins = x.shape[-2]
    return ops.irfft(tuple(ops.unstack(x, 2, axis=-1)), 2 * bins - 2)
