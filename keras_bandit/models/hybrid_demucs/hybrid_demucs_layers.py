"""Layers of Hybrid Demucs: residual branches, encoder and decoder layers.

Défossez 2021, "Hybrid Spectrogram and Waveform Source Separation",
arXiv:2111.03600, as `facebookresearch/demucs` at e976d93 computes it. Channels
are the last axis: `(batch, steps, channels)` in the time branch, `(batch, bins,
frames, channels)` in the frequency branch.
"""

import keras
import numpy as np
from keras import ops

from keras_bandit.layers import LSTMStack
from keras_bandit.layers.initializers import FanInUniform

WINDOW = 200
"""Steps that an LSTM sees at a time, half of them shared with the next."""

HEADS = 4
DECAYS = 4
NOT_ITSELF = -100.0
"""What keeps a step of attention from itself."""


@keras.saving.register_keras_serializable(package="keras_bandit")
class RescaledUniform(keras.initializers.Initializer):
    """PyTorch's uniform weights, divided by `sqrt(std / 0.1)`.

    Args:
        fan_in: int. Inputs of each output.
    """

    def __init__(self, fan_in):
        self.fan_in = fan_in

    def __call__(self, shape, dtype=None):
        # The standard deviation of uniform numbers in ±1 / sqrt(fan_in).
        factor = np.sqrt(0.1 * np.sqrt(3 * self.fan_in))
        return FanInUniform(self.fan_in)(shape, dtype) * factor

    def get_config(self):
        return {"fan_in": self.fan_in}


def convolution(kind, inputs, filters, kernel, name, **kwargs):
    """A convolution with Demucs's initial weights."""
    fan_in = np.prod(kernel) * (filters if "Transpose" in kind else inputs)
    initializer = RescaledUniform(int(fan_in))
    return getattr(keras.layers, kind)(
        filters,
        kernel,
        kernel_initializer=initializer,
        bias_initializer=initializer,
        name=name,
        **kwargs,
    )


def group_norm(groups, dtype, name):
    return keras.layers.GroupNormalization(
        groups, axis=-1, epsilon=1e-5, dtype=dtype, name=name
    )


def gelu(x):
    return ops.gelu(x, approximate=False)


def glu(x):
    """The first half of the channels, gated by the second."""
    value, gate = ops.split(x, 2, axis=-1)
    return value * ops.sigmoid(gate)


