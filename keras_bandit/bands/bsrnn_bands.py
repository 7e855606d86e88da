"""BSRNN's layouts (Luo & Yu 2023, arXiv:2209.15174) as BandIt's authors read
them: bands of equal bandwidth within each of a few regions."""

import math

from keras_bandit.bands.band import as_bands

_WHOLE = _END = math.inf  # the region is a single band; it ends at the last bin
_VOCALS_V7 = {1000: 100, 4000: 250, 8000: 500, 16000: 1000, 20000: 2000}
BSRNN_LAYOUTS = {
    "vocals_v1": {_END: 1000},
    "vocals_v2": {16000: 1000, 20000: 2000},
    "vocals_v3": {8000: 1000, 16000: 2000, 20000: _WHOLE},
    "vocals_v4": {1000: 100, 8000: 1000, 16000: 2000, 20000: _WHOLE},
    "vocals_v5": {1000: 100, 16000: 1000, 20000: 2000},
    "vocals_v6": {1000: 100, 4000: 500, 8000: 1000, 16000: 2000, 20000: _WHOLE},
    "vocals_v7": _VOCALS_V7,
    "bass": {500: 50, 1000: 100, 4000: 500, 8000: 1000, 16000: 2000},
    "drums": {1000: 50, 2000: 100, 4000: 250, 8000: 500, 16000: 1000},
    "other": _VOCALS_V7,
}
"""`{name: {upper edge: bandwidth}}` of each region, in Hz, ascending. What lies
above the last edge is one more band."""


def bsrnn_bands(name, n_fft, sample_rate):
    """Cuts each region of one of `BSRNN_LAYOUTS` into equal bands.

    Arguments, values and errors as in `band_layout`.
    """
    num_bins = n_fft // 2 + 1

    def to_bin(frequency_hz):
        if frequency_hz == math.inf:
            return num_bins
        # Python's round, half to even, is the authors'.
        return round(frequency_hz * n_fft / sample_rate)

    regions = dict(BSRNN_LAYOUTS[name])
    regions.setdefault(_END, _WHOLE)
    pairs, lower = [], 0
    for edge_hz, bandwidth_hz in regions.items():
        upper, width = to_bin(edge_hz), to_bin(bandwidth_hz)
        if upper > num_bins or lower == num_bins:
            raise ValueError(
                f"sample_rate must be at least {2 * [*BSRNN_LAYOUTS[name]][-1]}"
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
