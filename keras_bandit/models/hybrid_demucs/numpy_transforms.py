"""What stands around Hybrid Demucs's core, in NumPy.

See `models/core_transforms.py`; the transforms are those of
`hybrid_transforms.py`.
"""

import numpy as np

from keras_bandit.common.numpy_spectral import (
    as_pairs,
    hann_window,
    istft,
    stft_scale,
)

EDGE_FRAMES = 2
"""Frames at either end that lie in the padding and are left out."""


class HybridTransforms:
    """A normalized spectrogram and waveform, and all stems' of both.

    Args:
        stems: list of str.
        sources: list of str, the model's stems.
        n_fft, complex_as_channels, hybrid_old: as in
            `HybridDemucsAudioSeparator`.
    """

    inputs = ("spectrogram", "waveform")
    outputs = ("spectrograms", "waveforms")

    def __init__(self, stems, sources, n_fft, complex_as_channels, hybrid_old):
        self.stems = stems
        self.sources = sources
        self.n_fft = n_fft
        self.complex_as_channels = complex_as_channels
        self.hybrid_old = hybrid_old

    def start(self, waveform):
        mixture = hybrid_stft(waveform, self.n_fft, self.hybrid_old)
        x = as_pairs(mixture)
        if not self.complex_as_channels:
            x = np.maximum(np.abs(mixture), 1e-15)[..., None]
        x, mean, deviation = normalized(x)
        y, time_mean, time_deviation = normalized(waveform)
        channels, samples = waveform.shape[1:]

        def finish(outputs):
            estimates = {}
            for stem in self.stems:
                first = self.sources.index(stem) * channels
                here = slice(first, first + channels)
                x = outputs["spectrograms"][:, here] * deviation + mean
                if self.complex_as_channels:
                    x = x.view("complex64")[..., 0]
                else:
                    x = x[..., 0] * phase_of(mixture)
                y = outputs["waveforms"][:, here]
                estimates[stem] = (
                    hybrid_istft(x, self.n_fft, self.hybrid_old, samples)
                    + y * time_deviation
                    + time_mean
                )
            return estimates

        return {"spectrogram": x, "waveform": y}, finish


def hybrid_stft(waveform, n_fft, zeros):
    """`HybridSTFT`: `(batch, channels, frames, bins)` complex64."""
    hop, samples = n_fft // 4, waveform.shape[-1]
    frames = -(-samples // hop)
    left = 3 * hop // 2
    right = left + frames * hop - samples
    x, sides = waveform, [(0, 0), (0, 0)]
    if not zeros:
        # What is too short to be reflected gets zeros, at the end first.
        lacking = max(right + 1 - samples, 0)
        after = min(right, lacking)
        before = lacking - after
        x = np.pad(x, [*sides, (before, after)])
        left, right = left - before, right - after
    x = np.pad(x, [*sides, (left, right)], "constant" if zeros else "reflect")
    x = np.lib.stride_tricks.sliding_window_view(x, n_fft, axis=-1)
    window = (hann_window(n_fft) / np.sqrt(n_fft)).astype("float32")
    return np.fft.rfft(x[..., ::hop, :] * window)[..., :-1]


def hybrid_istft(spectrogram, n_fft, zeros, samples):
    """`HybridISTFT`: `(batch, channels, samples)`."""
    start = 0 if zeros else 3 * n_fft // 8
    edges = (EDGE_FRAMES, EDGE_FRAMES)
    x = np.pad(spectrogram, [(0, 0), (0, 0), edges, (0, 0)])
    x = istft(x, n_fft, n_fft // 4, start + samples)[..., start:]
    return x * np.float32(np.sqrt(n_fft) / stft_scale(n_fft))


def normalized(x):
    """`Normalize`: of each item, with its mean and deviation."""
    axes = tuple(range(1, x.ndim))
    mean = x.mean(axis=axes, keepdims=True)
    deviation = x.std(axis=axes, ddof=1, keepdims=True)
    return (x - mean) / (np.float32(1e-5) + deviation), mean, deviation


def phase_of(mixture):
    """Phases as complex64 of magnitude 1; 1 where the mixture is silent."""
    level = np.abs(mixture)
    loud = level > 1e-18
    return np.where(loud, mixture / np.where(loud, level, 1), np.complex64(1))
