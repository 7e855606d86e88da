"""How each layer is written in ONNX.

A new model's layers get an emitter here: a function of the graph, the layer
and its inputs' names that adds nodes and returns the output's name. Axes are
those of the layer's `call`.

Written for speed where OpenVINO reads the file: each direction of a
recurrence is one operation, bands of similar width share a product, masks are
computed as rows that recombination gathers whole.
"""

import keras
import numpy as np
from keras import ops

from keras_bandit.export import UnsupportedModelError
from keras_bandit.layers import (
    BandSplit,
    BatchNorm,
    LSTMStack,
    Magnitude,
    MaskDecoder,
    OverlapRecombine,
    ResidualGRUPair,
    ResidualLSTMPair,
    StandardizeSpectrogram,
)
from keras_bandit.layers.band_split import EPSILON
from keras_bandit.layers.magnitude import LEAST_POWER
from keras_bandit.models.bandit.bandit_layers import (
    FoldChannels,
    UnfoldChannels,
)
from keras_bandit.models.mrx.mrx_layers import SameFrames
from keras_bandit.models.open_unmix.open_unmix_layers import (
    InnerFrames,
    InputScaling,
    OuterFrames,
    OutputScaling,
    RealMask,
)

EMITTERS = {}
"""Layer class → function `(graph, layer, *inputs)` → output."""

EXACT = "float32"
"""Scope of the products that stay in float32 where others are bfloat16."""

# ONNX's gates as places in ours: update, reset, new of (reset, update, new);
# input, output, forget, cell of (input, forget, cell, output).
_GATE_ORDER = {"GRU": (1, 0, 2), "LSTM": (0, 3, 1, 2)}


def emits(*layers):
    """Registers the decorated function for classes of layers."""

    def register(function):
        EMITTERS.update(dict.fromkeys(layers, function))
        return function

    return register


def weights(graph, layer, *names):
    """A layer's variables as constants.

    Raises:
        UnsupportedModelError: if the layer's dtype policy is not float32.
    """
    if layer.dtype_policy.name != "float32":
        raise UnsupportedModelError(
            "a core is exported in float32; got dtype policy "
            f"{layer.dtype_policy.name} in layer {layer.name} of {graph.place}"
        )
    return [
        graph.constant(ops.convert_to_numpy(getattr(layer, name)))
        for name in names
    ]


@emits(FoldChannels)
def fold_channels(graph, layer, spectrogram):
    # 0 keeps the dimension of that place.
    return graph.reshape(spectrogram, -1, 1, 0, 0, 2)


@emits(UnfoldChannels)
def unfold_channels(graph, layer, folded, spectrogram):
    return graph.add("Reshape", folded, graph.add("Shape", spectrogram))


@emits(StandardizeSpectrogram)
def standardize_spectrogram(graph, layer, spectrogram):
    mean = graph.add("ReduceMean", spectrogram, axes=layer.axes, keepdims=1)
    x = graph.add("Sub", spectrogram, mean)
    power = graph.add("Mul", x, x)
    power = graph.add("ReduceSum", power, graph.integers(4))
    power = graph.add("ReduceMean", power, axes=layer.axes, keepdims=1)
    least = graph.constant(LEAST_POWER)
    return graph.add(
        "Div", x, graph.add("Sqrt", graph.add("Max", power, least))
    )


@emits(BandSplit)
def band_split(graph, layer, spectrogram):
    gamma, beta, kernel, bias = weights(
        graph, layer, "gamma", "beta", "kernel", "bias"
    )
    batch, channels, frames, bins, _ = graph.dims(spectrogram)
    values = spectrogram
    if channels > 1:
        values = graph.transpose(values, 0, 2, 1, 3, 4)
    values = graph.reshape(values, -1, channels * bins * 2)
    embedded = []  # (size, batch * frames, embed_dim)
    for group in layer._groups:
        index = np.minimum(group.index, len(layer._source) - 1)
        x = graph.gather(values, layer._source[index].ravel(), 1)
        x = graph.reshape(x, -1, *index.shape)
        x = _standardize_padded(graph, x, group.valid)
        x = graph.add("Mul", x, graph.gather(gamma, index, 0))
        x = graph.add("Add", x, graph.gather(beta, index, 0))
        x = graph.add("Mul", x, graph.constant(group.valid))
        x = graph.transpose(x, 1, 0, 2)
        with graph.scope(EXACT):
            embedded.append(
                graph.add("MatMul", x, graph.gather(kernel, index, 0))
            )
    x = graph.gather(graph.concat(embedded, 0), layer._order, 0)
    x = graph.add("Add", x, graph.reshape(bias, len(layer.bands), 1, -1))
    x = graph.reshape(x, len(layer.bands), batch, frames, layer.embed_dim)
    return graph.transpose(x, 1, 0, 2, 3)


