"""The transformer between the encoders and decoders of HTDemucs.

Rouard, Massa & Défossez 2023, "Hybrid Transformers for Music Source
Separation", arXiv:2211.08553, Sec. 3, as `facebookresearch/demucs` at e976d93
computes it. A token is a place in the last encoder layer's output: a row of bins
and a frame, or a step.
"""

import functools
import math

import keras
import numpy as np
from keras import ops

from keras_bandit.layers.initializers import FanInUniform
from keras_bandit.models.hybrid_demucs.hybrid_demucs_layers import (
    gelu,
    group_norm,
)

MAX_PERIOD = 10000.0
"""Of the slowest sinusoid that says where a token is, over 2 pi."""

LAYER_SCALE = 1e-4
"""Initial scale of what a layer adds."""


def _phases(count, exponents):
    """Places times frequencies `MAX_PERIOD**-exponent`; a row each place."""
    place = ops.cast(ops.arange(count), "float32")[:, None]
    periods = (MAX_PERIOD**exponents).astype("float32")
    return place / ops.convert_to_tensor(periods)


def step_positions(steps, size):
    """Cosines, then sines, of the places of steps: `(steps, size)`."""
    half = size // 2
    phases = _phases(steps, np.arange(half) / (half - 1))
    return ops.concatenate([ops.cos(phases), ops.sin(phases)], axis=-1)


def bin_positions(rows, frames, size):
    """Sinusoids of frames, then of rows: `(rows * frames, size)`."""
    half = size // 2

    def sinusoids(count):
        phases = _phases(count, np.arange(0, half, 2) / half)
        pairs = ops.stack([ops.sin(phases), ops.cos(phases)], axis=-1)
        return ops.reshape(pairs, (count, half))

    shape = (rows, frames, half)
    frame = ops.broadcast_to(sinusoids(frames)[None], shape)
    row = ops.broadcast_to(sinusoids(rows)[:, None], shape)
    both = ops.concatenate([frame, row], axis=-1)
    return ops.reshape(both, (rows * frames, size))


def dense(inputs, units, name, dtype, bias=None):
    """A layer with PyTorch's initial weights, biases too if `None`; built."""
    layer = keras.layers.Dense(
        units,
        kernel_initializer=FanInUniform(inputs),
        bias_initializer=bias or FanInUniform(inputs),
        dtype=dtype,
        name=name,
    )
    layer.build((None, None, inputs))
    return layer


def layer_norm(size, name, dtype):
    """PyTorch's; built."""
    layer = keras.layers.LayerNormalization(
        epsilon=1e-5, dtype=dtype, name=name
    )
    layer.build((None, None, size))
    return layer


