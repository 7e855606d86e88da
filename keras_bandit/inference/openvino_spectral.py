"""`STFT` and `ISTFT` of `keras_bandit.layers` in NumPy, beside OpenVINO.

The transforms are outside the graph: NumPy's float32 FFT is exact to
rounding at every precision of the network, and is 1 % of the work.
"""

import numpy as np


def _window(n_fft):
    """Periodic Hann window in float64, `(n_fft,)`."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)


def stft(waveform, n_fft, hop_length, pad_mode):
    """Short-time Fourier transform; see `keras_bandit.layers.STFT`.

    Args:
        waveform: `(batch, channels, samples)` float32.
        n_fft: int.
        hop_length: int. Divides `n_fft`.
        pad_mode: `"constant"` or `"reflect"`.

    Returns:
        `(batch, channels, frames, bins)` complex64.

    Raises:
        ValueError: if there are too few samples to reflect.
    """
    half = n_fft // 2
    samples = waveform.shape[-1]
    if pad_mode == "reflect" and samples <= half:
        raise ValueError(
            f"pad_mode='reflect' needs more than n_fft // 2 = {half} samples; "
            f"got {samples}"
        )
    padded = np.pad(waveform, [(0, 0), (0, 0), (half, half)], mode=pad_mode)
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft, axis=-1)
    window = _window(n_fft)
    window = (window / np.sqrt(np.sum(window**2))).astype("float32")
    return np.fft.rfft(frames[:, :, ::hop_length] * window)


def istft(spectrogram, n_fft, hop_length, samples):
    """Inverse of `stft`; see `keras_bandit.layers.ISTFT`.

    Args:
        spectrogram: `(batch, channels, frames, bins)` complex64.
        n_fft: int.
        hop_length: int. Divides `n_fft`.
        samples: int. Length of the result, less than `frames * hop_length`.

    Returns:
        `(batch, channels, samples)` float32.
    """
    window = _window(n_fft)
    synthesis = (window * np.sqrt(np.sum(window**2))).astype("float32")
    frames = np.fft.irfft(spectrogram, n_fft) * synthesis
    energy = np.broadcast_to(window**2, frames.shape[-2:])
    summed = _overlap_add(frames, hop_length)
    envelope = _overlap_add(energy.astype("float32"), hop_length)
    # The half frame before the signal; up to the last sample wanted the
    # envelope is at least 1/16 (see `ISTFT`).
    inside = slice(n_fft // 2, n_fft // 2 + samples)
    return summed[..., inside] / envelope[inside]


def _overlap_add(frames, hop_length):
    """`(…, frames, n_fft)` → `(…, (frames - 1) * hop + n_fft)`."""
    *leading, count, n_fft = frames.shape
    overlap = n_fft // hop_length
    total = np.zeros((*leading, count + overlap - 1, hop_length), frames.dtype)
    for i in range(overlap):
        block = slice(i * hop_length, (i + 1) * hop_length)
        total[..., i : i + count, :] += frames[..., block]
    return total.reshape(*leading, -1)
