"""Oracles: the mixture, masked by what only the target can tell."""

import numpy as np

from keras_bandit.common.numpy_spectral import framed, overlap_add, unit_window

# Bins of less than this magnitude have no phase to speak of; the authors
# leave them as they are.
_SILENT_BIN = 1e-8

_BLOCK_FRAMES = 512  # transformed at a time: some 10 MB per channel


def ideal_ratio_mask(target, mixture):
    """`|S| / (|S| + |N|)`, N = X - S; 1 where the mixture is silent.

    Args:
        target: complex, spectrogram S of the target.
        mixture: complex, spectrogram X of the mixture, of the same shape.

    Returns:
        real array of that shape.
    """
    return _ratio(_magnitudes(target, mixture), mixture)


def ideal_wiener_mask(target, mixture):
    """`|S|² / (|S|² + |N|²)`; see `ideal_ratio_mask`."""
    signal, noise = _magnitudes(target, mixture)
    return _ratio((signal**2, noise**2), mixture)


def ideal_amplitude_mask(target, mixture):
    """`|S| / |X|`; see `ideal_ratio_mask`."""
    return _divide(np.abs(target), np.abs(mixture), mixture)


def phase_sensitive_filter(target, mixture):
    """`|S| cos(∠S - ∠X) / |X|`; see `ideal_ratio_mask`."""
    # |S| |X| cos(∠S - ∠X) is the real part of S X*.
    return _divide(
        (target * mixture.conj()).real, np.abs(mixture) ** 2, mixture
    )


def ideal_binary_mask(target, mixture):
    """1 where `|S| > |N|`, else 0, where the mixture is silent too."""
    signal, noise = _magnitudes(target, mixture)
    return (signal > noise).astype(signal.dtype)


ORACLES = {
    "irm": ideal_ratio_mask,
    "wiener": ideal_wiener_mask,
    "iam": ideal_amplitude_mask,
    "psf": phase_sensitive_filter,
    "ibm": ideal_binary_mask,
}
"""Masks by name, as the authors define them in `core/model/oracle/idealmask.py`
of `karnwatcharasupat/bandit` (735a57c)."""


def _magnitudes(target, mixture):
    return np.abs(target), np.abs(mixture - target)


def _ratio(parts, mixture):
    signal, noise = parts
    return _divide(signal, signal + noise, mixture)


def _divide(numerator, denominator, mixture):
    mask = np.ones_like(numerator)
    audible = np.abs(mixture) >= _SILENT_BIN
    return np.divide(numerator, denominator, out=mask, where=audible)


def oracle_estimate(name, mixture, target, n_fft=2048, hop_length=512):
    """Separates a whole track with a mask that knows the target.

    The transform is `keras_bandit.layers.STFT` with zero padding. It is
    written in NumPy, and in blocks of frames, for two reasons: it runs in
    processes beside the model, which must not load a second backend onto the
    GPU, and the spectrograms of a song take gigabytes. Masks depend on no
    other bin, so that the blocks change nothing.

    With orthogonal signals (no bin in which both target and residual have
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
    if name not in ORACLES:
        raise ValueError(f"oracle must be one of {[*ORACLES]}; got {name!r}")
    if mixture.shape != target.shape or mixture.ndim != 2:
        raise ValueError(
            "mixture and target must have one shape (channels, samples); got "
            f"{mixture.shape} and {target.shape}"
        )
    samples = mixture.shape[-1]
    # Of unit energy: bins have the scale that `_SILENT_BIN` is meant for.
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
        masked = ORACLES[name](wanted, spectrum) * spectrum
        frames = np.fft.irfft(masked, n_fft) * window
        added = overlap_add(frames, hop_length)
        first = start * hop_length
        total[:, first : first + added.shape[-1]] += added
    inside = slice(n_fft // 2, n_fft // 2 + samples)
    return total[:, inside] / weight[inside]
