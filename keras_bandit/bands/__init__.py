"""Band layouts: which frequency bins each band of a model holds, and how much.

A layout is a list of `Band(start, stop, weights)`. Bands may overlap; the
weights say what each of them adds to the mask of a bin. Every layout of the
authors of BandIt and BSRNN is here, bin for bin, as is the microtonal one of
the refined BSRNN. NumPy only: nothing here needs a backend of Keras.
"""

import dataclasses
import functools
import itertools
import math

import numpy as np

from keras_bandit.common.checks import check_integer


def _bin_range(start, stop):
    """Returns both as int; ValueError if no bin lies between them."""
    start = check_integer("start", start, 0)
    stop = check_integer("stop", stop, 0)
    if stop <= start:
        raise ValueError(
            "a band must hold at least one bin, so stop must be above start; "
            f"got start={start}, stop={stop}"
        )
    return start, stop


@dataclasses.dataclass(frozen=True, eq=False)
class Band:
    """A run of frequency bins with a weight for each.

    A band unpacks as `start, stop, weights = band`, compares by value and can
    be hashed.

    Args:
        start: int, at least 0. First bin.
        stop: int above `start`. The bin after the last one.
        weights: sequence of `stop - start` numbers, finite and not negative.
            What the band adds to the mask of each of its bins; in the layouts
            of this module they sum to 1 over the bands of a bin. Kept as a
            read-only float32 array.

    Raises:
        ValueError: if the band is empty, or a weight is missing, negative,
            infinite or NaN.
    """

    start: int
    stop: int
    weights: np.ndarray = dataclasses.field(repr=False)

    def __post_init__(self):
        start, stop = _bin_range(self.start, self.stop)
        weights = np.array(self.weights, dtype="float32")
        if weights.shape != (stop - start,):
            raise ValueError(
                f"weights must be one number for each of the {stop - start} "
                f"bins of band [{start}, {stop}); got shape {weights.shape}"
            )
        if not np.all(np.isfinite(weights) & (weights >= 0)):
            raise ValueError(
                "weights must be finite and not negative; got "
                f"{weights.tolist()} in band [{start}, {stop})"
            )
        weights += 0.0  # -0 becomes 0: equal bands must have equal bytes
        weights.flags.writeable = False
        object.__setattr__(self, "start", start)
        object.__setattr__(self, "stop", stop)
        object.__setattr__(self, "weights", weights)

    @property
    def width(self):
        """int. Number of bins."""
        return self.stop - self.start

    def to_list(self):
        """Returns `[start, stop, [weight, ...]]`, for JSON; see `as_bands`."""
        return [self.start, self.stop, self.weights.tolist()]

    def _key(self):
        return self.start, self.stop, self.weights.tobytes()

    def __iter__(self):
        return iter((self.start, self.stop, self.weights))

    def __eq__(self, other):
        if not isinstance(other, Band):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self):
        return hash(self._key())

    def __reduce__(self):
        # A copy made without the constructor would have writeable weights.
        return Band, (self.start, self.stop, self.weights)


def as_bands(values):
    """Makes a list of `Band` from what a user or a config file gives.

    Args:
        values: sequence with one element per band: `Band`,
            `(start, stop, weights)`, or `(start, stop)`. Without weights, a
            bin held by n bands gets 1/n in each, as in the musical layout.
            All elements have weights, or none has.

    Returns:
        list of `Band`, in the order given.

    Raises:
        ValueError: if there is no band, an element is none of the above, or
            a band is empty.
    """
    try:
        rows = [tuple(value) for value in values]
    except TypeError:
        rows = []
    lengths = {len(row) for row in rows}
    if lengths == {3}:
        return [Band(*row) for row in rows]
    if lengths != {2}:
        raise ValueError(
            "bands must be a list of (start, stop), or of Band or (start, "
            "stop, weights), the same for every band and at least one; got "
            f"{values!r:.200}"
        )
    ranges = [_bin_range(*row) for row in rows]
    num_holders = np.zeros(max(stop for _, stop in ranges))
    for start, stop in ranges:
        num_holders[start:stop] += 1
    return [
        Band(start, stop, 1 / num_holders[start:stop]) for start, stop in ranges
    ]


