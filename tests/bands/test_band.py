"""Bands as values, lists of bands, and what `check_bands` refuses."""

import copy
import json
import pickle

import numpy as np
import pytest

from keras_bandit.bands import Band, as_bands, band_layout, check_bands

pytestmark = pytest.mark.once


def test_band_is_a_value():
    band = Band(np.int64(2), 5, [0.5, -0.0, 1])
    start, stop, weights = band
    assert (start, stop, band.width) == (2, 5, 3)
    assert type(start) is int
    np.testing.assert_array_equal(weights, np.float32([0.5, 0, 1]))
    same = Band(2, 5, (0.5, 0, 1))
    assert band == same
    assert len({band, same}) == 1
    assert band != Band(2, 5, [0.5, 0, 0.9])
    assert band != Band(3, 6, [0.5, 0, 1])
    assert band != (2, 5, [0.5, 0, 1])


def test_band_does_not_change():
    source = np.ones(3, dtype="float32")
    band = Band(0, 3, source)
    source[:] = 7
    copies = [copy.deepcopy(band), pickle.loads(pickle.dumps(band))]
    for each in (band, *copies):
        assert each == Band(0, 3, [1, 1, 1])
        with pytest.raises(ValueError, match="read-only"):
            each.weights[0] = 2
    with pytest.raises(AttributeError, match="start"):
        band.start = 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 3, []), "at least one bin.* start=3, stop=3"),
        ((3, 2, [1]), "at least one bin"),
        ((-1, 2, [1, 1, 1]), "start .* at least 0; got -1"),
        ((0.5, 2, [1]), "start must be an integer"),
        ((0, "2", [1, 1]), "stop must be an integer"),
        ((0, 2, [1]), r"each of the 2 bins of band \[0, 2\).* shape \(1,\)"),
        ((0, 1, 1.0), r"shape \(\)"),
        ((0, 2, [1, np.nan]), "finite and not negative"),
        ((0, 2, [1, np.inf]), "finite and not negative"),
        ((0, 2, [1, -0.1]), "finite and not negative"),
    ],
)
def test_band_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        Band(*arguments)
    with pytest.raises(ValueError, match=message):
        as_bands([Band(0, 1, [1]), arguments])


@pytest.mark.parametrize(
    "layout", [("mel", 64), ("musical", 48, 2048, 48000), ("drums",)]
)
def test_bands_survive_json(layout):
    bands = band_layout(*layout)
    text = json.dumps([band.to_list() for band in bands])
    assert as_bands(json.loads(text)) == bands


def test_pairs_share_a_bin_equally():
    musical = band_layout("musical", num_bands=64)
    assert as_bands([(b.start, b.stop) for b in musical]) == musical
    assert as_bands(np.array([[0, 2], [1, 3]])) == [
        Band(0, 2, [1, 0.5]),
        Band(1, 3, [0.5, 1]),
    ]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "at least one"),
        (5, "list .* got 5"),
        ([5], "list"),
        ([(0, 1), (1, 2, [1])], "the same for every band"),
        ([(0, 1, [1], 2)], "list"),
        ([(0, 2), (2, 2)], "at least one bin"),
        ("musical", "list"),
    ],
)
def test_as_bands_refuses(values, message):
    with pytest.raises(ValueError, match=message):
        as_bands(values)


def test_check_bands_accepts_no_highest_bin():
    bands = as_bands([(0, 3), (2, 8)])
    check_bands(bands, 8)
    check_bands(bands, 9)
    check_bands(as_bands([(0, 1)]), 1)


@pytest.mark.parametrize(
    ("values", "num_bins", "message"),
    [
        ([(0, 3), (2, 8)], 10, "uncovered: 8-9"),
        ([(0, 3), (4, 8)], 8, "uncovered: 3"),
        ([(1, 8)], 8, "uncovered: 0"),
        ([(0, 2, [1, 0]), (2, 8, [0, 0, 1, 1, 1, 1])], 8, "uncovered: 1-3"),
        ([(0, 3), (2, 9)], 8, r"band 1 must end at num_bins=8 .*\[2, 9\)"),
        ([(0, 8), (3, 4), (2, 8)], 8, r"sorted by start; got band 2 \[2, 8\)"),
        ([(0, 8)], 8.0, "num_bins must be an integer"),
    ],
)
def test_check_bands_refuses(values, num_bins, message):
    with pytest.raises(ValueError, match=message):
        check_bands(as_bands(values), num_bins)


def test_check_bands_refuses_no_bands():
    with pytest.raises(ValueError, match="at least one band; got none"):
        check_bands([], 8)
