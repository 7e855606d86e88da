"""Bidirectional recurrences on TensorFlow: one `while_loop` for both.

The inputs' products are made step by step: made at once for all steps they
leave the CPU's caches (one GRU over 517 steps, batch 64, 128 features, 256
units, two cores: 0.57 s instead of 0.46 s). One loop for both directions,
one for each, and fused or separate gates take the same time; a batched
product of both directions takes half as long again. GPUs run the same loop.
"""

import functools

import tensorflow as tf

from keras_bandit.backend.generic import CARRY_SIZE, gru_step, lstm_step


def _loop(step, inputs, *weights):
    """Both directions in one `while_loop`; `step` joins the products."""
    steps, batch = tf.unstack(tf.shape(inputs)[:2])
    state_shape = (inputs.shape[1], weights[1].shape[1])
    directions = list(zip(*map(tf.unstack, weights), strict=True))

    # Each input is read twice, once by each direction.
    inputs = tf.TensorArray(
        inputs.dtype,
        steps,
        element_shape=inputs.shape[1:],
        clear_after_read=False,
    ).unstack(inputs)

    def body(time, carries, outputs):
        new_carries, new_outputs = [], []
        for carry, output, now, weights in zip(
            carries, outputs, (time, steps - 1 - time), directions, strict=True
        ):
            kernel, recurrent_kernel, bias, recurrent_bias = weights
            carry = step(
                tf.matmul(inputs.read(now), kernel) + bias,
                tf.matmul(carry[0], recurrent_kernel) + recurrent_bias,
                carry,
            )
            new_carries.append(carry)
            new_outputs.append(output.write(now, carry[0]))
        return time + 1, tuple(new_carries), tuple(new_outputs)

    zeros = tf.zeros((batch, tf.shape(weights[1])[1]), inputs.dtype)
    zeros = tf.ensure_shape(zeros, state_shape)
    outputs = tuple(
        tf.TensorArray(inputs.dtype, steps, element_shape=state_shape)
        for _ in range(2)
    )
    _, _, outputs = tf.while_loop(
        lambda time, *_: time < steps,
        body,
        (0, ((zeros,) * CARRY_SIZE[step],) * 2, outputs),
        maximum_iterations=steps,
    )
    return tf.concat([output.stack() for output in outputs], axis=-1)


# For eager calls alone: relaxed to unknown shapes, so that it is traced
# a few times at most; a graph would lose its static shapes.
_loop_for_eager = tf.function(_loop, autograph=False, reduce_retracing=True)


def _bidirectional(step, inputs, *weights):
    if tf.executing_eagerly():
        return _loop_for_eager(step, inputs, *weights)
    outputs = _loop(step, inputs, *weights)
    return tf.ensure_shape(outputs, (*inputs.shape[:2], outputs.shape[2]))


bidirectional_gru = functools.partial(_bidirectional, gru_step)
bidirectional_lstm = functools.partial(_bidirectional, lstm_step)