def _format_runs(bins):
    """Writes sorted bin numbers as `0-4, 7`."""
    runs = np.split(bins, np.flatnonzero(np.diff(bins) > 1) + 1)
    return ", ".join(
        f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs
    )


def check_bands(bands, num_bins):
    """Checks that bands cover the bins of a spectrogram.

    The highest bin, the Nyquist frequency, may be left out: the authors' mel
    and erb (44.1 kHz), tribark and erb (48 kHz) and bark (always) do so. Its
    mask is then 0. A bin is covered if its weight in some band is above 0.

    Args:
        bands: list of `Band`, sorted by `start` (bands with the same start
            in any order): the recurrent layers run along the bands in this
            order.
        num_bins: int. Number of bins, `n_fft // 2 + 1`.

    Raises:
        ValueError: if there is no band, a band ends above `num_bins`, bands
            are not sorted, or another bin than the highest is not covered.
    """
    num_bins = check_integer("num_bins", num_bins, 1)
    if not bands:
        raise ValueError("bands must hold at least one band; got none")
    covered = np.zeros(num_bins, dtype=bool)
    last_start = 0
    for index, band in enumerate(bands):
        if band.stop > num_bins:
            raise ValueError(
                f"band {index} must end at num_bins={num_bins} at most; got "
                f"[{band.start}, {band.stop})"
            )
        if band.start < last_start:
            raise ValueError(
                "bands must be sorted by start; got band "
                f"{index} [{band.start}, {band.stop}) after one that starts "
                f"at {last_start}"
            )
        last_start = band.start
        covered[band.start : band.stop] |= band.weights > 0
    uncovered = np.flatnonzero(~covered)
    if uncovered.size and uncovered[0] < num_bins - 1:
        raise ValueError(
            f"bands must cover all of the {num_bins} bins, except that the "
            f"highest may be left out; uncovered: {_format_runs(uncovered)}"
        )


# BSRNN's layouts (Luo & Yu 2023, arXiv:2209.15174) in the reading of
# BandIt's authors. Regions in ascending order: upper edge and bandwidth in Hz.
_END = _WHOLE = math.inf  # up to the last bin; the region is a single band
_VOCALS_V7 = (
    (1000, 100),
    (4000, 250),
    (8000, 500),
    (16000, 1000),
    (20000, 2000),
    (_END, _WHOLE),
)
_HANDCRAFTED = {
    "vocals_v1": ((_END, 1000),),
    "vocals_v2": ((16000, 1000), (20000, 2000), (_END, _WHOLE)),
    "vocals_v3": (
        (8000, 1000),
        (16000, 2000),
        (20000, _WHOLE),
        (_END, _WHOLE),
    ),
    "vocals_v4": (
        (1000, 100),
        (8000, 1000),
        (16000, 2000),
        (20000, _WHOLE),
        (_END, _WHOLE),
    ),
    "vocals_v5": (
        (1000, 100),
        (16000, 1000),
        (20000, 2000),
        (_END, _WHOLE),
    ),
    "vocals_v6": (
        (1000, 100),
        (4000, 500),
        (8000, 1000),
        (16000, 2000),
        (20000, _WHOLE),
        (_END, _WHOLE),
    ),
    "vocals_v7": _VOCALS_V7,
    "bass": (
        (500, 50),
        (1000, 100),
        (4000, 500),
        (8000, 1000),
        (16000, 2000),
        (_END, _WHOLE),
    ),
    "drums": (
        (1000, 50),
        (2000, 100),
        (4000, 250),
        (8000, 500),
        (16000, 1000),
        (_END, _WHOLE),
    ),
    "other": _VOCALS_V7,
}


