"""What stands around the core of an Open-Unmix with its filter, in NumPy.

See `models/core_transforms.py`; the filter is that of `wiener.py`.
"""

import numpy as np

from keras_bandit.common.numpy_spectral import (
    as_pairs,
    istft,
    stft,
    stft_scale,
)

RESIDUAL = "residual"
"""Name of the stem that the named ones leave."""

EPSILON = 1e-10
LOUDEST = 10.0
"""Mixtures are scaled so that no bin is above it while the filter is found."""

# Bins that are filtered at a time: their arrays stay in the processor's cache.
_BINS = 64


class WienerTransforms:
    """A spectrogram, and real masks that are filtered together.

    Args:
        stems: list of str.
        sources: list of str, stems that have a mask. Another one is the rest.
        stft: dict, arguments of `numpy_spectral.stft`.
        niter, softmask, residual, window_frames: as in `WienerFilter`.
    """

    inputs = ("spectrogram",)

    def __init__(
        self, stems, sources, stft, niter, softmask, residual, window_frames
    ):
        self.stems = stems
        self.sources = sources
        self.stft = stft
        self.settings = niter, softmask, residual
        self.window_frames = window_frames
        self.outputs = [f"mask_{stem}" for stem in sources]

    def start(self, waveform):
        spectrogram = stft(waveform, **self.stft)
        batch, channels, frames, _ = spectrogram.shape
        niter, _, residual = self.settings
        if niter and channels > 2:
            raise ValueError(
                f"the Wiener filter takes one or two channels; got {channels}"
            )

        def finish(outputs):
            masks = [outputs[name][..., 0] for name in self.outputs]
            scale = np.float32(stft_scale(self.stft["n_fft"]))
            count = len(masks) + residual
            filtered = np.empty((count, *spectrogram.shape), "complex64")
            length = self.window_frames or frames
            for item in range(batch):
                for start in range(0, frames, length):
                    here = item, slice(None), slice(start, start + length)
                    filtered[:, *here] = (
                        wiener(
                            scale * spectrogram[here],
                            np.stack([mask[here] for mask in masks]),
                            *self.settings,
                        )
                        / scale
                    )
            names = [*self.sources, RESIDUAL]
            return {
                stem: istft(
                    filtered[names.index(stem)],
                    self.stft["n_fft"],
                    self.stft["hop_length"],
                    waveform.shape[-1],
                )
                for stem in self.stems
            }

        return {"spectrogram": as_pairs(spectrogram)}, finish


def wiener(mixture, masks, niter, softmask, residual):
    """`wiener` of `wiener.py` on one window.

    `mixture` is `(channels, frames, bins)` complex64, `masks` `(sources,
    channels, frames, bins)`; returns their shape, one source more if
    `residual`.
    """
    peak = np.sqrt(squared(mixture).max())
    gain = max(peak / np.float32(LOUDEST), np.float32(1))
    count = len(masks) + residual
    filtered = np.empty((count, *mixture.shape), "complex64")
    for start in range(0, mixture.shape[-1], _BINS):
        here = (..., slice(start, start + _BINS))
        x = mixture[here]
        shares = masks[here]
        if softmask:
            magnitudes = np.abs(x) * shares
            shares = magnitudes / (EPSILON + magnitudes.sum(axis=0))
        y = shares * x
        if residual:
            y = np.concatenate([y, (x - y.sum(axis=0))[None]])
        if niter:
            x, y = x / gain, y / gain
            for _ in range(niter):
                y = filter_once(y, x)
            y *= gain
        filtered[here] = y
    return filtered


def squared(x):
    return x.real**2 + x.imag**2


def filter_once(sources, mixture):
    """`filter_once` of `wiener.py`; of one channel, too.

    `(sources, channels, frames, bins)` and `(channels, frames, bins)`.
    """
    channels = len(mixture)
    powers = [squared(sources[:, c]) for c in range(channels)]
    v = sum(powers) / np.float32(channels)
    total = np.float32(EPSILON) + v.sum(axis=1, keepdims=True)
    floor = np.float32(np.sqrt(EPSILON))
    r00 = powers[0].sum(axis=1, keepdims=True) / total
    c00 = (v * r00).sum(axis=0) + floor
    if channels == 1:
        return (v * r00 * (mixture[0] / c00))[:, None]
    y0, y1 = sources[:, 0], sources[:, 1]
    x0, x1 = mixture
    r11 = powers[1].sum(axis=1, keepdims=True) / total
    r01 = (y0 * y1.conj()).sum(axis=1, keepdims=True) / total
    c11 = (v * r11).sum(axis=0) + floor
    c01 = (v * r01).sum(axis=0)
    determinant = c00 * c11 - squared(c01)
    z0 = (c11 * x0 - c01 * x1) / determinant
    z1 = (c00 * x1 - c01.conj() * x0) / determinant
    y0 = v * (r00 * z0 + r01 * z1)
    y1 = v * (r11 * z1 + r01.conj() * z0)
    return np.stack([y0, y1], axis=1)
