"""The functions of this package in `keras.ops`: any backend, no haste.

The reference that the other modules of this package are tested against; its
docstrings are in `keras_bandit.backend`.
"""

import functools

import numpy as np
from keras import ops


def gru_step(input_products, recurrent_products, carry, sigmoid=ops.sigmoid):
    """The carry `(state,)` one step later, of products with their biases."""
    (state,) = carry
    input_reset, input_update, input_new = ops.split(input_products, 3, -1)
    reset, update, new = ops.split(recurrent_products, 3, -1)
    reset = sigmoid(input_reset + reset)
    update = sigmoid(input_update + update)
    new = ops.tanh(input_new + reset * new)
    return (new + update * (state - new),)


def lstm_step(input_products, recurrent_products, carry, sigmoid=ops.sigmoid):
    """The carry `(state, cell)` one step later, as `gru_step`."""
    _, cell = carry
    gates = ops.split(input_products + recurrent_products, 4, -1)
    input_gate, forget, new, output = gates
    cell = sigmoid(forget) * cell + sigmoid(input_gate) * ops.tanh(new)
    return sigmoid(output) * ops.tanh(cell), cell


CARRY_SIZE = {gru_step: 1, lstm_step: 2}


def few_items(inputs, kernel):
    """Whether a recurrence spends its time on reading weights.

    Then the inputs' products are better made at once for all steps than step by
    step, where the kernel is read each time. `inputs` are `(steps, batch,
    features)`; an unknown batch is not few.
    """
    batch = inputs.shape[1]
    return batch is not None and 32 * batch <= kernel.shape[1]


def _bidirectional(step, inputs, kernel, recurrent_kernel, *biases):
    bias, recurrent_bias = (ops.expand_dims(x, 1) for x in biases)
    products = [ops.matmul(inputs, kernel[i]) + bias[i] for i in range(2)]
    # The backward half is reversed in time, so that one scan serves both.
    products = ops.stack([products[0], ops.flip(products[1], axis=0)], axis=1)

    def advance(carry, products):
        recurrent = ops.matmul(carry[0], recurrent_kernel) + recurrent_bias
        carry = step(products, recurrent, carry)
        # TensorFlow's `scan` wants outputs shaped like the carry.
        return carry, carry

    shape = (2, ops.shape(inputs)[1], recurrent_kernel.shape[1])
    zeros = (ops.zeros(shape, inputs.dtype),) * CARRY_SIZE[step]
    _, (states, *_) = ops.scan(advance, zeros, products)
    return ops.concatenate(
        [states[:, 0], ops.flip(states[:, 1], axis=0)], axis=-1
    )


bidirectional_gru = functools.partial(_bidirectional, gru_step)
bidirectional_lstm = functools.partial(_bidirectional, lstm_step)


def lstm(inputs, kernel, recurrent_kernel, bias, recurrent_bias):
    def advance(carry, products):
        recurrent = ops.matmul(carry[0], recurrent_kernel) + recurrent_bias
        carry = lstm_step(products, recurrent, carry)
        return carry, carry

    products = ops.matmul(inputs, kernel) + bias
    shape = (ops.shape(inputs)[1], recurrent_kernel.shape[0])
    zeros = (ops.zeros(shape, inputs.dtype),) * 2
    return ops.scan(advance, zeros, products)[1][0]


def split(x, sizes):
    # TensorFlow refuses a list of no cuts.
    if len(sizes) == 1:
        return [x]
    return ops.split(x, np.cumsum(sizes)[:-1].tolist(), axis=0)


def lay_out_kernel(variable):
    pass  # compilers choose layouts themselves


def convolution(layer, inputs, call):
    return call(inputs)


def group_norm(layer, inputs, call):
    return call(inputs)


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