def _handcrafted_bands(name, n_fft, sample_rate):
    """Cuts each region into bands of the same number of bins."""
    num_bins = n_fft // 2 + 1

    def to_bin(frequency_hz):
        if frequency_hz == math.inf:
            return num_bins
        # Python's round, half to even, is the authors'.
        return round(frequency_hz * n_fft / sample_rate)

    pairs, lower = [], 0
    for edge_hz, bandwidth_hz in _HANDCRAFTED[name]:
        upper, width = to_bin(edge_hz), to_bin(bandwidth_hz)
        if upper > num_bins or lower == num_bins:
            raise ValueError(
                f"sample_rate must be at least {2 * _HANDCRAFTED[name][-2][0]}"
                f" for layout {name!r}; got {sample_rate}"
            )
        if width == 0:
            raise ValueError(
                f"n_fft must give bins as narrow as the {bandwidth_hz} Hz "
                f"bands of layout {name!r}; got n_fft={n_fft}, that is "
                f"{sample_rate / n_fft:.1f} Hz per bin"
            )
        # The bandwidth was rounded to bins, so a sliver is left at the end
        # of a region. It becomes a band: [45, 46) in vocals_v7.
        pairs += [
            (start, min(start + width, upper))
            for start in range(lower, upper, width)
        ]
        lower = upper
    return as_bands(pairs)


_MICROTONAL = "microtonal"
_MICROTONAL_BANDS = 41  # of the paper's experiments
_MICROTONAL_NOTES = 120  # quarter tones -107, -105, ... 131 from 440 Hz


def _microtonal_bands(num_bands, n_fft, sample_rate):
    """Bands between notes that lie halfway between two semitones.

    Equals the listing in Sec. III-A of the refined BSRNN, which walks from 20
    Hz to 20 kHz in quarter tones and keeps the odd ones. The choice of
    `num_bands` of them is that of the authors' repository,
    sahandevs/BandSplit-RNN.
    """
    if num_bands > _MICROTONAL_NOTES:
        raise ValueError(
            f"num_bands of layout {_MICROTONAL!r} must be "
            f"{_MICROTONAL_NOTES} at most, the number of its notes; got "
            f"{num_bands}"
        )
    picks = [int(i * _MICROTONAL_NOTES / num_bands) for i in range(num_bands)]
    notes_hz = 440 * 2 ** ((2 * np.array(picks) - 107) / 24)
    num_bins = n_fft // 2 + 1
    bins_hz = np.arange(num_bins) * sample_rate / n_fft
    # Number of bins below each note; notes with the same one leave no band
    # between them.
    edges = np.searchsorted(bins_hz, notes_hz, side="left").tolist()
    edges = sorted({0, *edges, num_bins})
    return as_bands(itertools.pairwise(edges))


def _float32_linspace(start, stop, num):
    """`torch.linspace` in float32, to the last bit.

    It counts from the nearer end with a float32 step, rounding each value
    once. A float64 product of float32 numbers is exact, hence this.
    """
    start, stop = np.float32(start), np.float32(stop)
    step = np.float64((stop - start) / np.float32(num - 1))
    index = np.arange(num)
    return np.where(
        index < num // 2,
        start + step * index,
        stop - step * (num - 1 - index),
    ).astype("float32")


# The authors' float32 edges come from `torch.pow` and `torch.sinh`, which
# sometimes return the float next to the nearest one: {edge: floats away from
# it}, fitted to the weights of the layouts they published. It moves no bin;
# without it these weights are off by up to 2.4e-6. For tribark 48 the torch of
# another machine rounds differently, so there is no formula to follow.
_NEXT_FLOAT = {
    ("mel", 48, 44100): {20: -1, 22: -1},
    ("mel", 64, 44100): {5: 1, 57: 1},
    ("tribark", 48, 44100): {32: -1, 33: 1, 39: 1, 41: -1, 42: -1},
    ("tribark", 64, 44100): {64: -1},
    ("tribark", 48, 48000): {32: 1, 34: -1, 35: -1, 40: 1, 43: 1, 46: -1},
    ("erb", 64, 44100): {4: 1, 5: -1, 55: -1},
    ("erb", 64, 48000): {14: 1, 54: -1},
}


def _exp10(x):
    return 10.0**x


