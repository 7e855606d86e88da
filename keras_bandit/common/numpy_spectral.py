"""`STFT` and `ISTFT` of `keras_bandit.layers` in NumPy alone.

For what runs without a backend of Keras: oracles and engines, whose transforms
are float32 at every precision of the network, and 1 % of the work.
"""

import numpy as np


def hann_window(n_fft):
    """Periodic Hann window, `(n_fft,)` float64."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)


def reach_of(n_fft):
    """Samples behind a frame's centre that can be recovered from it alone.

    The outermost 1/32 of a frame lies under less than 1 % of the window's
    height: what float32 rounds there would be magnified.
    """
    return n_fft * 7 // 16


LEAST_ENVELOPE = 1e-3
"""Summed squared windows are above it up to `reach_of` behind the last centre."""


def count_frames(samples, n_fft, hop_length, extra_frame=True):
    """Frames of a waveform, `1 + samples // hop_length`, int or tensor.

    With `extra_frame` one more where the last sample would lie farther than
    `reach_of(n_fft)` behind the last frame's centre, which only a longer hop
    allows.
    """
    frames = 1 + samples // hop_length
    if not extra_frame:
        return frames
    # The last sample is samples % hop_length - 1 behind the last centre.
    beyond = reach_of(n_fft) + 2
    if hop_length <= beyond:
        return frames
    return frames + (samples % hop_length + hop_length - beyond) // hop_length


def stft_scale(n_fft):
    """Magnitudes of a transform with the plain window over those of `stft`."""
    return float(np.sqrt(np.sum(hann_window(n_fft) ** 2)))


def as_pairs(x):
    """Complex64 `(…)` to float32 `(…, 2)`, a view if it is contiguous."""
    x = np.ascontiguousarray(x)
    return x.view("float32").reshape(*x.shape, 2)


def unit_window(n_fft):
    """Periodic Hann window whose squares sum to 1, `(n_fft,)` float32.

    With it white noise of standard deviation σ gives bins of standard
    deviation σ, as in `STFT`.
    """
    window = hann_window(n_fft)
    return (window / np.sqrt(np.sum(window**2))).astype("float32")


def framed(waveform, n_fft, hop_length, pad_mode="constant", extra_frame=True):
    """Cuts audio into frames centred on multiples of the hop.

    `(…, samples)` to `(…, frames, n_fft)`, a view, with `count_frames` frames.
    `pad_mode` and errors are those of `STFT`.
    """
    half = n_fft // 2
    samples = waveform.shape[-1]
    if pad_mode == "reflect" and samples <= half:
        raise ValueError(
            f"pad_mode='reflect' needs more than n_fft // 2 = {half} samples; "
            f"got {samples}"
        )
    width = [(0, 0)] * (waveform.ndim - 1) + [(half, half)]
    padded = np.pad(waveform, width, mode=pad_mode)
    count = count_frames(samples, n_fft, hop_length, extra_frame)
    last = (count - 1) * hop_length
    if last > samples:
        width[-1] = (0, last - samples)
        padded = np.pad(padded, width)
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft, axis=-1)
    return frames[..., : last + 1 : hop_length, :]


def overlap_add(frames, hop_length):
    """Adds up frames that start one hop after the other.

    `(…, frames, n_fft)` to `(…, (frames - 1) * hop_length + n_fft)`.
    """
    *leading, count, n_fft = frames.shape
    overlap = -(-n_fft // hop_length)
    total = np.zeros((*leading, count + overlap - 1, hop_length), frames.dtype)
    for i in range(overlap):
        block = frames[..., i * hop_length : (i + 1) * hop_length]
        total[..., i : i + count, : block.shape[-1]] += block
    total = total.reshape(*leading, -1)
    return total[..., : (count - 1) * hop_length + n_fft]


def stft(waveform, n_fft, hop_length, pad_mode="constant", extra_frame=True):
    """`(…, frames, bins)` complex64; arguments as `framed`."""
    frames = framed(waveform, n_fft, hop_length, pad_mode, extra_frame)
    return np.fft.rfft(frames * unit_window(n_fft))


def istft(spectrogram, n_fft, hop_length, samples):
    """Inverse of `stft`: `(…, samples)` float32, of the waveform's length."""
    window = hann_window(n_fft)
    synthesis = (window * np.sqrt(np.sum(window**2))).astype("float32")
    frames = np.fft.irfft(spectrogram, n_fft) * synthesis
    energy = np.broadcast_to((window**2).astype("float32"), frames.shape[-2:])
    summed = overlap_add(frames, hop_length)
    envelope = overlap_add(energy, hop_length)
    inside = slice(n_fft // 2, n_fft // 2 + samples)
    return summed[..., inside] / np.maximum(envelope[inside], LEAST_ENVELOPE)
