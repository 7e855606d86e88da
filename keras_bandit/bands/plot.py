"""A picture of layouts. Needs matplotlib, which is imported when it is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_bandit.bands.bsrnn_bands import BSRNN_LAYOUTS
from keras_bandit.bands.layouts import band_layout, layout_names
from keras_bandit.common.extras import require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from keras_bandit.common.types import AnyPath


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
    layouts: Sequence[str] = ("musical", "mel", "bark", "tribark", "erb"),
    num_bands: int = 64,
    n_fft: int = 2048,
    sample_rate: int = 44100,
    path: AnyPath | None = None,
) -> Figure:
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
    drawing = require("matplotlib.figure", "plot", "plot_bands")
    names = [] if isinstance(layouts, str) else list(layouts)
    if not names or any(name not in layout_names() for name in names):
        raise ValueError(
            "layouts must be a sequence of at least one of "
            f"{', '.join(layout_names())}; got {layouts!r}"
        )
    # A figure of its own, without pyplot: no window, no global state.
    figure = drawing.Figure(
        figsize=(2 + 2.1 * len(names), 4), layout="constrained"
    )
    figure.suptitle(
        f"Bins of each band: n_fft {n_fft}, {sample_rate / 1000:g} kHz",
        fontsize="medium",
    )
    axes = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    _set_frequency_axis(axes[0], n_fft, sample_rate)
    for axis, name in zip(axes, names, strict=True):
        count = None if name in BSRNN_LAYOUTS else num_bands
        bands = band_layout(name, count, n_fft, sample_rate)
        _draw_bands(axis, bands, sample_rate / n_fft)
        axis.set_title(name)
    if path is not None:
        figure.savefig(path, dpi=120)
    return figure
