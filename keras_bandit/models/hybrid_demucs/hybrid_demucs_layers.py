"""Layers of Hybrid Demucs: residual branches, encoder and decoder layers.

Défossez 2021, "Hybrid Spectrogram and Waveform Source Separation",
arXiv:2111.03600, as `facebookresearch/demucs` at e976d93 computes it. Channels
are the last axis: `(batch, steps, channels)` in the time branch, `(batch, bins,
frames, channels)` in the frequency branch.
"""

import functools
import itertools
import math

import keras
import numpy as np
from keras import ops

from keras_bandit import backend
from keras_bandit.layers import LSTMStack
from keras_bandit.layers.initializers import FanInUniform

WINDOW = 200
"""Steps that an LSTM sees at a time, half of them shared with the next."""

HEADS = 4
DECAYS = 4
NOT_ITSELF = -100.0
"""What keeps a step of attention from itself."""


class RescaledUniform(FanInUniform):
    """PyTorch's uniform weights, divided by `sqrt(std / 0.1)`."""

    def __call__(self, shape, dtype=None):
        # The standard deviation of uniform numbers in ±1 / sqrt(fan_in).
        factor = math.sqrt(0.1 * math.sqrt(3 * self.fan_in))
        return super().__call__(shape, dtype) * factor


class _Convolution:
    def call(self, inputs):
        return backend.convolution(self, inputs, super().call)


_CONVOLUTIONS = {
    name: type(name, (_Convolution, getattr(keras.layers, name)), {})
    for name in ("Conv1D", "Conv2D", "Conv1DTranspose", "Conv2DTranspose")
}


class GroupNormalization(keras.layers.GroupNormalization):
    def call(self, inputs):
        return backend.group_norm(self, inputs, super().call)


def convolution(inputs, filters, kernel, name, transpose=False, **kwargs):
    """A convolution along the axes of `kernel`, a tuple; built."""
    fan_in = int(np.prod(kernel)) * (filters if transpose else inputs)
    kind = f"Conv{len(kernel)}D" + ("Transpose" if transpose else "")
    layer = _CONVOLUTIONS[kind](
        filters,
        kernel,
        kernel_initializer=RescaledUniform(fan_in),
        bias_initializer=RescaledUniform(fan_in),
        name=name,
        **kwargs,
    )
    layer.build((None, *[None] * len(kernel), inputs))
    backend.lay_out_kernel(layer.kernel)
    return layer


def group_norm(channels, groups, name, dtype, ndim=3):
    """PyTorch's normalization over all axes but the first; built."""
    layer = GroupNormalization(
        groups, axis=-1, epsilon=1e-5, dtype=dtype, name=name
    )
    layer.build((*[None] * (ndim - 1), channels))
    return layer


def gelu(x):
    return ops.gelu(x, approximate=False)


def glu(x):
    """The first half of the channels, gated by the second."""
    value, gate = ops.split(x, 2, axis=-1)
    return value * ops.sigmoid(gate)


