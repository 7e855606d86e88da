"""Both branches of Hybrid Demucs, from spectrogram and waveform to stems'."""

import keras
from keras import ops

from keras_bandit.models.hybrid_demucs.hybrid_demucs_layers import (
    DecoderLayer,
    EncoderLayer,
)

EMBEDDING_FACTOR = 10.0
"""Stored embeddings are divided by it, so that they learn faster."""


class SmoothEmbedding(keras.initializers.Initializer):
    """Random walks over the bins, each bin scaled to one size."""

    def __call__(self, shape, dtype=None):
        steps = keras.random.normal(shape)
        place = ops.sqrt(ops.arange(1, shape[1] + 1, dtype="float32"))
        walk = ops.cumsum(steps, axis=1) / place
        return ops.cast(walk / EMBEDDING_FACTOR, dtype or "float32")


@keras.saving.register_keras_serializable(package="keras_bandit")
class HybridNetwork(keras.layers.Layer):
    """U-Nets over a spectrogram and a waveform that meet in the middle.

    Convolutions of the frequency branch run over bins until one row is left.
    There the time branch, which has as many steps as there are frames by then,
    is added, and deeper layers are shared. Each decoder layer adds the output
    of its encoder layer.

    Args:
        frequency_outputs: int. Channels that the frequency branch returns.
        time_outputs: int.
        num_bins: int. Rows of the spectrogram, a power of two.
        channels: int. Of the first layer; each next one has `growth` times
            as many.
        growth: int.
        depth: int. Layers.
        norm_starts: int. First layer with group normalization.
        norm_groups: int.
        dconv_mode: int. 1: residual branches in encoders; 3: in decoders too.
        dconv: dict. `depth`, `compression` and `scale` of `DConv`.
        dconv_lstm, dconv_attention: int. First layers with each.
        embedding: float. Weight of the bins' embedding after the first layer.

    Call arguments:
        spectrogram: `(batch, bins, frames, features)`, normalized.
        waveform: `(batch, samples, channels)`, normalized.

    Returns:
        `(batch, bins, frames, frequency_outputs)` and `(batch, samples,
        time_outputs)`.
    """

    kernel, stride = 8, 4

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
        dconv,
        dconv_lstm,
        dconv_attention,
        embedding,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.embedding = embedding
        self.num_bins = num_bins
        self.channels = channels
        self.encoder, self.time_encoder = [], []
        self.decoder, self.time_decoder = [], []
        rows, width = num_bins, channels
        outputs, time_outputs = frequency_outputs, time_outputs
        for i in range(depth):
            groups = norm_groups if i >= norm_starts else 0
            branches = {
                **dconv,
                "lstm": i >= dconv_lstm,
                "attention": i >= dconv_attention,
            }
            of_decoder = branches if dconv_mode & 2 else None
            frequency = rows > 1
            last_row = frequency and rows <= self.kernel
            kernel, stride = self.kernel, self.stride
            if not frequency:
                kernel, stride = 4, 2
            elif last_row:
                kernel = rows
            padding = 0 if last_row else kernel // 4
            layer = (kernel, stride, padding, frequency, groups)
            in_time = (self.kernel, self.stride, self.kernel // 4, False)
            first = i == 0
            self.encoder.append(
                EncoderLayer(
                    width,
                    *layer,
                    branches,
                    dtype=self.dtype_policy,
                    name=f"encoder_{i}",
                )
            )
            self.decoder.insert(
                0,
                DecoderLayer(
                    outputs,
                    *layer,
                    of_decoder,
                    False,
                    first,
                    dtype=self.dtype_policy,
                    name=f"decoder_{depth - 1 - i}",
                ),
            )
            if frequency:
                self.time_encoder.append(
                    EncoderLayer(
                        width,
                        *in_time,
                        groups,
                        None if last_row else branches,
                        dtype=self.dtype_policy,
                        name=f"time_encoder_{i}",
                    )
                )
                self.time_decoder.insert(
                    0,
                    DecoderLayer(
                        time_outputs,
                        *in_time,
                        groups,
                        None if last_row else of_decoder,
                        last_row,
                        first,
                        dtype=self.dtype_policy,
                        name=f"time_decoder_of_{i}",
                    ),
                )
            outputs = time_outputs = width
            width *= growth
            if frequency:
                rows = 1 if last_row else rows // self.stride

    def build(self, spectrogram_shape, waveform_shape):
        self.freq_embedding = self.add_weight(
            (self.channels, self.num_bins // self.stride),
            SmoothEmbedding(),
            name="freq_embedding",
        )
        size, time_size = spectrogram_shape[-1], waveform_shape[-1]
        for i, layer in enumerate(self.encoder):
            dims = [None] * (2 if layer.frequency else 1)
            layer.build((None, *dims, size))
            size = layer.filters
            if i < len(self.time_encoder):
                self.time_encoder[i].build((None, None, time_size))
                time_size = self.time_encoder[i].filters
        for layer in self.decoder:
            dims = [None] * (2 if layer.frequency else 1)
            layer.build((None, *dims, size))
            size = layer.filters
        for layer in self.time_decoder:
            layer.build((None, None, time_size))
            time_size = layer.filters

    def call(self, spectrogram, waveform):
        x, y = spectrogram, waveform
        skips, lengths, time_skips, time_lengths = [], [], [], []
        for i, layer in enumerate(self.encoder):
            inject = None
            if i < len(self.time_encoder):
                time_lengths.append(ops.shape(y)[1])
                y = self.time_encoder[i](y)
                if self.time_encoder[i].branches is None:
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
        x = ops.zeros_like(x)
        own = len(self.decoder) - len(self.time_decoder)
        for i, layer in enumerate(self.decoder):
            if layer.frequency and len(x.shape) == 3:
                x = x[:, None]
            x, before = layer(x, skips.pop(), length=lengths.pop())
            if i < own:
                continue
            time_layer, length = self.time_decoder[i - own], time_lengths.pop()
            if time_layer.empty:
                y, _ = time_layer(before[:, 0], length=length)
            else:
                y, _ = time_layer(y, time_skips.pop(), length=length)
        return x, y

    def compute_output_spec(self, spectrogram, waveform):
        outputs = (self.decoder[-1].filters, self.time_decoder[-1].filters)
        return tuple(
            keras.KerasTensor((*x.shape[:-1], size), "float32")
            for x, size in zip((spectrogram, waveform), outputs, strict=True)
        )