def _standardize_padded(graph, x, valid):
    """Zero mean, unit variance of `(n, size, width)` where `valid`.

    Means are sums of weighted values: a factor for each band after the sum
    gave NaN (OpenVINO 2026.4.1 fuses it into the sum, wrongly).
    """
    shares = graph.constant(valid / valid.sum(axis=-1, keepdims=True))
    last = graph.integers(-1)
    mean = graph.add("ReduceSum", graph.add("Mul", x, shares), last)
    x = graph.add("Sub", x, mean)
    # The shares sum to 1, so this is variance + EPSILON.
    square = graph.add("Add", graph.add("Mul", x, x), graph.constant(EPSILON))
    square = graph.add("ReduceSum", graph.add("Mul", square, shares), last)
    return graph.add("Div", x, graph.add("Sqrt", square))


@emits(ResidualGRUPair, ResidualLSTMPair)
def residual_pair(graph, layer, x):
    batch, bands, frames, embed_dim = graph.dims(x)
    op = "GRU" if isinstance(layer, ResidualGRUPair) else "LSTM"
    x = graph.reshape(x, -1, frames, embed_dim)
    x = _residual_block(graph, layer.over_frames, op, x)
    x = graph.reshape(x, batch, bands, frames, embed_dim)
    x = graph.transpose(x, 0, 2, 1, 3)
    x = graph.reshape(x, -1, bands, embed_dim)
    x = _residual_block(graph, layer.over_bands, op, x)
    x = graph.reshape(x, batch, frames, bands, embed_dim)
    return graph.transpose(x, 0, 2, 1, 3)


def _residual_block(graph, block, op, x):
    """`(batch, steps, embed_dim)` → the same."""
    y = graph.add(
        "LayerNormalization",
        x,
        *weights(graph, block.norm, "gamma", "beta"),
        epsilon=block.norm.epsilon,
    )
    y = _recurrence(graph, block.recurrent, op, y)
    kernel, bias = weights(graph, block.projection, "kernel", "bias")
    y = graph.add("MatMul", y, kernel)
    return graph.add("Add", x, graph.add("Add", y, bias))


def _recurrence(graph, layer, op, x):
    """`(batch, steps, features)` → `(batch, steps, 2 * units)`.

    One operation a direction: as one bidirectional operation OpenVINO took
    10 % longer, for the transposition that joins its directions.
    """
    names = ("kernel", "recurrent_kernel", "bias", "recurrent_bias")
    kernel, recurrent_kernel, *biases = weights(graph, layer, *names)
    count = sum(layer.directions) or 1
    units = layer.units
    order = np.add.outer(
        np.multiply(_GATE_ORDER[op], units), np.arange(units)
    ).ravel()
    attributes = {"linear_before_reset": 1} if op == "GRU" else {}
    x = graph.transpose(x, 1, 0, 2)
    states = []
    for direction, name in enumerate(("forward", "reverse")[:count]):

        def of_direction(variable, direction=direction):
            if layer.directions:
                variable = graph.gather(variable, [direction], 0)
            else:
                axis = graph.integers(0)
                variable = graph.add("Unsqueeze", variable, axis)
            return graph.gather(variable, order, -1)

        y = graph.add(
            op,
            x,
            graph.transpose(of_direction(kernel), 0, 2, 1),
            graph.transpose(of_direction(recurrent_kernel), 0, 2, 1),
            graph.concat([of_direction(bias) for bias in biases], 1),
            direction=name,
            hidden_size=units,
            **attributes,
        )  # (steps, 1, batch, units)
        y = graph.transpose(y, 2, 1, 0, 3)
        states.append(graph.add("Squeeze", y, graph.integers(1)))
    return graph.concat(states, 2)


