"""A band, lists of bands, and the check that they cover a spectrogram."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from keras_bandit.common.checks import check_integer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def _bin_range(start, stop):
    """Both as int; ValueError if no bin lies between them."""
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

    Example:

    ```python
    from keras_bandit.bands import Band

    band = Band(2, 5, [1.0, 1.0, 0.5])
    start, stop, weights = band
    assert band.width == 3 and band == Band(*band.to_list())
    ```

    Args:
        start: int, at least 0. First bin.
        stop: int above `start`. The bin after the last one.
        weights: sequence of `stop - start` numbers, finite and not negative.
            What the band adds to the mask of each of its bins; in the layouts
            of `band_layout` they sum to 1 over the bands of a bin. Kept as a
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
    def width(self) -> int:
        """int. Number of bins."""
        return self.stop - self.start

    def to_list(self) -> list:
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


def as_bands(values: Iterable) -> list[Band]:
    """Makes a list of `Band` from what a user or a config file gives.

    Args:
        values: sequence with one element per band: `Band`,
            `(start, stop, weights)`, or `(start, stop)`. Without weights, a
            bin held by n bands gets 1/n in each, as in the musical layout.
            Either all elements have weights, or none has.

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


def format_runs(numbers):
    """Writes sorted bin numbers, an int array, as `0-4, 7`."""
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    return ", ".join(
        f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs
    )


def check_bands(bands: Sequence[Band], num_bins: int) -> None:
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
            are not sorted, or a bin other than the highest is not covered.
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
            f"highest may be left out; uncovered: {format_runs(uncovered)}"
        )