def _triangular_edges(name, num_bands, sample_rate):
    """Edges in Hz, float32 `(num_bands + 2,)`, at even steps on a scale.

    BandIt eq. 5 (mel), 6 (tribark) and 7 (erb). Float32 throughout, as the
    authors do it: whether the last edge ends up above the Nyquist frequency
    or not decides if the highest bin belongs to the last band.
    """
    nyquist = sample_rate / 2
    erb_factor = 1000 * math.log(10) / (24.7 * 4.37)  # of a log10, not ln
    top, divisor, function = {
        "mel": (2595 * math.log10(1 + nyquist / 700), 2595, _exp10),
        "tribark": (6 * math.asinh(nyquist / 600), 6, np.sinh),
        "erb": (
            erb_factor * math.log10(1 + 0.00437 * nyquist),
            erb_factor,
            _exp10,
        ),
    }[name]
    scale = _float32_linspace(0, top, num_bands + 2) / np.float32(divisor)
    # Rounded once from float64: numpy's own float32 functions are less exact
    # and differ between processors.
    values = function(scale.astype("float64")).astype("float32")
    moves = _NEXT_FLOAT.get((name, num_bands, sample_rate), {})
    for edge, direction in moves.items():
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
    below and 10 dB per Bark above it (Hermansky 1990), cut at -1.3 and +2.5
    Bark, whatever the number of bands: hence the wide overlaps.
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

    From bin 1 to the Nyquist frequency, `octaves / (num_bands - 1)` apart;
    each reaches `octaves / num_bands` down and up from its centre, further
    than the neighbouring centres of the paper. MIDI numbers do not go below
    0 (8.2 Hz), which matters where bin 1 lies below, as at 16 kHz.
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


_FILTERBANKS = {
    "musical": _musical_filterbank,
    "mel": functools.partial(_triangular_filterbank, "mel"),
    "bark": _bark_filterbank,
    "tribark": functools.partial(_triangular_filterbank, "tribark"),
    "erb": functools.partial(_triangular_filterbank, "erb"),
}