@emits(MaskDecoder)
def mask_decoder(graph, layer, features):
    """Keeps masks also as rows `(values, batch * frames)`, in `graph.rows`.

    Recombination gathers whole rows, which is several times faster than
    gathering the values of each frame.
    """
    gamma, beta, hidden_kernel, hidden_bias, kernel, bias = weights(
        graph,
        layer,
        "gamma",
        "beta",
        "hidden_kernel",
        "hidden_bias",
        "output_kernel",
        "output_bias",
    )
    batch, bands, frames, embed_dim = graph.dims(features)
    x = graph.transpose(features, 1, 0, 2, 3)
    x = graph.reshape(x, bands, -1, embed_dim)
    ones = graph.constant(np.ones(embed_dim))
    x = graph.add("LayerNormalization", x, ones, epsilon=EPSILON)
    x = graph.add("Mul", x, graph.reshape(gamma, bands, 1, embed_dim))
    x = graph.add("Add", x, graph.reshape(beta, bands, 1, embed_dim))
    x = graph.add("MatMul", x, hidden_kernel)
    x = graph.add("Add", x, graph.reshape(hidden_bias, bands, 1, -1))
    hidden = graph.add("Tanh", x)  # (bands, batch * frames, mlp_dim)
    sizes = np.asarray(layer._sizes)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    position = np.empty(starts[-1], int)  # of each value among the rows
    outputs, total = [], 0
    for group in layer._groups:
        size, width = group.index.shape
        x = graph.gather(hidden, group.members, 0)
        x = graph.transpose(x, 0, 2, 1)
        # A band's rows are its values, then its gates; padding goes on.
        first = 2 * starts[group.members]
        value, gate = (
            graph.add(
                "Add",
                graph.add("MatMul", graph.gather(kernel, rows, 0), x),
                graph.gather(bias, rows[..., None], 0),
            )
            for rows in _padded_rows(first, sizes[group.members], width)
        )
        x = graph.add("Mul", value, graph.add("Sigmoid", gate))
        outputs.append(graph.reshape(x, size * width, -1))
        valid = group.valid > 0
        position[group.index[valid]] = total + np.flatnonzero(valid)
        total += size * width
    rows = graph.concat(outputs, 0)
    masks = graph.gather(rows, position, 0)
    masks = graph.reshape(masks, len(position), batch, frames)
    masks = graph.transpose(masks, 1, 2, 0)
    graph.rows[masks] = rows, position
    return masks


def _padded_rows(first, sizes, width):
    """Rows `(bands, width)` of a group's values, and of its gates.

    Padding repeats a band's last value or gate; no mask reads it.
    """
    offset = np.minimum(np.arange(width), sizes[:, None] - 1)
    values = first[:, None] + offset
    return values, values + sizes[:, None]


@emits(OverlapRecombine)
def overlap_recombine(graph, layer, masks):
    batch, frames, values = graph.dims(masks)
    if masks in graph.rows:
        rows, position = graph.rows[masks]
    else:
        rows = graph.reshape(graph.transpose(masks, 2, 0, 1), values, -1)
        position = np.arange(values)
    channels, bins = layer.num_channels, layer.num_bins
    total = None
    for index, weight in zip(layer._index, layer._weights, strict=True):
        # Many bands share few bins: only the span that has so many.
        covered = np.flatnonzero(weight)
        span = slice(0, bins)
        if total is not None:
            span = slice(covered[0], covered[-1] + 1)
        index = position[index[:, span]].reshape(channels, -1)
        x = graph.gather(rows, index, 0)  # (channels, 2 * span, n)
        weight = np.repeat(weight[span], 2)[:, None]
        x = graph.add("Mul", x, graph.constant(weight))
        if total is not None:
            before, after = 2 * span.start, 2 * (bins - span.stop)
            padding = graph.integers(0, before, 0, 0, after, 0)
            x = graph.add("Add", total, graph.add("Pad", x, padding))
        total = x
    x = graph.reshape(total, channels, 2 * bins, batch, frames)
    x = graph.transpose(x, 2, 0, 3, 1)
    return graph.reshape(x, batch, channels, frames, bins, 2)


def _level(graph, spectrogram):
    """Magnitudes in the scale of `STFT`."""
    x = graph.add("Mul", spectrogram, spectrogram)
    x = graph.add("ReduceSum", x, graph.integers(4), keepdims=0)
    return graph.add("Sqrt", graph.add("Max", x, graph.constant(LEAST_POWER)))


