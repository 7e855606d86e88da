"""Pictures of layouts."""

import sys

import numpy as np
import pytest

from keras_bandit.bands import band_layout, plot_bands

pytestmark = pytest.mark.once

PERCEPTUAL = ("musical", "mel", "bark", "tribark", "erb")


def test_plot_bands_draws_the_range_of_each_band(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "bands.png"
    figure = plot_bands(("mel", "drums"), num_bands=20, path=path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [axis.get_title() for axis in figure.axes] == ["mel", "drums"]
    assert figure.axes[0].get_yscale() == "log"
    for axis, arguments in zip(
        figure.axes, [("mel", 20), ("drums",)], strict=True
    ):
        (bars,) = axis.collections
        segments = np.array(bars.get_segments())  # (bands, 2 ends, x and y)
        bands = band_layout(*arguments)
        assert segments[:, 0, 0].tolist() == list(range(len(bands)))
        bin_hz = 44100 / 2048
        np.testing.assert_allclose(
            segments[1:, 0, 1], [(b.start - 0.5) * bin_hz for b in bands[1:]]
        )
        np.testing.assert_allclose(
            segments[:, 1, 1], [(b.stop - 0.5) * bin_hz for b in bands]
        )
        bottom = axis.get_ylim()[0]
        assert segments[0, 0, 1] == pytest.approx(bottom)  # bin 0 is 0 Hz
        assert (segments[1:, 0, 1] > bottom).all()


def test_plot_bands_draws_figure_2_by_default():
    pytest.importorskip("matplotlib")
    figure = plot_bands()
    assert [axis.get_title() for axis in figure.axes] == list(PERCEPTUAL)
    for axis in figure.axes:
        assert len(axis.collections[0].get_segments()) == 64


@pytest.mark.parametrize("layouts", ["mel", [], ["melody"], [[(0, 1025)]]])
def test_plot_bands_refuses(layouts):
    pytest.importorskip("matplotlib")
    with pytest.raises(ValueError, match="layouts must be a sequence"):
        plot_bands(layouts)


def test_plot_bands_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"keras-bandit\[plot\]"):
        plot_bands()