def _filterbank_bands(name, num_bands, n_fft, sample_rate):
    """Bands where a filter is not zero, weighted by its share of each bin.

    BandIt, Sec. III-B, eq. 3.
    """
    filterbank = _FILTERBANKS[name](num_bands, n_fft, sample_rate)
    setting = f"layout {name!r} at {n_fft=} and {sample_rate=}"
    empty = np.flatnonzero(~filterbank.any(axis=1))
    if empty.size:
        raise ValueError(
            f"num_bands={num_bands} is too many for {setting}: no bin falls "
            f"into bands {_format_runs(empty)}. Use fewer bands or a larger "
            "n_fft. (The authors' code drops such bands without a word.)"
        )
    total = filterbank.sum(axis=0)
    uncovered = np.flatnonzero(total == 0)
    if uncovered.size and uncovered[0] < n_fft // 2:
        raise ValueError(
            f"num_bands={num_bands} is too few for {setting}: no band holds "
            f"bins {_format_runs(uncovered)}"
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


def _check_resolution(n_fft, sample_rates):
    """Raises ValueError unless these are integers, `n_fft` an even one."""
    if check_integer("n_fft", n_fft, 2) % 2:
        raise ValueError(f"n_fft must be even; got {n_fft}")
    for sample_rate in sample_rates:
        check_integer("sample_rate", sample_rate, 1)


def layout_names():
    """Returns the names that `band_layout` accepts, a tuple of str."""
    return (*_FILTERBANKS, *_HANDCRAFTED, _MICROTONAL)


def band_layout(name, num_bands=None, n_fft=2048, sample_rate=44100):
    """Makes the bands of a layout.

    | name | source | `num_bands` |
    |---|---|---|
    | `"musical"`, `"mel"`, `"bark"`, `"tribark"`, `"erb"` | BandIt, Sec. III-B | any number |
    | `"vocals_v1"` to `"vocals_v7"`, `"bass"`, `"drums"`, `"other"` | BSRNN, as implemented by BandIt's authors | `None`: the layout has its own |
    | `"microtonal"` | refined BSRNN, Sec. III-A | number of upper edges, 1 to 120; `None` means the paper's 41 |

    The bins and weights are those of the authors' code. For 48 and 64 bands
    of the perceptual layouts the weights are equal to float32 precision; for
    other numbers those of mel, tribark and erb can differ by about 1e-5,
    since PyTorch's float32 functions do not round alike everywhere.

    `"microtonal"` skips a band that would be empty and ends with a band up
    to the last bin, so the number of bands differs from `num_bands`.

    Example:

    ```python
    bands = band_layout("musical", num_bands=64)
    start, stop, weights = bands[0]  # 0, 3, float32 weights of 3 bins
    ```

    Args:
        name: str, one of `layout_names()`; or the user's own list of bands,
            in any form that `as_bands` accepts, which is then checked.
        num_bands: int or `None`. See the table.
        n_fft: int. FFT size in samples, even. There are `n_fft // 2 + 1`
            bins.
        sample_rate: int. In Hz. Not used with the user's own bands.

    Returns:
        list of `Band`, sorted by `start`. Where bands overlap, the weights
        of a bin sum to 1 over its bands; where they do not, all weights are
        1. Every bin is covered, except for the highest in some layouts (see
        `check_bands`).

    Raises:
        ValueError: if an argument is not as described, a band would hold no
            bin at this resolution, a band lies above the Nyquist frequency,
            or the bands do not cover the bins.
    """
    _check_resolution(n_fft, [sample_rate])
    if num_bands is not None:
        num_bands = check_integer("num_bands", num_bands, 1)

    if isinstance(name, str) and name not in layout_names():
        raise ValueError(
            "name must be a list of bands or one of "
            f"{', '.join(layout_names())}; got {name!r}"
        )
    if isinstance(name, str) and name in _FILTERBANKS:
        if num_bands is None:
            raise ValueError(
                f"num_bands must be given for layout {name!r}, an integer of "
                "at least 1; got None"
            )
        bands = _filterbank_bands(name, num_bands, n_fft, sample_rate)
    elif isinstance(name, str) and name == _MICROTONAL:
        num_edges = _MICROTONAL_BANDS if num_bands is None else num_bands
        bands = _microtonal_bands(num_edges, n_fft, sample_rate)
    elif num_bands is not None:
        raise ValueError(
            "num_bands must be None for a list of bands and for layouts with "
            f"a number of their own; got num_bands={num_bands} for {name!r:.200}"
        )
    elif isinstance(name, str):
        bands = _handcrafted_bands(name, n_fft, sample_rate)
    else:
        bands = as_bands(name)
    check_bands(bands, n_fft // 2 + 1)
    return bands


def _agree(bands, weights):
    """Tells if each band's weights are those given, within 1e-5."""
    return all(
        np.shape(expected) == band.weights.shape
        and np.allclose(band.weights, expected, rtol=0, atol=1e-5)
        for band, expected in zip(bands, weights, strict=True)
    )


def find_layout(
    band_widths, weights=None, n_fft=2048, sample_rates=(44100, 48000)
):
    """Finds the layouts that have bands of these widths.

    A checkpoint holds the widths of its bands in its tensor shapes and, where
    bands overlap, their weights, but no name of the layout.

    Args:
        band_widths: sequence of int. Number of bins of each band, in order.
        weights: `None`, or a sequence with the weights of each band: they
            must then agree with those of the layout within 1e-5.
        n_fft: int. FFT size in samples, even.
        sample_rates: sequence of int, in Hz, most likely first.

    Returns:
        list of `(name, num_bands, sample_rate)`, the arguments of
        `band_layout`, most likely first: sorted by sample rate, then by name
        as in `layout_names()`. Several may agree, since musical bands do not
        depend on the sample rate (above 16.7 kHz at `n_fft` 2048), and
        `"other"` is the same as `"vocals_v7"`. Empty if none agrees.

    Raises:
        ValueError: if a width or sample rate is not a positive integer,
            `n_fft` not an even one, or `weights` are not as many as the bands.
    """
    widths = [check_integer("band_widths", width, 1) for width in band_widths]
    sample_rates = tuple(sample_rates)
    _check_resolution(n_fft, sample_rates)
    if weights is not None and len(weights) != len(widths):
        raise ValueError(
            "weights must have one element for each of the "
            f"{len(widths)} bands; got {len(weights)}"
        )
    candidates = [(name, len(widths)) for name in _FILTERBANKS]
    candidates += [(name, None) for name in _HANDCRAFTED]
    # At most one band more than upper edges, and fewer where bands are empty.
    candidates += [
        (_MICROTONAL, num_bands)
        for num_bands in range(max(1, len(widths) - 1), _MICROTONAL_NOTES + 1)
    ]
    found = []
    for sample_rate in sample_rates:
        for name, num_bands in candidates:
            try:
                bands = band_layout(name, num_bands, n_fft, sample_rate)
            except ValueError:  # this layout does not exist with these values
                continue
            if [band.width for band in bands] == widths and (
                weights is None or _agree(bands, weights)
            ):
                found.append((name, num_bands, sample_rate))
    return found


# A logarithmic axis has no 0: a band with bin 0 begins where the axis does.
_LOWEST_BIN = 0.25


def _set_frequency_axis(axis, n_fft, sample_rate):
    lowest_hz, nyquist = _LOWEST_BIN * sample_rate / n_fft, sample_rate / 2
    labels = {
        hz: f"{hz // 1000}k" if hz >= 1000 else str(hz)
        for hz in (20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000)
        if lowest_hz <= hz <= nyquist
    }
    axis.set(
        yscale="log",
        ylabel="frequency (Hz)",
        ylim=(lowest_hz, 1.1 * nyquist),
    )
    axis.set_yticks(list(labels), list(labels.values()))
    axis.set_yticks([], minor=True)


def _draw_bands(axis, bands, bin_hz):
    low = [max(band.start - 0.5, _LOWEST_BIN) * bin_hz for band in bands]
    high = [(band.stop - 0.5) * bin_hz for band in bands]
    axis.vlines(range(len(bands)), low, high, color="C0", linewidth=1.4)
    axis.set(xlabel="band", xlim=(-1.5, len(bands) + 0.5))
    axis.grid(color="0.9", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def plot_bands(
    layouts=("musical", "mel", "bark", "tribark", "erb"),
    num_bands=64,
    n_fft=2048,
    sample_rate=44100,
    path=None,
):
    """Draws the frequency range of each band, as in Fig. 2 of BandIt.

    Needs matplotlib: `pip install "keras-bandit[plot]"`.

    Args:
        layouts: sequence of names that `band_layout` accepts, one panel each.
        num_bands: int. For the layouts that take a number of bands.
        n_fft: int. FFT size in samples, even.
        sample_rate: int, in Hz.
        path: `None`, or a file to write the picture to: PNG, SVG or PDF by
            its suffix.

    Returns:
        `matplotlib.figure.Figure`. A bar goes from half a bin below the first
        bin of a band to half a bin above its last one.

    Raises:
        ImportError: without matplotlib.
        ValueError: if `layouts` is empty, or as in `band_layout`.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            'plot_bands needs matplotlib: pip install "keras-bandit[plot]"'
        ) from error
    names = [] if isinstance(layouts, str) else list(layouts)
    if not names or any(name not in layout_names() for name in names):
        raise ValueError(
            "layouts must be a sequence of at least one of "
            f"{', '.join(layout_names())}; got {layouts!r}"
        )
    panels = {
        name: band_layout(
            name,
            None if name in _HANDCRAFTED else num_bands,
            n_fft,
            sample_rate,
        )
        for name in names
    }
    # A figure of its own, without pyplot: no window, no global state.
    figure = Figure(figsize=(2 + 2.1 * len(panels), 4), layout="constrained")
    figure.suptitle(
        f"Bins of each band: n_fft {n_fft}, {sample_rate / 1000:g} kHz",
        fontsize="medium",
    )
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    _set_frequency_axis(axes[0], n_fft, sample_rate)
    for axis, (name, bands) in zip(axes, panels.items(), strict=True):
        _draw_bands(axis, bands, sample_rate / n_fft)
        axis.set_title(name)
    if path is not None:
        figure.savefig(path, dpi=120)
    return figure
