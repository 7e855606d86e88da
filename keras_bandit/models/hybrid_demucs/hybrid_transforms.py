"""Hybrid Demucs's spectrogram: as many frames as hops, Nyquist left out."""

import keras
import numpy as np
from keras import ops

from keras_bandit.common.numpy_spectral import stft_scale
from keras_bandit.layers import ISTFT, STFT
from keras_bandit.layers.magnitude import Magnitude, with_phase_of
from keras_bandit.models.hybrid_demucs.numpy_transforms import EDGE_FRAMES


class HybridSTFT(keras.layers.Layer):
    """A transform whose frame `t` is centred on sample `(t + 1/2) hop`.

    The hop is a quarter of a frame, so that as many strides of 4 and 2 as the
    encoder has make the same number of steps of samples and of frames.

    Args:
        n_fft: int.
        zeros: bool. Whether the waveform's ends are padded with zeros before
            the transform, not reflected.

    Call arguments:
        waveform: `(batch, channels, samples)`.

    Returns:
        `(batch, channels, frames, bins, 2)`, `frames = ceil(samples / hop)`
        and `bins = n_fft / 2`; divided by `sqrt(n_fft)`.
    """

    def __init__(self, n_fft, zeros=False, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.zeros = zeros
        self.num_bins, self.hop_length = n_fft // 2, n_fft // 4
        self.stft = STFT(n_fft, self.hop_length, "reflect", name="stft")
        self.scale = stft_scale(n_fft) / float(np.sqrt(n_fft))

    def build(self, waveform_shape):
        self.stft.build(waveform_shape)

    def call(self, waveform):
        hop, samples = self.hop_length, ops.shape(waveform)[-1]
        frames = -(-samples // hop)
        left = 3 * hop // 2
        right = left + frames * hop - samples
        x, sides = waveform, [[0, 0], [0, 0]]
        if not self.zeros:
            # What is too short to be reflected gets zeros, at the end first.
            low, high = min, max
            if not isinstance(samples, int):
                low, high = ops.minimum, ops.maximum
            lacking = high(right + 1 - samples, 0)  # `right` is the longer
            after = low(right, lacking)
            before = lacking - after
            x = ops.pad(x, [*sides, [before, after]])
            left, right = left - before, right - after
        mode = "constant" if self.zeros else "reflect"
        x = ops.pad(x, [*sides, [left, right]], mode=mode)
        x = self.stft(x)[:, :, EDGE_FRAMES : EDGE_FRAMES + frames, :-1]
        return self.scale * x

    def compute_output_shape(self, waveform_shape):
        *leading, samples = waveform_shape
        frames = None if samples is None else -(-samples // self.hop_length)
        return (*leading, frames, self.num_bins, 2)


class HybridISTFT(keras.layers.Layer):
    """Back from `HybridSTFT`'s spectrograms.

    Args:
        n_fft, zeros: as `HybridSTFT`; with `zeros` the output comes 1.5 hops
            late, as in the models that were trained so.

    Call arguments:
        spectrogram: `(batch, channels, frames, bins, 2)`.
        waveform: tensor `(…, samples)` whose length the output takes.

    Returns:
        `(batch, channels, samples)`.
    """

    def __init__(self, n_fft, zeros=False, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.start = 0 if zeros else 3 * n_fft // 8
        self.istft = ISTFT(n_fft, n_fft // 4, name="istft")
        self.scale = float(np.sqrt(n_fft)) / stft_scale(n_fft)

    def build(self, spectrogram_shape, waveform_shape):
        self.istft.build(spectrogram_shape)

    def call(self, spectrogram, waveform):
        edges = [EDGE_FRAMES, EDGE_FRAMES]
        x = ops.pad(spectrogram, [[0, 0], [0, 0], edges, [0, 1], [0, 0]])
        x = self.istft(self.scale * x)
        return x[..., self.start : self.start + ops.shape(waveform)[-1]]

    def compute_output_shape(self, spectrogram_shape, waveform_shape):
        return (*spectrogram_shape[:2], waveform_shape[-1])


class PadTo(keras.layers.Layer):
    """Zeros after a waveform, but in training.

    Args:
        samples: int, of what is returned.

    Call arguments:
        waveform: `(batch, channels, samples)`.

    Raises:
        ValueError: if the waveform is longer.
    """

    def __init__(self, samples, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.samples = samples

    def call(self, waveform, training=None):
        if training:
            return waveform
        samples = ops.shape(waveform)[-1]
        lacking = self.samples - samples
        if not isinstance(samples, int):
            lacking = ops.maximum(lacking, 0)
        elif lacking < 0:
            raise ValueError(
                f"waveforms must have at most {self.samples} samples, as the "
                f"model was trained at; got {samples}"
            )
        return ops.pad(waveform, [[0, 0], [0, 0], [0, lacking]])

    def compute_output_shape(self, waveform_shape):
        return (*waveform_shape[:-1], None)


class CutTo(keras.layers.Layer):
    """The first samples of `inputs`, as many as `waveform` has."""

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})

    def call(self, inputs, waveform):
        return inputs[..., : ops.shape(waveform)[-1]]

    def compute_output_shape(self, inputs_shape, waveform_shape):
        return (*inputs_shape[:-1], waveform_shape[-1])


class Normalize(keras.layers.Layer):
    """Zero mean and unit deviation, the unbiased one, of each item.

    Call arguments:
        inputs: `(batch, …)`.

    Returns:
        the normalized inputs, the means and the deviations.
    """

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})

    def call(self, inputs):
        axes = tuple(range(1, len(inputs.shape)))
        mean = ops.mean(inputs, axes, keepdims=True)
        square = ops.sum(ops.square(inputs - mean), axes, keepdims=True)
        count = ops.cast(ops.size(inputs) // ops.shape(inputs)[0], "float32")
        deviation = ops.sqrt(square / (count - 1))
        return (inputs - mean) / (1e-5 + deviation), mean, deviation

    def compute_output_shape(self, inputs_shape):
        ones = (inputs_shape[0], *[1] * (len(inputs_shape) - 1))
        return inputs_shape, ones, ones


def to_features(spectrogram, complex_as_channels):
    """A spectrogram's real and imaginary parts, or magnitudes, as channels.

    `(batch, channels, frames, bins, 2)` to `(batch, bins, frames, features)`,
    channel after channel.
    """
    if not complex_as_channels:
        return ops.transpose(Magnitude(1.0)(spectrogram), (0, 3, 2, 1))
    x = ops.transpose(spectrogram, (0, 3, 2, 1, 4))
    channels = [x[:, :, :, c] for c in range(x.shape[3])]
    return ops.concatenate(channels, axis=-1)


def to_spectrograms(features, mixture, complex_as_channels):
    """Undoes `to_features`, for several stems' channels in one axis.

    Magnitudes get the mixture's phase.
    """
    x = ops.transpose(features, (0, 3, 2, 1))
    if complex_as_channels:
        return ops.stack([x[:, 0::2], x[:, 1::2]], axis=-1)
    stems = x.shape[1] // mixture.shape[1]
    return with_phase_of(ops.concatenate([mixture] * stems, axis=1), x)


def split_stems(waveforms, stems):
    """`(batch, stems * channels, samples)` to `{stem: its channels}`."""
    channels = waveforms.shape[1] // len(stems)
    return {
        # Keras names an output after its layer.
        stem: keras.layers.Identity(name=stem)(
            waveforms[:, i * channels : (i + 1) * channels]
        )
        for i, stem in enumerate(stems)
    }