class Attention(keras.layers.Layer):
    """Multi-head attention.

    Query, key and value are projected by one matrix, in this order, as in
    PyTorch's files.

    Args:
        heads: int.
        dropout: float. Share of the attention's weights that training drops.

    Call arguments:
        inputs: `(batch, tokens, size)`, of which queries are made.
        context: `(batch, others, size)`, of which keys and values are made.

    Returns:
        the inputs' shape.
    """

    def __init__(self, heads, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.heads = heads
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)

    def build(self, inputs_shape, context_shape=None):
        size = inputs_shape[-1]
        self.in_kernel = self.add_weight(
            (size, 3 * size), "glorot_uniform", name="in_kernel"
        )
        self.in_bias = self.add_weight((3 * size,), "zeros", name="in_bias")
        self.out = dense(size, size, "out", self.dtype_policy, bias="zeros")

    def _heads(self, x, first, count):
        """Projections of `x`, `(batch, tokens, heads, size of a head)` each."""
        batch, tokens, size = ops.shape(x)
        part = slice(first * size, (first + count) * size)
        x = ops.matmul(x, self.in_kernel[:, part]) + self.in_bias[part]
        x = ops.reshape(
            x, (batch, tokens, count, self.heads, size // self.heads)
        )
        return [x[:, :, i] for i in range(count)]

    def call(self, inputs, context, training=None):
        (query,) = self._heads(inputs, 0, 1)
        key, value = self._heads(context, 1, 2)
        if training and self.dropout.rate:
            dots = ops.einsum("bqhd,bkhd->bhqk", query, key)
            dots = ops.cast(dots, "float32") / math.sqrt(query.shape[-1])
            weights = ops.cast(ops.softmax(dots), self.compute_dtype)
            weights = self.dropout(weights, training=True)
            x = ops.einsum("bhqk,bkhd->bqhd", weights, value)
        else:
            x = ops.dot_product_attention(query, key, value)
        return self.out(ops.reshape(x, ops.shape(inputs)))


class TransformerLayer(keras.layers.Layer):
    """Attention, then a dense part, each scaled and added; then a norm.

    Tokens are normalized before both parts. The last norm is over all tokens
    of an item together.

    Args:
        hidden: int. Units of the dense part.
        heads: int.
        dropout: float.
        cross: bool. Whether tokens attend to those of another branch; else to
            one another.

    Call arguments:
        inputs: `(batch, tokens, size)`.
        other: `(batch, others, size)`, the other branch's, or `None`.

    Returns:
        the inputs' shape.
    """

    def __init__(self, hidden, heads, dropout, cross, **kwargs):
        super().__init__(**kwargs)
        self.hidden = hidden
        self.cross = cross
        dtype = self.dtype_policy
        self.attention = Attention(
            heads, dropout, dtype=dtype, name="attention"
        )
        self.dropout = keras.layers.Dropout(dropout, dtype=dtype)

    def build(self, inputs_shape, other_shape=None):
        size, dtype = inputs_shape[-1], self.dtype_policy
        self.norm1 = layer_norm(size, "norm1", dtype)
        self.norm2 = layer_norm(size, "norm2", dtype)
        self.norm3 = layer_norm(size, "norm3", dtype) if self.cross else None
        self.norm_out = group_norm(size, 1, "norm_out", dtype)
        self.attention.build(inputs_shape)
        self.linear1 = dense(size, self.hidden, "linear1", dtype)
        self.linear2 = dense(self.hidden, size, "linear2", dtype)
        scale = keras.initializers.Constant(LAYER_SCALE)
        self.scale1 = self.add_weight((size,), scale, name="scale1")
        self.scale2 = self.add_weight((size,), scale, name="scale2")

    def call(self, inputs, other=None, training=None):
        drop = functools.partial(self.dropout, training=training)
        x, dense_norm = self.norm1(inputs), self.norm2
        context = x
        if self.cross:
            context, dense_norm = self.norm2(other), self.norm3
        x = self.attention(x, context, training=training)
        x = inputs + self.scale1 * drop(x)
        hidden = drop(gelu(self.linear1(dense_norm(x))))
        x = x + self.scale2 * drop(self.linear2(hidden))
        return self.norm_out(x)


class CrossTransformer(keras.layers.Layer):
    """Layers of both branches, which attend to themselves and to each other.

    Args:
        bottom_channels: int. Size of tokens, which dense layers before and
            after come to; 0: the inputs' channels, without such layers.
        num_layers: int. Of each branch, in turn of either kind.
        heads: int.
        expansion: float. Units of dense parts over the size of tokens.
        dropout: float.
        cross_first: bool. Whether the first layer attends to the other branch.

    Call arguments:
        spectrum: `(batch, rows, frames, channels)`.
        steps: `(batch, steps, channels)`.

    Returns:
        two tensors of these shapes.

    Raises:
        ValueError: if the size is no multiple of 4 and of `heads`.
    """

    def __init__(
        self,
        bottom_channels,
        num_layers,
        heads,
        expansion,
        dropout,
        cross_first,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.bottom_channels = bottom_channels
        self.num_layers = num_layers
        self.heads = heads
        self.expansion = expansion
        self.dropout = dropout
        self.cross_first = cross_first

    def build(self, spectrum_shape, steps_shape):
        channels, dtype = spectrum_shape[-1], self.dtype_policy
        size = self.bottom_channels or channels
        if size % 4 or size % self.heads:
            raise ValueError(
                f"tokens must have a multiple of 4 and of {self.heads} heads "
                f"as channels; got {size}"
            )
        # One of each for the spectrum, one for the steps.
        self.widen, self.narrow, self.norms = [], [], []
        self.spectrum_layers, self.steps_layers = [], []
        for branch, layers in (
            ("spectrum", self.spectrum_layers),
            ("steps", self.steps_layers),
        ):
            if self.bottom_channels:
                ends = (channels, size, f"widen_{branch}", dtype)
                self.widen.append(dense(*ends))
                ends = (size, channels, f"narrow_{branch}", dtype)
                self.narrow.append(dense(*ends))
            self.norms.append(layer_norm(size, f"norm_{branch}", dtype))
            for i in range(self.num_layers):
                layer = TransformerLayer(
                    round(self.expansion * size),
                    self.heads,
                    self.dropout,
                    cross=(i % 2 == 1) != self.cross_first,
                    dtype=dtype,
                    name=f"{branch}_{i}",
                )
                layer.build((None, None, size))
                layers.append(layer)

    def call(self, spectrum, steps, training=None):
        batch, rows, frames, channels = ops.shape(spectrum)
        x, y = ops.reshape(spectrum, (batch, rows * frames, channels)), steps
        if self.widen:
            x, y = self.widen[0](x), self.widen[1](y)
        size = x.shape[-1]
        x_place = bin_positions(rows, frames, size)
        y_place = step_positions(ops.shape(y)[1], size)
        x = self.norms[0](x) + ops.cast(x_place, x.dtype)
        y = self.norms[1](y) + ops.cast(y_place, y.dtype)
        layers = zip(self.spectrum_layers, self.steps_layers, strict=True)
        for x_layer, y_layer in layers:
            # At once: either sees the other as it was.
            others = (y, x) if x_layer.cross else (None, None)
            x = x_layer(x, others[0], training=training)
            y = y_layer(y, others[1], training=training)
        if self.narrow:
            x, y = self.narrow[0](x), self.narrow[1](y)
        return ops.reshape(x, (batch, rows, frames, channels)), y
