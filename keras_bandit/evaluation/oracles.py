"""Oracles: the mixture, masked by what only the target can tell."""

from __future__ import annotations

import numpy as np

from keras_bandit.common.checks import check_choice
from keras_bandit.common.numpy_spectral import framed, overlap_add, unit_window

# Below this magnitude the phase of a bin means nothing; the authors leave such
# bins as they are.
_SILENT_BIN = 1e-8

_BLOCK_FRAMES = 512  # transformed at a time: some 10 MB per channel

# Numerator and denominator of a mask: functions of the spectrograms S of the
# target, X of the mixture and N = X - S.
_RATIOS = {
    "irm": lambda s, n, x: (abs(s), abs(s) + abs(n)),
    "wiener": lambda s, n, x: (abs(s) ** 2, abs(s) ** 2 + abs(n) ** 2),
    "iam": lambda s, n, x: (abs(s), abs(x)),
    # |S| |X| cos(∠S - ∠X) is the real part of S X*.
    "psf": lambda s, n, x: ((s * x.conj()).real, abs(x) ** 2),
}

ORACLES = (*_RATIOS, "ibm")
"""Ideal ratio, Wiener and amplitude mask, phase-sensitive filter, and the
ideal binary mask, which is 1 where `abs(S) > abs(N)`."""


def ideal_mask(name, target, mixture):
    """A mask that knows the target; all are complex spectrograms of one shape.

    Ratios are 1 where the mixture is silent, as in the authors'
    `core/model/oracle/idealmask.py` (`karnwatcharasupat/bandit` at 735a57c).
    """
    residual = mixture - target
    if name == "ibm":
        return (abs(target) > abs(residual)).astype(target.real.dtype)
    numerator, denominator = _RATIOS[name](target, residual, mixture)
    mask = np.ones_like(numerator)
    audible = abs(mixture) >= _SILENT_BIN
    return np.divide(numerator, denominator, out=mask, where=audible)


def oracle_estimate(
    name: str,
    mixture: np.ndarray,
    target: np.ndarray,
    n_fft: int = 2048,
    hop_length: int = 512,
) -> np.ndarray:
    """Separates a whole track with a mask that knows the target.

    The transform is `keras_bandit.layers.STFT`'s with zero padding, block by
    block, because the spectrograms of a song take gigabytes. With orthogonal signals (no bin in which both target and residual have
    energy) every oracle returns the target.

    Args:
        name: str, one of `ORACLES`.
        mixture: `(channels, samples)` float32. Channels are independent.
        target: float32 of the same shape.
        n_fft: int, even. Frame length in samples.
        hop_length: int. Samples between frames; divides `n_fft`, at least
            three to a frame.

    Returns:
        `(channels, samples)` float32.

    Raises:
        ValueError: for an unknown name or different shapes.
    """
    check_choice("oracle", name, ORACLES)
    if mixture.shape != target.shape or mixture.ndim != 2:
        raise ValueError(
            "mixture and target must have one shape (channels, samples); got "
            f"{mixture.shape} and {target.shape}"
        )
    samples = mixture.shape[-1]
    # The window has unit energy: `_SILENT_BIN` is meant for bins of that scale.
    window = unit_window(n_fft)
    mixture, target = (
        framed(x.astype("float32", copy=False), n_fft, hop_length)
        for x in (mixture, target)
    )
    num_frames = mixture.shape[1]
    weight = np.broadcast_to(window**2, (num_frames, n_fft))
    weight = overlap_add(weight, hop_length)
    total = np.zeros((len(mixture), len(weight)), "float32")
    for start in range(0, num_frames, _BLOCK_FRAMES):
        block = slice(start, start + _BLOCK_FRAMES)
        spectrum, wanted = (
            np.fft.rfft(x[:, block] * window) for x in (mixture, target)
        )
        masked = ideal_mask(name, wanted, spectrum) * spectrum
        frames = np.fft.irfft(masked, n_fft) * window
        added = overlap_add(frames, hop_length)
        first = start * hop_length
        total[:, first : first + added.shape[-1]] += added
    inside = slice(n_fft // 2, n_fft // 2 + samples)
    return total[:, inside] / weight[inside]
