"""How Hybrid Demucs's network is written in ONNX, see `emitters.py`.

Each function writes the `call` of a layer of `hybrid_demucs_layers.py`, with
channels second: `(batch, channels, steps)` in the time branch, `(batch,
channels, bins, frames)` in the frequency branch.
"""

import math

import numpy as np

from keras_bandit.export.emitters import dense, emits, lstm_layers, weights
from keras_bandit.models.hybrid_demucs.hybrid_demucs_layers import (
    DECAYS,
    HEADS,
    NOT_ITSELF,
    WINDOW,
    BandedDecoder,
    BandedEncoder,
)
from keras_bandit.models.hybrid_demucs.hybrid_network import (
    EMBEDDING_FACTOR,
    HybridNetwork,
)

_END = 2**31 - 1  # of any axis


def _size(graph, x, axis):
    """`(1,)` int64."""
    return graph.add("Shape", x, start=axis, end=axis + 1)


def _slice(graph, x, start, stop, axis):
    """Ends are ints or tensors `(1,)`."""
    ends = [
        graph.integers(end) if isinstance(end, int) else end
        for end in (start, stop)
    ]
    return graph.add("Slice", x, *ends, graph.integers(axis))


def _range(graph, size):
    """`0 … size - 1`, int64; `size` is a tensor `(1,)`."""
    ends = (graph.integers(0), size, graph.integers(1))
    return graph.add("Range", *(graph.add("Squeeze", end) for end in ends))


