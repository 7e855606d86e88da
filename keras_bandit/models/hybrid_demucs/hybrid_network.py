"""Both branches of Hybrid Demucs, from spectrogram and waveform to stems'."""

import functools

import keras
from keras import ops

from keras_bandit.models.hybrid_demucs.hybrid_demucs_layers import (
    BandedDecoder,
    BandedEncoder,
    DecoderLayer,
    EncoderLayer,
    group_norm,
)

EMBEDDING_FACTOR = 10.0
"""Stored embeddings are divided by it, so that they learn faster."""

KERNEL, STRIDE = 8, 4


class SmoothEmbedding(keras.initializers.Initializer):
    """Random walks over the bins, each bin scaled to one size."""

    def __call__(self, shape, dtype=None):
        steps = keras.random.normal(shape)
        place = ops.sqrt(ops.arange(1, shape[1] + 1, dtype="float32"))
        walk = ops.cumsum(steps, axis=1) / place
        return ops.cast(walk / EMBEDDING_FACTOR, dtype or "float32")


class HybridNetwork(keras.layers.Layer):
    """U-Nets over a spectrogram and a waveform that meet in the middle.

    Convolutions of the frequency branch run over bins until one row is left.
    There the time branch, which has as many steps as there are frames by then,
    is added, and deeper layers are shared. Each decoder layer adds the output
    of its encoder layer.

    Args:
        frequency_outputs, time_outputs: int. Channels that each branch
            returns.
        num_bins: int. Rows of the spectrogram, a power of two.
        channels: int. Of the first layer.
        growth: number. Each next layer has so many times as many.
        depth: int. Layers.
        norm_starts: int. First layer with group normalization.
        norm_groups: int.
        dconv_mode: int. 1: residual branches in encoders; 3: in decoders too.
        dconv_depth: int. Branches; branch `d` is dilated by `2**d`.
        dconv_compression, dconv_scale: of `ResidualBranch`.
        dconv_lstm, dconv_attention: int. First layers with each.
        embedding: float. Weight of the bins' embedding after the first layer.
        band_ratios: list of float. Where bands of rows with weights of their
            own end, but for the last band; empty: one band.
        banded_depth: int. Layers that have such bands.
        torchaudio_norm: bool. Whether there are the scales and shifts that
            torchaudio's port has at the end of the time encoder and does not
            use, not trained here.
        middle: layer from what both encoders return, `(batch, rows, frames,
            channels)` and `(batch, steps, channels)`, to what decoders begin
            with, of these shapes; rows are left then, and branches do not
            meet. `None`: they meet, and decoders begin with zeros.

    Call arguments:
        spectrogram: `(batch, bins, frames, features)`, normalized.
        waveform: `(batch, samples, channels)`, normalized.

    Returns:
        `(batch, bins, frames, frequency_outputs)` and `(batch, samples,
        time_outputs)`.

    Raises:
        ValueError: if there are too few layers to come to one row, or too
            many with a `middle`, or banded layers have normalization.
    """

    def __init__(
        self,
        frequency_outputs,
        time_outputs,
        num_bins,
        channels,
        growth,
        depth,
        norm_starts,
        norm_groups,
        dconv_mode,
        dconv_depth,
        dconv_compression,
        dconv_scale,
        dconv_lstm,
        dconv_attention,
        embedding,
        band_ratios,
        banded_depth,
        torchaudio_norm,
        middle=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.middle = middle
        self.embedding = embedding
        self.num_bins = num_bins
        self.channels = channels
        self.torchaudio_norm = torchaudio_norm
        self.encoder, self.time_encoder = [], []
        self.decoder, self.time_decoder = [], []
        rows, width, dtype = num_bins, channels, self.dtype_policy
        for i in range(depth):
            groups = norm_groups if i >= norm_starts else 0
            branches = [
                {
                    "dilation": 2**d,
                    "compression": dconv_compression,
                    "scale": dconv_scale,
                    "lstm": i >= dconv_lstm,
                    "attention": i >= dconv_attention,
                }
                for d in range(dconv_depth)
            ]
            frequency, merges = rows > 1, 1 < rows <= KERNEL
            banded = bool(band_ratios) and i < banded_depth
            if banded and (groups or not frequency or merges):
                raise ValueError(
                    "banded layers must have rows and no normalization; got "
                    f"banded_depth={banded_depth}, norm_starts={norm_starts}"
                )
            encoder, decoder = (
                functools.partial(
                    kind,
                    branches=branches if dconv_mode & side else [],
                    norm_groups=groups,
                    dtype=dtype,
                )
                for kind, side in ((EncoderLayer, 1), (DecoderLayer, 2))
            )
            # Kernel, stride, padding, whether along bins
            place = (KERNEL, STRIDE, 0 if banded else KERNEL // 4, True)
            time_place = (KERNEL, STRIDE, KERNEL // 4, False)
            if merges:
                place = (rows, STRIDE, 0, True)
                time_place = (rows, rows // 2, rows // 4, False)
            elif not frequency:
                place = (4, 2, 1, False)
            if frequency:
                ends = {"plain": merges, "name": f"time_encoder_{i}"}
                self.time_encoder.append(encoder(width, *time_place, **ends))
                ends |= {"last": i == 0, "name": f"time_decoder_of_{i}"}
                layer = decoder(time_outputs, *time_place, **ends)
                self.time_decoder.append(layer)
            encoder = functools.partial(encoder, width, *place)
            decoder = functools.partial(decoder, frequency_outputs, *place)
            if banded:
                bands = {"rows": rows, "ratios": band_ratios, "dtype": dtype}
                encoder = functools.partial(BandedEncoder, encoder, **bands)
                decoder = functools.partial(BandedDecoder, decoder, **bands)
            self.encoder.append(encoder(name=f"encoder_{i}"))
            name = f"decoder_{depth - 1 - i}"
            self.decoder.append(decoder(last=i == 0, name=name))
            if frequency:
                rows = 1 if merges else rows // STRIDE
            frequency_outputs = time_outputs = width
            width = int(growth * width)
        if (rows > 1) != (middle is not None):
            wanted = "one" if middle is None else "rows that are left"
            raise ValueError(
                f"depth must be so that {num_bins} bins come to {wanted}; got "
                f"depth={depth}"
            )
        self.decoder.reverse()
        self.time_decoder.reverse()

    def build(self, spectrogram_shape, waveform_shape):
        self.freq_embedding = self.add_weight(
            (self.channels, self.num_bins // STRIDE),
            SmoothEmbedding(),
            name="freq_embedding",
        )
        if self.torchaudio_norm:
            width, dtype = self.time_encoder[-1].filters, self.dtype_policy
            self.unused_norm = group_norm(width, 1, "unused_norm", dtype)
            self.unused_norm.trainable = False
        for layers, size in (
            (self.encoder + self.decoder, spectrogram_shape[-1]),
            (self.time_encoder, waveform_shape[-1]),
            (self.time_decoder, self.time_encoder[-1].filters),
        ):
            for layer in layers:
                dims = [None] * (2 if layer.frequency else 1)
                layer.build((None, *dims, size))
                size = layer.filters
        if self.middle is not None:
            size = self.encoder[-1].filters
            self.middle.build((None, None, None, size), (None, None, size))

    def call(self, spectrogram, waveform):
        x, y = spectrogram, waveform
        skips, lengths, time_skips, time_lengths = [], [], [], []
        for i, layer in enumerate(self.encoder):
            inject = None
            if i < len(self.time_encoder):
                time_layer = self.time_encoder[i]
                time_lengths.append(ops.shape(y)[1])
                y = time_layer(y)
                if time_layer.plain:
                    inject = y  # as many steps as the other has frames
                else:
                    time_skips.append(y)
            if not layer.frequency and len(x.shape) == 4:
                x = x[:, 0]  # one row is left
            lengths.append(ops.shape(x)[1])
            x = layer(x, inject=inject)
            if i == 0:
                scale = self.embedding * EMBEDDING_FACTOR
                embedding = ops.transpose(self.freq_embedding)
                x = x + scale * embedding[:, None]
            skips.append(x)
        if self.middle is None:
            x = ops.zeros_like(x)
        else:
            x, y = self.middle(x, y)
        own = len(self.decoder) - len(self.time_decoder)
        for i, layer in enumerate(self.decoder):
            if layer.frequency and len(x.shape) == 3:
                x = x[:, None]
            x, before = layer(x, skips.pop(), length=lengths.pop())
            if i < own:
                continue
            time_layer, length = self.time_decoder[i - own], time_lengths.pop()
            if time_layer.plain:
                y, _ = time_layer(before[:, 0], length=length)
            else:
                y, _ = time_layer(y, time_skips.pop(), length=length)
        return ops.cast(x, "float32"), ops.cast(y, "float32")

    def compute_output_spec(self, spectrogram, waveform):
        outputs = (self.decoder[-1].filters, self.time_decoder[-1].filters)
        return tuple(
            keras.KerasTensor((*x.shape[:-1], size), "float32")
            for x, size in zip((spectrogram, waveform), outputs, strict=True)
        )
