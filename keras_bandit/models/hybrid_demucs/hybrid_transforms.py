"""Hybrid Demucs's spectrogram: as many frames as hops, Nyquist left out."""

import keras
import numpy as np
from keras import ops

from keras_bandit.layers import ISTFT, STFT
from keras_bandit.layers.magnitude import stft_scale

EDGE_FRAMES = 2
"""Frames at either end that lie in the padding and are left out."""


@keras.saving.register_keras_serializable(package="keras_bandit")
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
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.n_fft = n_fft
        self.zeros = zeros
        self.hop_length = n_fft // 4
        self.stft = STFT(n_fft, self.hop_length, "reflect", name="stft")
        self.scale = stft_scale(n_fft) / np.sqrt(n_fft)

    def build(self, waveform_shape):
        self.stft.build(waveform_shape)

    def call(self, waveform):
        hop, samples = self.hop_length, ops.shape(waveform)[-1]
        frames = -(-samples // hop)
        left = 3 * hop // 2
        right = left + frames * hop - samples
        x = waveform
        if not self.zeros:
            # What is too short to be reflected gets zeros first.
            low, high = min, max
            if not isinstance(samples, int):
                low, high = ops.minimum, ops.maximum
            zeros = high(right + 1 - samples, 0)  # the right end is longer
            after = low(right, zeros)
            before = zeros - after
            x = ops.pad(x, [[0, 0], [0, 0], [before, after]])
            left, right = left - before, right - after
        mode = "constant" if self.zeros else "reflect"
        x = ops.pad(x, [[0, 0], [0, 0], [left, right]], mode=mode)
        x = self.stft(x)[:, :, EDGE_FRAMES : EDGE_FRAMES + frames, :-1]
        return float(self.scale) * x

    def compute_output_shape(self, waveform_shape):
        batch, channels, samples = waveform_shape
        frames = None if samples is None else -(-samples // self.hop_length)
        return (batch, channels, frames, self.n_fft // 2, 2)


@keras.saving.register_keras_serializable(package="keras_bandit")
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
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.n_fft = n_fft
        self.zeros = zeros
        self.hop_length = n_fft // 4
        self.istft = ISTFT(n_fft, self.hop_length, name="istft")
        self.scale = stft_scale(n_fft) / np.sqrt(n_fft)

    def build(self, spectrogram_shape, waveform_shape):
        self.istft.build(spectrogram_shape)

    def call(self, spectrogram, waveform):
        edge = [EDGE_FRAMES, EDGE_FRAMES]
        x = ops.pad(spectrogram, [[0, 0], [0, 0], edge, [0, 1], [0, 0]])
        x = self.istft(x / float(self.scale))
        start = 0 if self.zeros else 3 * self.hop_length // 2
        return x[..., start : start + ops.shape(waveform)[-1]]

    def compute_output_shape(self, spectrogram_shape, waveform_shape):
        batch, channels = spectrogram_shape[:2]
        return (batch, channels, waveform_shape[-1])


def mean_and_deviation(x):
    """Of each item, over all other axes; the deviation is the unbiased one."""
    axes = tuple(range(1, len(x.shape)))
    mean = ops.mean(x, axis=axes, keepdims=True)
    count = ops.cast(ops.size(x) // ops.shape(x)[0], "float32")
    square = ops.sum(ops.square(x - mean), axis=axes, keepdims=True)
    return mean, ops.sqrt(square / (count - 1))


@keras.saving.register_keras_serializable(package="keras_bandit")
class Normalize(keras.layers.Layer):
    """Zero mean, unit deviation of each item; returns both with it."""

    def __init__(self, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)

    def call(self, x):
        mean, deviation = mean_and_deviation(x)
        return (x - mean) / (1e-5 + deviation), mean, deviation

    def compute_output_shape(self, x_shape):
        ones = (x_shape[0], *[1] * (len(x_shape) - 1))
        return (x_shape, ones, ones)


@keras.saving.register_keras_serializable(package="keras_bandit")
class ToFeatures(keras.layers.Layer):
    """A spectrogram with channels last: real and imaginary parts, or levels.

    Args:
        complex_as_channels: bool.

    Call arguments:
        spectrogram: `(batch, channels, frames, bins, 2)`.

    Returns:
        `(batch, bins, frames, features)`, channel after channel.
    """

    def __init__(self, complex_as_channels, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.complex_as_channels = complex_as_channels

    def call(self, spectrogram):
        if not self.complex_as_channels:
            power = ops.sum(ops.square(spectrogram), axis=-1, keepdims=True)
            spectrogram = ops.sqrt(ops.maximum(power, 1e-30))
        batch, channels, frames, bins, parts = ops.shape(spectrogram)
        x = ops.transpose(spectrogram, (0, 3, 2, 1, 4))
        return ops.reshape(x, (batch, bins, frames, channels * parts))

    def compute_output_shape(self, spectrogram_shape):
        batch, channels, frames, bins, _ = spectrogram_shape
        features = channels * (2 if self.complex_as_channels else 1)
        return (batch, bins, frames, features)


@keras.saving.register_keras_serializable(package="keras_bandit")
class ToSpectrograms(keras.layers.Layer):
    """The network's output as a spectrogram for each stem.

    Levels get the mixture's phase.

    Args:
        num_stems: int.
        complex_as_channels: bool.

    Call arguments:
        features: `(batch, bins, frames, stems * channels * parts)`.
        mixture: `(batch, channels, frames, bins, 2)`.

    Returns:
        list of spectrograms shaped like the mixture's.
    """

    def __init__(self, num_stems, complex_as_channels, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.num_stems = num_stems
        self.complex_as_channels = complex_as_channels

    def call(self, features, mixture):
        batch, channels, frames, bins, _ = ops.shape(mixture)
        parts = 2 if self.complex_as_channels else 1
        x = ops.reshape(
            features, (batch, bins, frames, self.num_stems, channels, parts)
        )
        x = ops.transpose(x, (3, 0, 4, 2, 1, 5))
        if not self.complex_as_channels:
            power = ops.sum(ops.square(mixture), axis=-1, keepdims=True)
            level = ops.sqrt(ops.maximum(power, 1e-30))
            x = x * (mixture / level)
        return ops.unstack(x, self.num_stems, axis=0)

    def compute_output_spec(self, features, mixture):
        return [
            keras.KerasTensor(mixture.shape, "float32")
            for _ in range(self.num_stems)
        ]