@keras.saving.register_keras_serializable(package="keras_bandit")
class WindowedLSTM(keras.layers.Layer):
    """Two bidirectional LSTM layers, a projection, and the inputs added.

    Sequences of more than 200 steps are cut into windows of 200, every 100
    steps, and the middle half of each is kept (all of the first's beginning
    and of the last's end).

    Call arguments:
        inputs: `(batch, steps, channels)`.

    Returns:
        the inputs' shape.
    """

    def build(self, inputs_shape):
        channels = inputs_shape[-1]
        self.lstm = LSTMStack(
            2 * channels, 2, dtype=self.dtype_policy, name="lstm"
        )
        self.linear = keras.layers.Dense(
            channels,
            kernel_initializer=FanInUniform(2 * channels),
            bias_initializer=FanInUniform(2 * channels),
            dtype=self.dtype_policy,
            name="linear",
        )
        self.lstm.build((None, None, channels))
        self.linear.build((None, None, 2 * channels))

    def call(self, inputs):
        steps = ops.shape(inputs)[1]
        if isinstance(steps, int):
            whole = steps <= WINDOW
            x = self.lstm(inputs) if whole else self._in_windows(inputs)
        else:
            x = ops.cond(
                steps <= WINDOW,
                lambda: self.lstm(inputs),
                lambda: self._in_windows(inputs),
            )
        return self.linear(x) + inputs

    def _in_windows(self, inputs):
        batch, steps, channels = ops.shape(inputs)
        hop = WINDOW // 2
        count = -(-steps // hop)  # one more than needed where hop divides
        padding = [0, (count + 1) * hop - steps]
        x = ops.pad(inputs, [[0, 0], padding, [0, 0]])
        halves = ops.reshape(x, (batch, count + 1, hop, channels))
        windows = ops.concatenate([halves[:, :-1], halves[:, 1:]], axis=2)
        x = self.lstm(windows)  # (batch, count, WINDOW, 2 * channels)
        # 0…150 of the first, 50…150 of the others, 150… of the last
        edge = hop // 2
        middle = ops.reshape(
            x[:, :, edge:-edge], (batch, count * hop, 2 * channels)
        )
        x = ops.concatenate([x[:, 0, :edge], middle, x[:, -1, -edge:]], axis=1)
        return x[:, :steps]

    def compute_output_shape(self, inputs_shape):
        return inputs_shape


@keras.saving.register_keras_serializable(package="keras_bandit")
class LocalState(keras.layers.Layer):
    """Attention that prefers what is near, by learned decays; residual.

    Call arguments:
        inputs: `(batch, steps, channels)`.

    Returns:
        the inputs' shape.
    """

    def build(self, inputs_shape):
        channels = inputs_shape[-1]

        def dense(units, name):
            layer = convolution(
                "Conv1D", channels, units, 1, name, dtype=self.dtype_policy
            )
            layer.build((None, None, channels))
            return layer

        self.content = dense(channels, "content")
        self.query = dense(channels, "query")
        self.key = dense(channels, "key")
        self.query_decay = dense(HEADS * DECAYS, "query_decay")
        self.proj = dense(channels, "proj")
        decay = self.query_decay
        decay.kernel.assign(0.01 * decay.kernel)
        decay.bias.assign(ops.full(decay.bias.shape, -2.0))

    def _heads(self, x):
        """`(batch, steps, heads * n)` to `(batch, heads, steps, n)`."""
        batch, steps, channels = ops.shape(x)
        x = ops.reshape(x, (batch, steps, HEADS, channels // HEADS))
        return ops.transpose(x, (0, 2, 1, 3))

    def call(self, inputs):
        batch, steps, channels = ops.shape(inputs)
        query, key = (
            ops.cast(self._heads(layer(inputs)), "float32")
            for layer in (self.query, self.key)
        )
        # dots[..., s, t]: query of step s, key of step t
        dots = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2)))
        dots = dots / np.sqrt(channels // HEADS)
        decays = self._heads(self.query_decay(inputs))
        decays = ops.sigmoid(ops.cast(decays, "float32")) / 2
        factors = np.arange(1, DECAYS + 1, dtype="float32") / np.sqrt(DECAYS)
        slope = ops.sum(decays * ops.convert_to_tensor(factors), axis=-1)
        place = ops.cast(ops.arange(steps), "float32")
        distance = ops.abs(place[:, None] - place[None, :])
        dots = dots - slope[..., None] * distance
        dots = ops.where(distance == 0, NOT_ITSELF, dots)
        weights = ops.cast(ops.softmax(dots, axis=-1), self.compute_dtype)
        content = self._heads(self.content(inputs))
        result = ops.transpose(ops.matmul(weights, content), (0, 2, 1, 3))
        result = ops.reshape(result, (batch, steps, channels))
        return inputs + self.proj(result)

    def compute_output_shape(self, inputs_shape):
        return inputs_shape


@keras.saving.register_keras_serializable(package="keras_bandit")
class DConv(keras.layers.Layer):
    """Dilated residual branches, with LSTM and attention in deep layers.

    Args:
        compression: int. Channels over those inside a branch.
        depth: int. Branches; branch `d` is dilated by `2**d`.
        lstm: bool.
        attention: bool.
        scale: float. Initial scale of each branch's output.

    Call arguments:
        inputs: `(batch, steps, channels)`.

    Returns:
        the inputs' shape.
    """

    def __init__(self, compression, depth, lstm, attention, scale, **kwargs):
        super().__init__(**kwargs)
        self.compression = compression
        self.depth = depth
        self.lstm = lstm
        self.attention = attention
        self.scale = scale

    def build(self, inputs_shape):
        channels = inputs_shape[-1]
        hidden = int(channels / self.compression)
        dtype = self.dtype_policy
        self.parts, self.scales = [], []

        def add(layer, size):
            layer.build((None, None, size))
            self.parts.append(layer)

        for d in range(self.depth):
            squeeze = convolution(
                "Conv1D",
                channels,
                hidden,
                3,
                f"squeeze_{d}",
                dilation_rate=2**d,
                padding="same",
                dtype=dtype,
            )
            add(squeeze, channels)
            add(group_norm(1, dtype, f"norm_{d}"), hidden)
            if self.lstm:
                add(WindowedLSTM(dtype=dtype, name=f"lstm_{d}"), hidden)
            if self.attention:
                add(LocalState(dtype=dtype, name=f"attention_{d}"), hidden)
            name = f"expand_{d}"
            expand = convolution(
                "Conv1D", hidden, 2 * channels, 1, name, dtype=dtype
            )
            add(expand, hidden)
            add(group_norm(1, dtype, f"expand_norm_{d}"), 2 * channels)
            scale = keras.initializers.Constant(self.scale)
            self.scales.append(
                self.add_weight((channels,), scale, name=f"scale_{d}")
            )

    def call(self, inputs):
        parts = {layer.name: layer for layer in self.parts}
        x = inputs
        for d in range(self.depth):
            y = gelu(parts[f"norm_{d}"](parts[f"squeeze_{d}"](x)))
            for name in (f"lstm_{d}", f"attention_{d}"):
                if name in parts:
                    y = parts[name](y)
            y = glu(parts[f"expand_norm_{d}"](parts[f"expand_{d}"](y)))
            x = x + self.scales[d] * y
        return x

    def compute_output_shape(self, inputs_shape):
        return inputs_shape


def pad_axis(x, axis, before, after):
    """Zeros at both ends of an axis."""
    width = [[0, 0]] * len(x.shape)
    width[axis] = [before, after]
    return ops.pad(x, width)


@keras.saving.register_keras_serializable(package="keras_bandit")
class EncoderLayer(keras.layers.Layer):
    """Strided convolution, residual branches, gate; of either branch.

    Args:
        filters: int. Channels of the output.
        kernel, stride, padding: int. Of the convolution, along bins in the
            frequency branch, else along steps.
        frequency: bool. Whether inputs are `(batch, bins, frames, channels)`.
        norm_groups: int, or 0: no normalization.
        branches: dict, arguments of `DConv`, or `None` for a layer that is
            the convolution alone.

    Call arguments:
        inputs: see above.
        inject: `(batch, frames, filters)`, added to the convolution's output,
            or `None`.
    """

    def __init__(
        self,
        filters,
        kernel,
        stride,
        padding,
        frequency,
        norm_groups,
        branches,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel = kernel
        self.stride = stride
        self.padding = padding
        self.frequency = frequency
        self.norm_groups = norm_groups
        self.branches = branches

    def build(self, inputs_shape, inject_shape=None):
        channels, dtype = inputs_shape[-1], self.dtype_policy
        kind, size = "Conv1D", (self.kernel,)
        strides = (self.stride,)
        if self.frequency:
            kind, size, strides = "Conv2D", (*size, 1), (*strides, 1)
        self.conv = convolution(
            kind,
            channels,
            self.filters,
            size,
            "conv",
            strides=strides,
            dtype=dtype,
        )
        dims = [None] * len(size)
        self.conv.build((None, *dims, channels))
        if self.branches is None:
            return
        if self.norm_groups:
            self.norm1 = group_norm(self.norm_groups, dtype, "norm1")
            self.norm1.build((None, *dims, self.filters))
            self.norm2 = group_norm(self.norm_groups, dtype, "norm2")
            self.norm2.build((None, *dims, 2 * self.filters))
        self.dconv = DConv(**self.branches, dtype=dtype, name="dconv")
        self.dconv.build((None, None, self.filters))
        self.rewrite = convolution(
            kind, self.filters, 2 * self.filters, 1, "rewrite", dtype=dtype
        )
        self.rewrite.build((None, *dims, self.filters))

    def call(self, inputs, inject=None):
        if not self.frequency:
            steps = ops.shape(inputs)[1]
            inputs = pad_axis(inputs, 1, 0, -steps % self.stride)
        x = self.conv(pad_axis(inputs, 1, self.padding, self.padding))
        if self.branches is None:
            return x
        if inject is not None:
            x = x + (inject[:, None] if self.frequency else inject)
        x = gelu(self.norm1(x) if self.norm_groups else x)
        shape = ops.shape(x)
        x = ops.reshape(x, (-1, *shape[-2:]))  # each row of bins is an item
        x = self.rewrite(ops.reshape(self.dconv(x), shape))
        return glu(self.norm2(x) if self.norm_groups else x)


@keras.saving.register_keras_serializable(package="keras_bandit")
class DecoderLayer(keras.layers.Layer):
    """What undoes an `EncoderLayer`.

    Args:
        filters: int. Channels of the output.
        kernel, stride, padding, frequency, norm_groups: as `EncoderLayer`.
        branches: dict, arguments of `DConv`, or `None`: none here.
        empty: bool. Whether it is the transposed convolution alone.
        last: bool. Whether no activation follows.

    Call arguments:
        inputs: of the layer's branch.
        skip: the encoder's output, or `None` if empty.
        length: int. Steps of the output (not in the frequency branch).

    Returns:
        the output, and what the transposed convolution was given.
    """

    def __init__(
        self,
        filters,
        kernel,
        stride,
        padding,
        frequency,
        norm_groups,
        branches,
        empty,
        last,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel = kernel
        self.stride = stride
        self.padding = padding
        self.frequency = frequency
        self.norm_groups = norm_groups
        self.branches = branches
        self.empty = empty
        self.last = last

    def build(self, inputs_shape):
        channels, dtype = inputs_shape[-1], self.dtype_policy
        kind, size, context = "Conv1D", (self.kernel,), (3,)
        strides = (self.stride,)
        if self.frequency:
            kind, size, context = "Conv2D", (*size, 1), (3, 3)
            strides = (*strides, 1)
        dims = [None] * len(size)
        self.conv_tr = convolution(
            f"{kind}Transpose",
            channels,
            self.filters,
            size,
            "conv_tr",
            strides=strides,
            dtype=dtype,
        )
        self.conv_tr.build((None, *dims, channels))
        if self.norm_groups:
            self.norm2 = group_norm(self.norm_groups, dtype, "norm2")
            self.norm2.build((None, *dims, self.filters))
        if self.empty:
            return
        self.rewrite = convolution(
            kind,
            channels,
            2 * channels,
            context,
            "rewrite",
            padding="same",
            dtype=dtype,
        )
        self.rewrite.build((None, *dims, channels))
        if self.norm_groups:
            self.norm1 = group_norm(self.norm_groups, dtype, "norm1")
            self.norm1.build((None, *dims, 2 * channels))
        if self.branches is not None:
            self.dconv = DConv(**self.branches, dtype=dtype, name="dconv")
            self.dconv.build((None, None, channels))

    def call(self, inputs, skip=None, length=None):
        x = inputs
        if not self.empty:
            x = self.rewrite(x + skip)
            x = glu(self.norm1(x) if self.norm_groups else x)
            if self.branches is not None:
                shape = ops.shape(x)
                rows = ops.reshape(x, (-1, *shape[-2:]))
                x = ops.reshape(self.dconv(rows), shape)
        y = self.conv_tr(x)
        y = self.norm2(y) if self.norm_groups else y  # before it is trimmed
        if self.frequency:
            length = ops.shape(y)[1] - 2 * self.padding
        y = y[:, self.padding : self.padding + length]
        return (y if self.last else gelu(y)), x
