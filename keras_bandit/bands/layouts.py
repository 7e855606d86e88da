"""Layouts by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_bandit.bands.band import as_bands, check_bands
from keras_bandit.bands.bsrnn_bands import BSRNN_LAYOUTS, bsrnn_bands
from keras_bandit.bands.microtonal import (
    DEFAULT_NUM_EDGES,
    MICROTONAL,
    microtonal_bands,
)
from keras_bandit.bands.perceptual import FILTERBANKS, perceptual_bands
from keras_bandit.common.checks import check_integer

if TYPE_CHECKING:
    from keras_bandit.bands.band import Band


def layout_names() -> list[str]:
    """Returns the names that `band_layout` accepts, a tuple of str."""
    return (*FILTERBANKS, *BSRNN_LAYOUTS, MICROTONAL)


def check_resolution(n_fft, sample_rates):
    """Raises ValueError unless these are integers, `n_fft` an even one."""
    if check_integer("n_fft", n_fft, 2) % 2:
        raise ValueError(f"n_fft must be even; got {n_fft}")
    for sample_rate in sample_rates:
        check_integer("sample_rate", sample_rate, 1)


def band_layout(
    name: str,
    num_bands: int | None = None,
    n_fft: int = 2048,
    sample_rate: int = 44100,
) -> list[Band]:
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
    from keras_bandit.bands import band_layout

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
    check_resolution(n_fft, [sample_rate])
    if num_bands is not None:
        num_bands = check_integer("num_bands", num_bands, 1)
    own = not isinstance(name, str)
    if not own and name not in layout_names():
        raise ValueError(
            "name must be a list of bands or one of "
            f"{', '.join(layout_names())}; got {name!r}"
        )
    if num_bands is not None and (own or name in BSRNN_LAYOUTS):
        raise ValueError(
            "num_bands must be None for a list of bands and for layouts with "
            f"a number of their own; got num_bands={num_bands} for {name!r:.200}"
        )
    if own:
        bands = as_bands(name)
    elif name in BSRNN_LAYOUTS:
        bands = bsrnn_bands(name, n_fft, sample_rate)
    elif name == MICROTONAL:
        bands = microtonal_bands(
            num_bands or DEFAULT_NUM_EDGES, n_fft, sample_rate
        )
    elif num_bands is None:
        raise ValueError(
            f"num_bands must be given for layout {name!r}, an integer of at "
            "least 1; got None"
        )
    else:
        bands = perceptual_bands(name, num_bands, n_fft, sample_rate)
    check_bands(bands, n_fft // 2 + 1)
    return bands