def pad_axis(x, axis, before, after):
    """Zeros at both ends of an axis."""
    width = [[0, 0]] * len(x.shape)
    width[axis] = [before, after]
    return ops.pad(x, width)


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
        channels, dtype = inputs_shape[-1], self.dtype_policy
        self.lstm = LSTMStack(2 * channels, 2, dtype=dtype, name="lstm")
        self.lstm.build(inputs_shape)
        self.linear = keras.layers.Dense(
            channels,
            kernel_initializer=FanInUniform(2 * channels),
            bias_initializer=FanInUniform(2 * channels),
            dtype=dtype,
            name="linear",
        )
        self.linear.build((*inputs_shape[:-1], 2 * channels))

    def call(self, inputs):
        steps = ops.shape(inputs)[1]
        if isinstance(steps, int):
            windows = self._in_windows if steps > WINDOW else self.lstm
            x = windows(inputs)
        else:
            x = ops.cond(
                steps > WINDOW,
                lambda: self._in_windows(inputs),
                lambda: self.lstm(inputs),
            )
        return self.linear(x) + inputs

    def _in_windows(self, inputs):
        batch, steps, channels = ops.shape(inputs)
        hop = WINDOW // 2
        count = -(-steps // hop)  # one more than needed where hop divides
        x = pad_axis(inputs, 1, 0, (count + 1) * hop - steps)
        halves = ops.reshape(x, (batch, count + 1, hop, channels))
        windows = ops.concatenate([halves[:, :-1], halves[:, 1:]], axis=2)
        x = self.lstm(windows)  # (batch, count, WINDOW, 2 * channels)
        # 0…150 of the first, 50…150 of the others, 150… of the last
        edge = hop // 2
        middle = x[:, :, edge:-edge]
        middle = ops.reshape(middle, (batch, count * hop, 2 * channels))
        x = ops.concatenate([x[:, 0, :edge], middle, x[:, -1, -edge:]], axis=1)
        return x[:, :steps]


class LocalState(keras.layers.Layer):
    """Attention that prefers what is near, by learned decays; residual.

    Call arguments:
        inputs: `(batch, steps, channels)`.

    Returns:
        the inputs' shape.
    """

    def build(self, inputs_shape):
        channels, dtype = inputs_shape[-1], self.dtype_policy
        if channels % HEADS:
            raise ValueError(
                f"attention needs channels that are a multiple of {HEADS}; got "
                f"{channels} inside a residual branch"
            )
        for name in ("content", "query", "key", "query_decay", "proj"):
            units = HEADS * DECAYS if name == "query_decay" else channels
            layer = convolution(channels, units, (1,), name, dtype=dtype)
            setattr(self, name, layer)
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
        query, key, decays = (
            ops.cast(self._heads(layer(inputs)), "float32")
            for layer in (self.query, self.key, self.query_decay)
        )
        # dots[..., s, t]: query of step s, key of step t
        dots = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2)))
        dots = dots / math.sqrt(channels // HEADS)
        factors = np.arange(1, DECAYS + 1, dtype="float32")
        factors /= 2 * math.sqrt(DECAYS)
        slope = ops.sigmoid(decays) * ops.convert_to_tensor(factors)
        slope = ops.sum(slope, axis=-1, keepdims=True)
        place = ops.cast(ops.arange(steps), "float32")
        distance = ops.abs(place[:, None] - place[None, :])
        dots = ops.where(distance == 0, NOT_ITSELF, dots - slope * distance)
        # Keras warns of a softmax over one step alone.
        one = isinstance(steps, int) and steps == 1
        weights = ops.ones_like(dots) if one else ops.softmax(dots, axis=-1)
        weights = ops.cast(weights, self.compute_dtype)
        result = ops.matmul(weights, self._heads(self.content(inputs)))
        result = ops.transpose(result, (0, 2, 1, 3))
        result = ops.reshape(result, (batch, steps, channels))
        return inputs + self.proj(result)


class ResidualBranch(keras.layers.Layer):
    """A dilated bottleneck that is added, in deep layers with memory.

    Args:
        dilation: int.
        compression: int. Channels over those inside.
        scale: float. Initial scale of what is added.
        lstm, attention: bool. Whether there is a `WindowedLSTM`, a
            `LocalState` inside.

    Call arguments:
        inputs: `(batch, steps, channels)`.

    Returns:
        the inputs' shape.
    """

    def __init__(self, dilation, compression, scale, lstm, attention, **kwargs):
        super().__init__(**kwargs)
        self.dilation = dilation
        self.compression = compression
        self.initial_scale = scale
        self.lstm = WindowedLSTM(dtype=self.dtype_policy) if lstm else None
        self.attention = (
            LocalState(dtype=self.dtype_policy) if attention else None
        )

    def build(self, inputs_shape):
        channels, dtype = inputs_shape[-1], self.dtype_policy
        hidden = int(channels / self.compression)
        self.squeeze = convolution(
            channels,
            hidden,
            (3,),
            "squeeze",
            dilation_rate=self.dilation,
            padding="same",
            dtype=dtype,
        )
        self.norm = group_norm(hidden, 1, "norm", dtype)
        for layer in (self.lstm, self.attention):
            if layer is not None:
                layer.build((None, None, hidden))
        expand = (hidden, 2 * channels, (1,), "expand")
        self.expand = convolution(*expand, dtype=dtype)
        self.expand_norm = group_norm(2 * channels, 1, "expand_norm", dtype)
        scale = keras.initializers.Constant(self.initial_scale)
        self.scale = self.add_weight((channels,), scale, name="scale")

    def call(self, inputs):
        x = gelu(self.norm(self.squeeze(inputs)))
        for layer in (self.lstm, self.attention):
            x = x if layer is None else layer(x)
        return inputs + self.scale * glu(self.expand_norm(self.expand(x)))


class _Level(keras.layers.Layer):
    """What encoder and decoder layers share.

    Args:
        filters: int. Channels of the output.
        kernel, stride, padding: int. Of the convolution, along bins in the
            frequency branch, else along steps. The input is padded, or the
            output of a transposed convolution trimmed, at both ends.
        frequency: bool. Whether inputs are `(batch, bins, frames, channels)`.
        norm_groups: int, or 0: no normalization.
        branches: list of dict, arguments of each `ResidualBranch`.
        plain: bool. Whether it is the convolution alone.
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
        plain=False,
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
        self.plain = plain

    def _convolution(self, inputs, filters, size, name, frames=1, **kwargs):
        """Over `size` bins and some frames, or over `size` steps."""
        kernel, strides = (size,), (kwargs.pop("stride", 1),)
        if self.frequency:
            kernel, strides = (size, frames), (*strides, 1)
        kwargs |= {"strides": strides, "dtype": self.dtype_policy}
        return convolution(inputs, filters, kernel, name, **kwargs)

    def _norm(self, channels, name):
        if not self.norm_groups:
            return None
        ndim = 4 if self.frequency else 3
        groups, dtype = self.norm_groups, self.dtype_policy
        return group_norm(channels, groups, name, dtype, ndim)

    def _build_branches(self, channels):
        self.residual = []
        for d, settings in enumerate(self.branches):
            branch = ResidualBranch(
                **settings, dtype=self.dtype_policy, name=f"branch_{d}"
            )
            branch.build((None, None, channels))
            self.residual.append(branch)

    def _run_branches(self, x):
        """Each row of bins is an item."""
        if not self.residual:
            return x
        shape = ops.shape(x)
        x = ops.reshape(x, (-1, *shape[-2:]))
        for branch in self.residual:
            x = branch(x)
        return ops.reshape(x, shape)


def normalized(norm, x):
    return x if norm is None else norm(x)


class EncoderLayer(_Level):
    """Strided convolution, residual branches, gate; of either branch.

    Args: as `_Level`.

    Call arguments:
        inputs: see above.
        inject: `(batch, frames, filters)`, added to the convolution's output,
            or `None`.
    """

    def build(self, inputs_shape, inject_shape=None):
        width = self.filters
        sizes = (inputs_shape[-1], width, self.kernel)
        self.conv = self._convolution(*sizes, "conv", stride=self.stride)
        if not self.plain:
            self.norm1 = self._norm(width, "norm1")
            self._build_branches(width)
            self.rewrite = self._convolution(width, 2 * width, 1, "rewrite")
            self.norm2 = self._norm(2 * width, "norm2")

    def call(self, inputs, inject=None):
        end = self.padding
        if not self.frequency:
            end = end + -ops.shape(inputs)[1] % self.stride
        x = self.conv(pad_axis(inputs, 1, self.padding, end))
        if self.plain:
            return x
        if inject is not None:
            x = x + (inject[:, None] if self.frequency else inject)
        x = self._run_branches(gelu(normalized(self.norm1, x)))
        return glu(normalized(self.norm2, self.rewrite(x)))


class DecoderLayer(_Level):
    """What undoes an `EncoderLayer`.

    Args:
        context: int. Bins or steps that the gate's convolution sees.
        last: bool. Whether no activation follows.
        others: as `_Level`.

    Call arguments:
        inputs: of the layer's branch.
        skip: the encoder's output, or `None` if the layer is plain.
        length: int. Steps of the output (not in the frequency branch).

    Returns:
        the output, and what the transposed convolution was given.
    """

    def __init__(self, *args, context=3, last=False, **kwargs):
        super().__init__(*args, **kwargs)
        self.context = context
        self.last = last

    def build(self, inputs_shape):
        width = inputs_shape[-1]
        if not self.plain:
            sizes = (width, 2 * width, self.context)
            self.rewrite = self._convolution(
                *sizes, "rewrite", frames=3, padding="same"
            )
            self.norm1 = self._norm(2 * width, "norm1")
            self._build_branches(width)
        sizes = (width, self.filters, self.kernel)
        self.conv_tr = self._convolution(
            *sizes, "conv_tr", stride=self.stride, transpose=True
        )
        self.norm2 = self._norm(self.filters, "norm2")

    def call(self, inputs, skip=None, length=None):
        x = inputs
        if not self.plain:
            x = glu(normalized(self.norm1, self.rewrite(x + skip)))
            x = self._run_branches(x)
        y = normalized(self.norm2, self.conv_tr(x))  # before it is trimmed
        if self.frequency:
            length = ops.shape(y)[1] - 2 * self.padding
        y = y[:, self.padding : self.padding + length]
        return (y if self.last else gelu(y)), x


class _Banded(keras.layers.Layer):
    """A layer of its own for each band of rows ("multi_freqs").

    Args:
        make: function of a name to an `EncoderLayer` or `DecoderLayer` of the
            frequency branch, without padding.
        rows: int. Of the encoder's input.
        ratios: list of float. Shares of the rows at which bands end, but for
            the last band.
    """

    frequency = True

    def __init__(self, make, rows, ratios, **kwargs):
        super().__init__(**kwargs)
        self.bands = [make(name=f"band_{b}") for b in range(len(ratios) + 1)]
        first = self.bands[0]
        self.filters = first.filters
        self.overlap = first.kernel - first.stride
        self.edges = self._edges(rows, ratios, first.kernel, first.stride)

    def build(self, inputs_shape):
        for band in self.bands:
            band.build(inputs_shape)

    def _in_bands(self):
        """Pairs of each band and its first and last row but one."""
        return zip(self.bands, itertools.pairwise(self.edges), strict=True)


class BandedEncoder(_Banded):
    """Encoder layers that read overlapping bands of the input."""

    def _edges(self, rows, ratios, kernel, stride):
        """First rows of the bands' outputs, and all rows."""
        edges = [0]
        for ratio in ratios:
            first = stride * edges[-1] - self.overlap // 2
            size = round(rows * ratio) - first
            edges.append(edges[-1] + round((size - kernel) / stride + 1))
        return [*edges, rows // stride]

    def call(self, inputs, inject=None):
        x = pad_axis(inputs, 1, self.overlap // 2, self.overlap // 2)
        outputs = [
            band(x[:, band.stride * start : band.stride * stop + self.overlap])
            for band, (start, stop) in self._in_bands()
        ]
        return ops.concatenate(outputs, axis=1)


class BandedDecoder(_Banded):
    """Decoder layers whose outputs overlap and are added.

    Args:
        last: bool. Whether no activation follows.
        others: as `_Banded`.
    """

    def __init__(self, make, *args, last, **kwargs):
        make = functools.partial(make, context=1, last=True)
        super().__init__(make, *args, **kwargs)
        self.last = last

    def _edges(self, rows, ratios, kernel, stride):
        """First rows of the bands' inputs, and all rows."""
        rows = rows // stride
        return [0, *(round(rows * ratio) for ratio in ratios), rows]

    def call(self, inputs, skip, length=None):
        outputs, overlap = [], self.overlap
        for band, (start, stop) in self._in_bands():
            y, _ = band(inputs[:, start:stop], skip[:, start:stop])
            if outputs:
                before = outputs.pop()
                seam = before[:, -overlap:] + y[:, :overlap]
                # Both have a bias; the first one's stays.
                seam = seam - ops.cast(band.conv_tr.bias, seam.dtype)
                outputs += [before[:, :-overlap], seam]
                y = y[:, overlap:]
            outputs.append(y)
        y = ops.concatenate(outputs, axis=1)
        y = y[:, overlap // 2 : -(overlap // 2)]
        return (y if self.last else gelu(y)), None