@emits(Magnitude)
def magnitude(graph, layer, spectrogram):
    channels = graph.shapes[spectrogram][1]
    x = _level(graph, spectrogram)
    x = graph.add("Mul", x, graph.constant(layer.scale))
    if layer.num_channels == 1 and channels != 1:
        x = graph.add("ReduceMean", x, axes=[1], keepdims=1)
    return x


@emits(InnerFrames, OuterFrames)
def frames_of_training(graph, layer, x):
    return x


@emits(InputScaling)
def input_scaling(graph, layer, x):
    mean, scale = weights(graph, layer, "mean", "scale")
    channels = graph.shapes[x][1]
    ends = graph.integers(0), graph.integers(layer.num_bins)
    x = graph.add("Slice", x, *ends, graph.integers(3))
    x = graph.add("Mul", graph.add("Add", x, mean), scale)
    x = graph.transpose(x, 0, 2, 1, 3)
    return graph.reshape(x, 0, 0, channels * layer.num_bins)


@emits(OutputScaling)
def output_scaling(graph, layer, x):
    scale, mean = weights(graph, layer, "scale", "mean")
    x = graph.reshape(x, 0, 0, layer.num_channels, -1)
    x = graph.transpose(x, 0, 2, 1, 3)
    return graph.add("Relu", graph.add("Add", graph.add("Mul", x, scale), mean))


@emits(RealMask)
def real_mask(graph, layer, mask, spectrogram):
    if layer.shared and graph.shapes[spectrogram][1] != 1:
        level = _level(graph, spectrogram)
        mean = graph.add("ReduceMean", level, axes=[1], keepdims=1)
        mask = graph.add("Div", graph.add("Mul", mask, mean), level)
    x = graph.add("Unsqueeze", mask, graph.integers(4))
    return graph.add("Mul", x, graph.constant([1, 0]))


@emits(keras.layers.Dense)
def dense(graph, layer, x):
    (kernel,) = weights(graph, layer, "kernel")
    x = graph.add("MatMul", x, kernel)
    if layer.use_bias:
        x = graph.add("Add", x, *weights(graph, layer, "bias"))
    return x


@emits(BatchNorm)
def batch_norm(graph, layer, x):
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    gamma, beta, mean, variance = (
        ops.convert_to_numpy(getattr(layer, name)) for name in names
    )
    scale = gamma / np.sqrt(variance + layer.epsilon)
    x = graph.add("Sub", x, graph.constant(mean))
    x = graph.add("Mul", x, graph.constant(scale))
    return graph.add("Add", x, graph.constant(beta))


@emits(keras.layers.Activation)
def activation(graph, layer, x):
    name = layer.activation.__name__
    if name not in ("relu", "tanh"):
        raise UnsupportedModelError(
            f"format onnx has no emitter for the activation {name}; got layer "
            f"{layer.name} in {graph.place}"
        )
    return graph.add(name.capitalize(), x)


@emits(keras.layers.Concatenate)
def concatenate(graph, layer, parts):
    return graph.concat(parts, layer.axis)


@emits(keras.layers.Average)
def average(graph, layer, parts):
    return graph.add("Mean", *parts)


@emits(keras.layers.Permute)
def permute(graph, layer, x):
    return graph.transpose(x, 0, *layer.dims)


@emits(keras.layers.Reshape)
def reshape(graph, layer, x):
    return graph.reshape(x, 0, *layer.target_shape)


@emits(SameFrames)
def same_frames(graph, layer, x, other):
    return x  # as `MRXTransforms` has it


@emits(LSTMStack)
def lstm_stack(graph, layer, x):
    *leading, steps, features = graph.dims(x)
    if len(leading) == 1:
        return lstm_layers(graph, layer, x)
    x = graph.reshape(x, -1, steps, features)
    x = lstm_layers(graph, layer, x)
    return graph.reshape(x, *leading, steps, layer.output_dim)


def lstm_layers(graph, layer, x):
    """`(batch, steps, features)` to `(batch, steps, output_dim)`."""
    for recurrent in layer.recurrent:
        x = _recurrence(graph, recurrent, "LSTM", x)
    return x
