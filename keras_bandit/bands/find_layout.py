"""Which layout a checkpoint's bands have."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from keras_bandit.bands.bsrnn_bands import BSRNN_LAYOUTS
from keras_bandit.bands.layouts import band_layout, check_resolution
from keras_bandit.bands.microtonal import MICROTONAL, NUM_NOTES
from keras_bandit.bands.perceptual import FILTERBANKS
from keras_bandit.common.checks import check_integer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


@functools.cache
def _widths(*layout):
    """Bins of each band, or `None` where no such layout exists."""
    try:
        return [band.width for band in band_layout(*layout)]
    except ValueError:
        return None


def find_layout(
    band_widths: Sequence[int],
    weights: Any = None,
    n_fft: int = 2048,
    sample_rates: Sequence[int] = (44100, 48000),
) -> list[tuple[str, int, int]]:
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
        `band_layout`, by sample rate, then as in `layout_names()`. Several may
        agree: musical bands do not depend on the sample rate (above 16.7 kHz
        at `n_fft` 2048), and `"other"` is the same as `"vocals_v7"`.

    Raises:
        ValueError: if a width or sample rate is not a positive integer,
            `n_fft` not an even one, or `weights` are not as many as the bands.
    """
    widths = [check_integer("band_widths", width, 1) for width in band_widths]
    sample_rates = tuple(sample_rates)
    check_resolution(n_fft, sample_rates)
    if weights is not None and len(weights) != len(widths):
        raise ValueError(
            "weights must have one element for each of the "
            f"{len(widths)} bands; got {len(weights)}"
        )
    candidates = [(name, len(widths)) for name in FILTERBANKS]
    candidates += [(name, None) for name in BSRNN_LAYOUTS]
    # At most one band more than upper edges, and fewer where bands are empty.
    candidates += [
        (MICROTONAL, num_edges)
        for num_edges in range(max(1, len(widths) - 1), NUM_NOTES + 1)
    ]
    found = []
    for rate in sample_rates:
        for name, num_bands in candidates:
            if _widths(name, num_bands, n_fft, rate) != widths:
                continue
            if weights is not None:
                bands = band_layout(name, num_bands, n_fft, rate)
                if not all(
                    np.shape(expected) == band.weights.shape
                    and np.allclose(band.weights, expected, rtol=0, atol=1e-5)
                    for band, expected in zip(bands, weights, strict=True)
                ):
                    continue
            found.append((name, num_bands, rate))
    return found
