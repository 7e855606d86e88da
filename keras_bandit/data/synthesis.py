"""What the generators of sounds share: filters, oscillators, envelopes."""

import math

import numpy as np

from keras_bandit.common.numpy_spectral import hann_window

_TABLE_SIZE = 2048


def _frame_length(sample_rate):
    """Samples of a filter frame: the power of two nearest 23 ms."""
    return 2 ** round(math.log2(0.023 * sample_rate))


def frame_seconds(length, sample_rate):
    """Centres of the frames that `filter_frames` cuts from `length` samples."""
    hop = _frame_length(sample_rate) // 2
    return np.arange(-(-length // hop) + 1) * hop / sample_rate


def filter_frames(signal, response, sample_rate):
    """Filters a signal with a response that changes from frame to frame.

    Hann frames that overlap by half sum to one; each is filtered by a product
    of spectra twice its length, so that the filter's tail has room.

    `response` `(frames, bins)` or `(1, bins)`, real or complex, is at the
    times of `frame_seconds` and the frequencies of `_bins_hz`.
    """
    frame = _frame_length(sample_rate)
    hop = frame // 2
    count = -(-len(signal) // hop) + 1
    padded = np.zeros((count + 1) * hop, "float32")
    padded[hop : hop + len(signal)] = signal
    window = hann_window(frame)
    frames = np.lib.stride_tricks.sliding_window_view(padded, frame)[::hop]
    spectra = np.fft.rfft(frames * window.astype("float32"), 2 * frame)
    pieces = np.fft.irfft(spectra * response, 2 * frame)
    pieces = pieces.reshape(count, 4, hop)
    # Piece k covers the half frames k … k + 3.
    out = np.zeros((count + 3, hop), "float32")
    for part in range(4):
        out[part : part + count] += pieces[:, part]
    return out.reshape(-1)[hop : hop + len(signal)]


def _bins_hz(sample_rate):
    frame = _frame_length(sample_rate)
    return np.arange(frame + 1, dtype="float32") * (sample_rate / 2 / frame)


def bell(centre_hz, octaves, sample_rate):
    """Response `(frames, bins)`: a Gaussian over log frequency."""
    centre_hz = np.atleast_1d(centre_hz).astype("float32")[:, None]
    octaves = np.atleast_1d(octaves).astype("float32")[:, None]
    bins_hz = np.maximum(_bins_hz(sample_rate), 1.0)
    return np.exp(-0.5 * (np.log2(bins_hz / centre_hz) / octaves) ** 2)


def resonators(centres_hz, widths_hz, sample_rate):
    """Response `(frames, bins)` of two-pole resonators in cascade.

    Each has unit gain at 0 Hz, as in Klatt (1980), J. Acoust. Soc. Am. 67,
    Eq. 2. `centres_hz` is `(frames, resonators)`, `widths_hz` `(resonators,)`
    are -3 dB bandwidths.
    """
    delay = np.exp(-2j * np.pi * _bins_hz(sample_rate) / sample_rate)
    delay = delay.astype("complex64")
    response = np.ones((len(centres_hz), len(delay)), "complex64")
    for centres, width in zip(centres_hz.T, widths_hz, strict=True):
        radius = math.exp(-math.pi * width / sample_rate)
        b = 2 * radius * np.cos(2 * np.pi * centres / sample_rate)
        b = b.astype("float32")[:, None]
        gain = 1 - b + radius**2
        response *= gain / (1 - b * delay + radius**2 * delay**2)
    return response


def wavetable(amplitudes, phases=0.0):
    """One period, `_TABLE_SIZE` samples, of a sum of harmonics."""
    spectrum = np.zeros(_TABLE_SIZE // 2 + 1, "complex128")
    spectrum[1 : len(amplitudes) + 1] = amplitudes * np.exp(1j * phases)
    table = np.fft.irfft(spectrum)
    return (table / np.abs(table).max()).astype("float32")


def oscillate(table, cycles):
    """Reads a wavetable at phases in cycles, interpolating linearly."""
    position = (cycles % 1.0) * len(table)
    index = position.astype("int32")
    fraction = (position - index).astype("float32")
    table = np.append(table, table[:2])
    return table[index] + fraction * (table[index + 1] - table[index])


def envelope(length, attack_seconds, decay_seconds, sample_rate):
    """Straight attack, exponential decay, and 10 ms of release."""
    seconds = np.arange(length, dtype="float32") / sample_rate
    envelope = np.minimum(seconds / attack_seconds, 1.0)
    envelope *= np.exp(-seconds / decay_seconds)
    return envelope * np.minimum((seconds[-1] - seconds) / 0.01, 1.0)


def white_noise(rng, length):
    return rng.standard_normal(length, dtype="float32")


def add_sound(canvas, sound, start, gains):
    """Adds a mono sound to `(channels, samples)`, cut at the canvas's end."""
    sound = sound[: max(0, canvas.shape[1] - start)]
    canvas[:, start : start + len(sound)] += gains[:, None] * sound


def pan_gains(rng, channels, width):
    """Channel gains of unit power; `width` 0 is the centre, 1 the sides."""
    gains = 1 + width * rng.uniform(-1, 1, channels)
    return (gains / np.linalg.norm(gains)).astype("float32")
