"""BandIt's perceptual layouts (Sec. III-B): musical, mel, bark, tribark, erb."""

import functools
import math

import numpy as np

from keras_bandit.bands.band import Band, format_runs


def _float32_linspace(start, stop, num):
    """`torch.linspace` in float32, to the last bit.

    It counts from the nearer end with a float32 step and rounds once, as does
    a float64 product of float32 numbers, which is exact.
    """
    start, stop = np.float32(start), np.float32(stop)
    step = np.float64((stop - start) / np.float32(num - 1))
    index = np.arange(num)
    return np.where(
        index < num // 2,
        start + step * index,
        stop - step * (num - 1 - index),
    ).astype("float32")


# The authors' `torch.pow` and `torch.sinh` sometimes return the float next to
# the nearest one: {edge: floats away from it}, fitted to the weights of their
# published layouts. Without it these are off by up to 2.4e-6; no bin moves.
_NEXT_FLOAT = {
    ("mel", 48, 44100): {20: -1, 22: -1},
    ("mel", 64, 44100): {5: 1, 57: 1},
    ("tribark", 48, 44100): {32: -1, 33: 1, 39: 1, 41: -1, 42: -1},
    ("tribark", 64, 44100): {64: -1},
    ("tribark", 48, 48000): {32: 1, 34: -1, 35: -1, 40: 1, 43: 1, 46: -1},
    ("erb", 64, 44100): {4: 1, 5: -1, 55: -1},
    ("erb", 64, 48000): {14: 1, 54: -1},
}


def _triangular_edges(name, num_bands, sample_rate):
    """Edges in Hz, float32 `(num_bands + 2,)`, at even steps on a scale.

    BandIt eq. 5 (mel), 6 (tribark) and 7 (erb). Float32 throughout, as the
    authors do it: the highest bin belongs to the last band only if the last
    edge is rounded to above the Nyquist frequency.
    """
    nyquist = sample_rate / 2
    erb = 1000 * math.log(10) / (24.7 * 4.37)  # factor of a log10, not ln
    exp10 = functools.partial(np.power, 10.0)
    top, divisor, function = {
        "mel": (2595 * math.log10(1 + nyquist / 700), 2595, exp10),
        "tribark": (6 * math.asinh(nyquist / 600), 6, np.sinh),
        "erb": (erb * math.log10(1 + 0.00437 * nyquist), erb, exp10),
    }[name]
    scale = _float32_linspace(0, top, num_bands + 2) / np.float32(divisor)
    # Rounded once from float64: numpy's own float32 functions are less exact
    # and differ between processors.
    values = function(scale.astype("float64")).astype("float32")
    moved = _NEXT_FLOAT.get((name, num_bands, sample_rate), {})
    for edge, direction in moved.items():
        values[edge] = np.nextafter(values[edge], np.float32(direction * 1e9))
    if name == "mel":
        return np.float32(700) * (values - np.float32(1))
    if name == "tribark":
        return np.float32(600) * values
    return (values - np.float32(1)) / np.float32(0.00437)


