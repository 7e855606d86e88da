"""A separator's network, spectrogram to masks, as an OpenVINO graph.

Written operation by operation: a traced loop exported to OpenVINO does not
become a sequence operation again, and runs many times slower. Here each
direction of a recurrence is one `GRUSequence` or `LSTMSequence`.
"""

import numpy as np

from keras_bandit.inference.openvino_runtime import openvino
from keras_bandit.inference.openvino_runtime import opset13 as ov

# PyTorch's LayerNorm, as in `keras_bandit.layers.band_split`.
EPSILON = 1e-5

# Order of the gates in OpenVINO's operations, as places in ours: update,
# reset, new of (reset, update, new); forget, input, cell, output of (input,
# forget, cell, output).
_GATE_ORDER = {"gru": (1, 0, 2), "lstm": (1, 0, 2, 3)}

# A group's narrowest band has at least this share of its widest one: few
# groups, so few kernels to compile, and little padding.
_MIN_WIDTH_RATIO = 0.5


def build_graph(network, items, channels, frames, precision):
    """Builds the graph for one shape.

    Shapes are fixed, as chunks have one length: OpenVINO plans memory and
    kernels for them.

    Args:
        network: `Network`.
        items: int. Spectrograms at a time.
        channels: int. Channels of each that the bands hold together.
        frames: int.
        precision: `"float32"`, or `"bfloat16"` for the products of the
            recurrences, projections and decoders. Normalizations, band split
            and the residual sums, which carry the signal, stay in float32.

    Returns:
        `openvino.Model`. Input: `(items, channels, frames, 2 * bins)`
        float32, real and imaginary by turns. Outputs, named like the stems:
        complex masks of that shape.
    """
    graph = _Graph(items, channels, frames, network.n_fft // 2 + 1, precision)
    values = graph.values()
    features, results = {}, []
    for stem, encoder in network.encoders.items():
        if id(encoder) not in features:
            features[id(encoder)] = graph.encode(
                values, encoder, network.rnn_type
            )
        mask = graph.decode(
            features[id(encoder)], network.decoders[stem], encoder.bands
        )
        result = ov.result(mask)
        result.get_output_tensor(0).set_names({stem})
        results.append(result)
    return openvino.Model(results, [graph.spectrogram], "separator")


def _integers(*values):
    return ov.constant(np.array(values, "int64"))


def _float32(array):
    return ov.constant(np.ascontiguousarray(array, "float32"))


def _reshape(x, *shape):
    return ov.reshape(x, _integers(*shape), False)


def _transpose(x, *order):
    return ov.transpose(x, _integers(*order))


def _gather(x, index, axis):
    return ov.gather(
        x, ov.constant(np.asarray(index, "int32")), _integers(axis)
    )


def _standardize(x):
    """Zero mean and unit variance over the last axis."""
    return ov.mvn(x, _integers(-1), True, EPSILON, "INSIDE_SQRT")


def _group_by_size(sizes):
    """Members of groups of similar size, as lists of int; sizes descend."""
    groups = []
    for band in np.argsort(sizes, kind="stable")[::-1]:
        widest = sizes[groups[-1][0]] if groups else 0
        if not groups or sizes[band] < _MIN_WIDTH_RATIO * widest:
            groups.append([])
        groups[-1].append(int(band))
    return groups


def _padded(parts):
    """Stacks arrays of unequal first axis, padded with zeros."""
    width = max(map(len, parts))
    stacked = np.zeros((len(parts), width, *parts[0].shape[1:]), parts[0].dtype)
    for row, part in zip(stacked, parts, strict=True):
        row[: len(part)] = part
    return stacked


class _Graph:
    """Operations for one shape; `n` stands for items * frames."""

    def __init__(self, items, channels, frames, bins, precision):
        self.items = items
        self.channels = channels
        self.frames = frames
        self.bins = bins
        self.n = items * frames
        self.reduced = precision == "bfloat16"
        self.spectrogram = ov.parameter(
            [items, channels, frames, 2 * bins], np.float32, name="spectrogram"
        )

    # Precision

    def _weights(self, array):
        # Converted in the graph, where it takes no time: in Python, seconds.
        return self._reduce(_float32(array))

    def _reduce(self, x):
        return ov.convert(x, openvino.Type.bf16) if self.reduced else x

    def _restore(self, x):
        return ov.convert(x, openvino.Type.f32) if self.reduced else x

    # Encoder

    def values(self):
        """The spectrogram as `(n, channels * bins * 2)`."""
        x = self.spectrogram
        if self.channels > 1:
            x = _transpose(x, 0, 2, 1, 3)
        return _reshape(x, self.n, self.channels * self.bins * 2)

    def encode(self, values, encoder, rnn_type):
        """Features, `(bands, n, embed_dim)`."""
        bands, (_, embed_dim) = len(encoder.bands), encoder.kernel.shape
        items, frames = self.items, self.frames
        x = self._band_split(values, encoder)  # (bands, n, embed_dim)
        x = _reshape(x, bands, items, frames, embed_dim)
        for i, block in enumerate(encoder.blocks):
            over_bands = i % 2
            if over_bands:
                x = _reshape(x, items, bands, frames, embed_dim)
                x = _transpose(x, 0, 2, 1, 3)
                x = _reshape(x, self.n, bands, embed_dim)
            else:
                # From (bands, items, …) at first, then (items, frames, bands).
                x = _transpose(x, *((1, 0, 2, 3) if i == 0 else (0, 2, 1, 3)))
                x = _reshape(x, items * bands, frames, embed_dim)
            x = self._residual(x, block, rnn_type)
            if over_bands:
                x = _reshape(x, items, frames, bands, embed_dim)
        x = _reshape(x, self.n, bands, embed_dim)
        return _transpose(x, 1, 0, 2)

    def _band_split(self, values, encoder):
        """`(n, values)` → `(bands, n, embed_dim)`, in float32.

        The normalization's gamma and beta are part of the products: `(g * x
        + b) K = x (g K) + b K`.
        """
        sources = [
            np.concatenate(
                [
                    (c * self.bins + np.arange(band.start, band.stop)) * 2 + p
                    for c in range(self.channels)
                    for p in range(2)
                ]
            )
            for band in encoder.bands
        ]
        cuts = np.cumsum([len(source) for source in sources])[:-1]
        kernel = encoder.kernel.astype("float64")
        beta = encoder.beta.astype("float64")[:, None]
        kernels = np.split(kernel * encoder.gamma[:, None], cuts)
        shifts = [part.sum(axis=0) for part in np.split(beta * kernel, cuts)]
        bias = (encoder.bias + np.stack(shifts))[:, None]
        groups = _group_by_size([len(source) for source in sources])
        embedded = []
        for members in groups:
            index = _padded([sources[b] for b in members])
            valid = _padded([np.ones(len(sources[b])) for b in members])
            x = _reshape(
                _gather(values, index.ravel(), 1), self.n, *index.shape
            )
            x = self._standardize_padded(x, valid)
            weights = _float32(_padded([kernels[b] for b in members]))
            embedded.append(
                ov.matmul(_transpose(x, 1, 0, 2), weights, False, False)
            )
        order = np.argsort(np.concatenate(groups))
        return _gather(ov.concat(embedded, 0), order, 0) + _float32(bias)

    def _standardize_padded(self, x, valid):
        """`_standardize` of `(n, size, width)` where `valid (size, width)`.

        Means are sums of weighted values: a factor for each band after the
        sum gave NaN (OpenVINO 2026.4.1 fuses it into the sum, wrongly).
        """
        weights = _float32(valid / valid.sum(axis=-1, keepdims=True))
        valid = _float32(valid)
        mean = ov.reduce_sum(x * weights, _integers(-1), True)
        x = (x - mean) * valid
        # The weights sum to 1, so this is variance + EPSILON.
        square = (x * x + _float32(EPSILON)) * weights
        return x / ov.sqrt(ov.reduce_sum(square, _integers(-1), True))

    def _residual(self, x, block, rnn_type):
        """`(batch, steps, embed_dim)` → the same, one residual block on."""
        states = self._recurrence(
            self._reduce(_standardize(x)), block, rnn_type
        )
        y = ov.matmul(states, self._weights(block.projection), False, False)
        return x + (self._restore(y) + _float32(block.projection_bias))

    def _recurrence(self, x, block, rnn_type):
        """`(batch, steps, embed_dim)` → `(batch, steps, 2 * units)`.

        One operation a direction: as one bidirectional operation it took 10 %
        longer, for the transposition that joins its directions.
        """
        batch, steps, _ = x.get_output_shape(0)
        units = block.recurrent_kernel.shape[1]
        zeros = self._weights(np.zeros((batch, 1, units)))
        lengths = ov.constant(np.full(batch, steps, "int32"))
        weights = _recurrent_weights(block, rnn_type)
        states = []
        for direction, name in enumerate(("forward", "reverse")):
            w, r, b = (self._weights(x[direction, None]) for x in weights)
            if rnn_type == "gru":
                y = ov.gru_sequence(
                    x,
                    zeros,
                    lengths,
                    w,
                    r,
                    b,
                    units,
                    name,
                    linear_before_reset=True,
                )
            else:
                y = ov.lstm_sequence(
                    x, zeros, zeros, lengths, w, r, b, units, name
                )
            states.append(ov.squeeze(y.output(0), _integers(1)))
        return ov.concat(states, 2)

    # Decoder

    def decode(self, features, decoder, bands):
        """One stem's mask, `(items, channels, frames, 2 * bins)`."""
        gamma = decoder.gamma.astype("float64")[:, :, None]
        beta = decoder.beta.astype("float64")[:, None]
        kernel = gamma * decoder.hidden_kernel
        bias = decoder.hidden_bias[:, None] + beta @ decoder.hidden_kernel
        x = self._reduce(_standardize(features))
        x = ov.matmul(x, self._weights(kernel), False, False)
        x = ov.tanh(self._restore(x) + _float32(bias))
        return self._recombine(*self._band_masks(x, decoder, bands), bands)

    def _band_masks(self, hidden, decoder, bands):
        """Masks of all bands, values by rows.

        Bands' weights (eq. 12 of BandIt) are part of the products.

        Returns:
            `(rows, n)`, and for each band its first row.
        """
        sizes = [2 * self.channels * band.width for band in bands]
        starts = 2 * np.concatenate([[0], np.cumsum(sizes)])
        values, gates = [], []  # (size, mlp_dim + 1), the last is the bias
        rows = np.concatenate(
            [decoder.output_kernel, decoder.output_bias[:, None]], axis=1
        )
        for band, start, size in zip(bands, starts, sizes, strict=False):
            weights = np.tile(np.repeat(band.weights, 2), self.channels)
            values.append(rows[start : start + size] * weights[:, None])
            gates.append(rows[start + size : start + 2 * size])
        outputs, first, total = [], {}, 0
        for members in _group_by_size(sizes):
            x = self._reduce(_gather(hidden, members, 0))
            value, gate = (
                self._rows(x, _padded([part[b] for b in members]))
                for part in (values, gates)
            )
            x = value * ov.sigmoid(gate)  # (size, width, n)
            size, width, _ = x.get_output_shape(0)
            outputs.append(_reshape(x, size * width, self.n))
            first.update((b, total + i * width) for i, b in enumerate(members))
            total += size * width
        return ov.concat(outputs, 0), first

    def _rows(self, hidden, rows):
        """`(size, n, mlp_dim)` → `(size, width, n)`."""
        kernel, bias = rows[..., :-1], rows[..., -1:]
        x = ov.matmul(self._weights(kernel), hidden, False, True)
        return self._restore(x) + _float32(bias)

    def _recombine(self, masks, first, bands):
        """Sums the rows of each bin: `(rows, n)` → the spectrogram's shape."""
        covering = [[] for _ in range(self.bins)]
        for b, band in enumerate(bands):
            for i in range(band.width):
                covering[band.start + i].append((first[b], i, band.width))
        nowhere = masks.get_output_shape(0)[0]
        masks = ov.concat([masks, _float32(np.zeros((1, self.n)))], 0)
        total = None
        for level in range(max(map(len, covering))):
            # Many bands share few bins: only the span that has so many.
            deep = [f for f, e in enumerate(covering) if len(e) > level]
            low, high = (deep[0], deep[-1] + 1) if level else (0, self.bins)
            index = np.full((self.channels, high - low, 2), nowhere)
            for f in deep:
                start, i, width = covering[f][level]
                # Rows of a band: channel → bin → part.
                for c in range(self.channels):
                    row = start + 2 * (c * width + i)
                    index[c, f - low] = row, row + 1
            part = _gather(masks, index.reshape(self.channels, -1), 0)
            total = self._add_span(total, part, low, high)
        # (channels, 2 * bins, n)
        shape = (self.channels, 2 * self.bins, self.items, self.frames)
        return _transpose(_reshape(total, *shape), 2, 0, 3, 1)

    def _add_span(self, total, part, low, high):
        if total is None:
            return part
        before, after = 2 * low, 2 * (self.bins - high)
        if before or after:
            part = ov.pad(
                part,
                _integers(0, before, 0),
                _integers(0, after, 0),
                "constant",
                ov.constant(np.float32(0)),
            )
        return total + part


def _recurrent_weights(block, rnn_type):
    """Weights of a block's recurrence in OpenVINO's form.

    The normalization's gamma and beta before it are part of them.

    Returns:
        `(2, gates * units, embed_dim)`, `(2, gates * units, units)` and
        `(2, biases * units)`, float64.
    """
    order = _GATE_ORDER[rnn_type]

    def reordered(x):
        parts = np.split(x.astype("float64"), len(order), axis=-1)
        return [parts[gate] for gate in order]

    kernel = np.concatenate(reordered(block.kernel), -1)
    recurrent = np.concatenate(reordered(block.recurrent_kernel), -1)
    bias = reordered(block.bias + block.beta.astype("float64") @ block.kernel)
    recurrent_bias = reordered(block.recurrent_bias)
    biases = [b + c for b, c in zip(bias, recurrent_bias, strict=True)]
    if rnn_type == "gru":
        # The new gate's biases stay apart: the reset gate scales one of them.
        biases[-1:] = [bias[-1], recurrent_bias[-1]]
    kernel = kernel * block.gamma.astype("float64")[:, None]
    return (
        np.swapaxes(kernel, 1, 2),
        np.swapaxes(recurrent, 1, 2),
        np.concatenate(biases, -1),
    )