def _convolution(graph, layer, x, padding=0):
    """`padding` is of the first axis."""
    kernel, bias = weights(graph, layer, "kernel", "bias")
    sizes = layer.kernel_size
    axes = range(len(sizes))
    pads = [padding, *[0] * (len(sizes) - 1)]
    if layer.padding == "same":
        pads = [layer.dilation_rate[i] * (sizes[i] - 1) // 2 for i in axes]
    return graph.add(
        "Conv",
        x,
        graph.transpose(kernel, len(sizes) + 1, len(sizes), *axes),
        bias,
        strides=list(layer.strides),
        dilations=list(layer.dilation_rate),
        pads=[*pads, *pads],
    )


def _transposed_convolution(graph, layer, x):
    """As a convolution of each phase of its stride.

    OpenVINO is slow in transposed ones. Bin or step `stride * q + p` of the
    output is the sum over taps `j` of `x[q - j] * kernel[p + stride * j]`.
    """
    kernel, bias = weights(graph, layer, "kernel", "bias")
    stride, filters = layer.strides[0], layer.filters
    taps = layer.kernel_size[0] // stride
    over_bins = len(layer.strides) == 2
    ones, zeros = [1] * over_bins, [0] * over_bins
    kernel = graph.reshape(kernel, taps, stride, filters, -1)
    kernel = graph.gather(kernel, np.arange(taps)[::-1], 0)
    kernel = graph.transpose(kernel, 2, 1, 3, 0)
    kernel = graph.reshape(kernel, filters * stride, -1, taps, *ones)
    bias = graph.gather(bias, np.repeat(np.arange(filters), stride), 0)
    pads = [taps - 1, *zeros]
    y = graph.add("Conv", x, kernel, bias, pads=[*pads, *pads])
    rows = _size(graph, y, 2)
    frames = [_size(graph, y, 3)] * over_bins
    y = graph.reshape(y, -1, filters, stride, rows, *frames)
    y = graph.transpose(y, 0, 1, 3, 2, *[4] * over_bins)
    return graph.reshape(y, 0, filters, -1, *frames)


def _group_norm(graph, layer, x, ndim=3):
    """As PyTorch exports it; OpenVINO recognizes that."""
    if layer is None:
        return x
    gamma, beta = (
        graph.reshape(value, -1, *[1] * (ndim - 2))
        for value in weights(graph, layer, "gamma", "beta")
    )
    y = graph.add(
        "InstanceNormalization",
        graph.reshape(x, 0, layer.groups, -1),
        graph.constant(np.ones(layer.groups)),
        graph.constant(np.zeros(layer.groups)),
        epsilon=layer.epsilon,
    )
    y = graph.add("Reshape", y, graph.add("Shape", x))
    return graph.add("Add", graph.add("Mul", y, gamma), beta)


def _gelu(graph, x):
    y = graph.add("Erf", graph.add("Div", x, graph.constant(math.sqrt(2))))
    y = graph.add("Mul", x, graph.add("Add", y, graph.constant(1)))
    return graph.add("Mul", y, graph.constant(0.5))


def _glu(graph, x):
    value, gate = graph.add_many(2, "Split", x, axis=1)
    return graph.add("Mul", value, graph.add("Sigmoid", gate))


def _windowed_lstm(graph, layer, x):
    """One formula for both of the layer's cases.

    `count` windows of `hop + shared` steps begin every `hop` steps: 100 + 100,
    or all steps + 0. Step `t` is read in the last window in which it has `edge`
    steps before it.
    """
    x = graph.transpose(x, 0, 2, 1)  # (batch, steps, channels)
    batch, steps = _size(graph, x, 0), _size(graph, x, 1)
    cut = graph.add("Greater", steps, graph.integers(WINDOW))

    def either(windowed, whole):
        whole = graph.integers(whole) if isinstance(whole, int) else whole
        return graph.add("Where", cut, graph.integers(windowed), whole)

    hop = either(WINDOW // 2, steps)
    shared, edge = either(WINDOW // 2, 0), either(WINDOW // 4, 0)
    last = graph.add("Div", graph.add("Sub", steps, graph.integers(1)), hop)
    count = graph.add("Add", last, graph.integers(1))
    width = graph.add("Add", hop, shared)
    begin = graph.add("Mul", _range(graph, count), hop)
    index = graph.add(
        "Add",
        graph.add("Unsqueeze", begin, graph.integers(1)),
        graph.add("Unsqueeze", _range(graph, width), graph.integers(0)),
    )
    padded = graph.add("Add", graph.add("Mul", count, hop), shared)
    missing = graph.add("Sub", padded, steps)
    ends = [graph.integers(0, 0, 0, 0), missing, graph.integers(0)]
    y = graph.add("Pad", x, graph.add("Concat", *ends, axis=0))
    y = graph.add("Gather", y, graph.reshape(index, -1), axis=1)
    channels = layer.linear.units
    y = lstm_layers(graph, layer.lstm, graph.reshape(y, -1, width, channels))
    y = graph.reshape(y, batch, -1, 2 * channels)
    place = _range(graph, steps)
    # OpenVINO rounds a negative quotient down, ONNX Runtime up.
    inner = graph.add("Sub", place, edge)
    inner = graph.add("Max", inner, graph.integers(0))
    window = graph.add("Min", graph.add("Div", inner, hop), last)
    # width - hop steps are passed twice for each window before.
    place = graph.add("Add", place, graph.add("Mul", window, shared))
    y = graph.add("Gather", y, place, axis=1)
    y = graph.add("Add", dense(graph, layer.linear, y), x)
    return graph.transpose(y, 0, 2, 1)


def _local_state(graph, layer, x):
    def heads(part):
        """`(batch, heads, n, steps)`."""
        y = _convolution(graph, part, x)
        return graph.reshape(y, 0, HEADS, part.filters // HEADS, -1)

    channels = layer.proj.filters
    query = graph.transpose(heads(layer.query), 0, 1, 3, 2)
    dots = graph.add("MatMul", query, heads(layer.key))
    scale = 1 / math.sqrt(channels // HEADS)
    dots = graph.add("Mul", dots, graph.constant(scale))
    factors = np.arange(1, DECAYS + 1)[:, None] / (2 * math.sqrt(DECAYS))
    slope = graph.add("Sigmoid", heads(layer.query_decay))
    slope = graph.add("Mul", slope, graph.constant(factors))
    slope = graph.add("ReduceSum", slope, graph.integers(2))
    slope = graph.transpose(slope, 0, 1, 3, 2)  # (batch, heads, steps, 1)
    place = graph.add("Cast", _range(graph, _size(graph, x, 2)), to=1)
    rows, columns = (
        graph.add("Unsqueeze", place, graph.integers(axis)) for axis in (1, 0)
    )
    distance = graph.add("Abs", graph.add("Sub", rows, columns))
    dots = graph.add("Sub", dots, graph.add("Mul", slope, distance))
    itself = graph.add("Equal", distance, graph.constant(0))
    dots = graph.add("Where", itself, graph.constant(NOT_ITSELF), dots)
    shares = graph.add("Softmax", dots, axis=-1)
    shares = graph.transpose(shares, 0, 1, 3, 2)
    y = graph.add("MatMul", heads(layer.content), shares)
    y = graph.reshape(y, 0, channels, -1)
    return graph.add("Add", x, _convolution(graph, layer.proj, y))


def _branches(graph, layer, x):
    """Each row of bins is an item."""
    if not layer.residual:
        return x
    if layer.frequency:
        x = graph.transpose(x, 0, 2, 1, 3)
        shape = graph.add("Shape", x)
        channels = layer.residual[0].scale.shape[0]
        x = graph.reshape(x, -1, channels, _size(graph, x, 3))
    for branch in layer.residual:
        y = _convolution(graph, branch.squeeze, x)
        y = _gelu(graph, _group_norm(graph, branch.norm, y))
        if branch.lstm is not None:
            y = _windowed_lstm(graph, branch.lstm, y)
        if branch.attention is not None:
            y = _local_state(graph, branch.attention, y)
        y = _convolution(graph, branch.expand, y)
        y = _glu(graph, _group_norm(graph, branch.expand_norm, y))
        (scale,) = weights(graph, branch, "scale")
        y = graph.add("Mul", y, graph.reshape(scale, -1, 1))
        x = graph.add("Add", x, y)
    if layer.frequency:
        x = graph.transpose(graph.add("Reshape", x, shape), 0, 2, 1, 3)
    return x


def _norm(graph, layer, name, x):
    ndim = 4 if layer.frequency else 3
    return _group_norm(graph, getattr(layer, name), x, ndim)


def _encoder(graph, layer, x, inject=None):
    if isinstance(layer, BandedEncoder):
        half = layer.overlap // 2
        x = graph.add("Pad", x, graph.integers(0, 0, half, 0, 0, 0, half, 0))
        outputs = []
        for band, (start, stop) in layer._in_bands():
            start, stop = band.stride * start, band.stride * stop
            part = _slice(graph, x, start, stop + layer.overlap, 2)
            outputs.append(_encoder(graph, band, part))
        return graph.concat(outputs, 2)
    if not layer.frequency and layer.stride > 1:
        steps = graph.add("Neg", _size(graph, x, 2))
        missing = graph.add("Mod", steps, graph.integers(layer.stride))
        ends = graph.integers(0, 0, 0, 0, 0), missing
        x = graph.add("Pad", x, graph.add("Concat", *ends, axis=0))
    x = _convolution(graph, layer.conv, x, layer.padding)
    if layer.plain:
        return x
    if inject is not None:
        if layer.frequency:
            inject = graph.add("Unsqueeze", inject, graph.integers(2))
        x = graph.add("Add", x, inject)
    x = _branches(graph, layer, _gelu(graph, _norm(graph, layer, "norm1", x)))
    x = _convolution(graph, layer.rewrite, x)
    return _glu(graph, _norm(graph, layer, "norm2", x))


def _decoder(graph, layer, x, skip=None, length=None):
    if isinstance(layer, BandedDecoder):
        return _banded_decoder(graph, layer, x, skip), None
    if not layer.plain:
        x = skip if x is None else graph.add("Add", x, skip)
        x = _convolution(graph, layer.rewrite, x)
        x = _glu(graph, _norm(graph, layer, "norm1", x))
        x = _branches(graph, layer, x)
    y = _transposed_convolution(graph, layer.conv_tr, x)
    y = _norm(graph, layer, "norm2", y)
    start = layer.padding
    if not layer.frequency:
        stop = graph.add("Add", length, graph.integers(start))
        y = _slice(graph, y, start, stop, 2)
    elif start:
        y = _slice(graph, y, start, -start, 2)
    return (y if layer.last else _gelu(graph, y)), x


def _banded_decoder(graph, layer, x, skip):
    outputs, overlap = [], layer.overlap
    for band, ends in layer._in_bands():
        parts = (_slice(graph, part, *ends, 2) for part in (x, skip))
        y, _ = _decoder(graph, band, *parts)
        if outputs:
            before = outputs.pop()
            seam = graph.add(
                "Add",
                _slice(graph, before, -overlap, _END, 2),
                _slice(graph, y, 0, overlap, 2),
            )
            # Both have a bias; the first one's stays.
            (bias,) = weights(graph, band.conv_tr, "bias")
            seam = graph.add("Sub", seam, graph.reshape(bias, -1, 1, 1))
            outputs += [_slice(graph, before, 0, -overlap, 2), seam]
            y = _slice(graph, y, overlap, _END, 2)
        outputs.append(y)
    y = graph.concat(outputs, 2)
    y = _slice(graph, y, overlap // 2, -(overlap // 2), 2)
    return y if layer.last else _gelu(graph, y)


@emits(HybridNetwork)
def hybrid_network(graph, network, spectrogram, waveform):
    x = graph.transpose(spectrogram, 0, 3, 1, 2)
    y = graph.transpose(waveform, 0, 2, 1)
    row = graph.integers(2)  # the axis of bins, where one is left
    frequency = True
    skips, lengths, time_skips, time_lengths = [], [], [], []
    for i, layer in enumerate(network.encoder):
        inject = None
        if i < len(network.time_encoder):
            time_layer = network.time_encoder[i]
            time_lengths.append(_size(graph, y, 2))
            y = _encoder(graph, time_layer, y)
            if time_layer.plain:
                inject = y
            else:
                time_skips.append(y)
        if frequency and not layer.frequency:
            x, frequency = graph.add("Squeeze", x, row), False
        lengths.append(_size(graph, x, 2))
        x = _encoder(graph, layer, x, inject)
        if i == 0:
            (embedding,) = weights(graph, network, "freq_embedding")
            scale = graph.constant(network.embedding * EMBEDDING_FACTOR)
            embedding = graph.reshape(embedding, network.channels, -1, 1)
            x = graph.add("Add", x, graph.add("Mul", embedding, scale))
        skips.append(x)
    x = None  # zeros
    own = len(network.decoder) - len(network.time_decoder)
    for i, layer in enumerate(network.decoder):
        if layer.frequency and not frequency:
            x, frequency = graph.add("Unsqueeze", x, row), True
        x, before = _decoder(graph, layer, x, skips.pop(), lengths.pop())
        if i < own:
            continue
        time_layer, length = network.time_decoder[i - own], time_lengths.pop()
        if time_layer.plain:
            before = graph.add("Squeeze", before, row)
            y, _ = _decoder(graph, time_layer, before, length=length)
        else:
            y, _ = _decoder(graph, time_layer, y, time_skips.pop(), length)
    return graph.transpose(x, 0, 2, 3, 1), graph.transpose(y, 0, 2, 1)