def _triangular_filterbank(name, num_bands, n_fft, sample_rate):
    """Filters `(num_bands, bins)` that rise from an edge to the next and fall.

    float32, not normalized in area.
    """
    edges = _triangular_edges(name, num_bands, sample_rate)[:, None]
    # The authors' frequencies end at the integer part of the Nyquist's.
    bins_hz = _float32_linspace(0, sample_rate // 2, n_fft // 2 + 1)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins_hz - lower) / (centre - lower)
    falling = (upper - bins_hz) / (upper - centre)
    filterbank = np.maximum(0, np.minimum(rising, falling))
    # DC lies on the lowest edge, in no filter, and joins the first. Where
    # that one is empty, mel makes a band of DC alone, the others do not.
    if name == "mel" or filterbank[0].any():
        filterbank[0, 0] = 1
    return filterbank


def _bark_filterbank(num_bands, n_fft, sample_rate):
    """Filters `(num_bands, bins)` of the Bark filterbank of spafe 0.3.

    float64. Each filter has a flat top of 1 Bark and falls 25 dB per Bark
    below and 10 dB per Bark above it (Hermansky 1990). All filters are cut at
    -1.3 and +2.5 Bark, however many there are, so they overlap widely.
    """
    bins = np.arange(n_fft // 2 + 1)
    # n_fft + 1 is spafe's.
    bins_bark = 6 * np.arcsinh(bins * sample_rate / (n_fft + 1) / 600)
    top_bark = 6 * np.arcsinh(sample_rate / 2 / 600)
    centres_bark = np.linspace(0, top_bark, num_bands)[:, None]
    distance = bins_bark - centres_bark
    filterbank = np.select(
        [
            (distance < -1.3) | (distance > 2.5),
            distance <= -0.5,
            distance < 0.5,
        ],
        [0.0, 10 ** (2.5 * (distance + 0.5)), 1.0],
        10 ** -(distance - 0.5),
    )
    filterbank[:, -1] = 0  # spafe stops before the Nyquist frequency
    return filterbank


def _musical_filterbank(num_bands, n_fft, sample_rate):
    """Rectangular filters `(num_bands, bins)` at even steps in pitch.

    Their centres go from bin 1 to the Nyquist frequency,
    `octaves / (num_bands - 1)` apart. Each filter reaches
    `octaves / num_bands` down and up from its centre, further than the
    neighbouring centres of the paper. MIDI numbers do not go below 0 (8.2
    Hz), which matters where bin 1 lies below, as at 16 kHz.
    """
    bin_hz, nyquist = sample_rate / n_fft, sample_rate / 2
    reach = 2 ** (math.log2(nyquist / bin_hz) / num_bands)
    low_midi, high_midi = (
        max(0.0, 69 + 12 * math.log2(hz / 440)) for hz in (bin_hz, nyquist)
    )
    midi = np.linspace(low_midi, high_midi, num_bands)
    centres_hz = 440 * 2 ** ((midi - 69) / 12)
    first = np.floor(centres_hz / reach / bin_hz)
    last = np.ceil(centres_hz * reach / bin_hz)  # belongs to the band
    first[0], last[-1] = 0, n_fft // 2
    bins = np.arange(n_fft // 2 + 1)
    inside = (bins >= first[:, None]) & (bins <= last[:, None])
    return inside.astype("float64")


FILTERBANKS = {
    "musical": _musical_filterbank,
    "mel": functools.partial(_triangular_filterbank, "mel"),
    "bark": _bark_filterbank,
    "tribark": functools.partial(_triangular_filterbank, "tribark"),
    "erb": functools.partial(_triangular_filterbank, "erb"),
}
"""By name, functions of `num_bands, n_fft, sample_rate`."""


def perceptual_bands(name, num_bands, n_fft, sample_rate):
    """Bands where a filter is not zero, weighted by its share of each bin.

    BandIt, Sec. III-B, eq. 3. `name` is one of `FILTERBANKS`; all else is as
    in `band_layout`.
    """
    filterbank = FILTERBANKS[name](num_bands, n_fft, sample_rate)
    setting = f"layout {name!r} at {n_fft=} and {sample_rate=}"
    empty = np.flatnonzero(~filterbank.any(axis=1))
    if empty.size:
        raise ValueError(
            f"num_bands={num_bands} is too many for {setting}: no bin falls "
            f"into bands {format_runs(empty)}. Use fewer bands or a larger "
            "n_fft. (The authors' code drops such bands silently.)"
        )
    total = filterbank.sum(axis=0)
    uncovered = np.flatnonzero(total == 0)
    if uncovered.size and uncovered[0] < n_fft // 2:
        raise ValueError(
            f"num_bands={num_bands} is too few for {setting}: no band holds "
            f"bins {format_runs(uncovered)}"
        )
    weights = np.divide(
        filterbank, total, out=np.zeros_like(filterbank), where=total > 0
    )
    bands = []
    for row in weights:
        bins = np.flatnonzero(row)
        start, stop = bins[0], bins[-1] + 1
        bands.append(Band(start, stop, row[start:stop]))
    return bands
