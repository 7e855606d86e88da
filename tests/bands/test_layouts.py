"""Layouts, and finding them by widths, against the tables of the authors' code.

`golden/band_tables.npz` holds the bands of the authors' code: 30 tables at
n_fft 2048, and what two small checkpoints of theirs hold, widths and weights
(mel16, musical12). Made from `band_tables.json` and the checkpoints' tensors
`mask_estim.speech.freq_weights/<band>`: `names`, `num_bands`, and, one table
after the other, `bands` (start, stop) and `weights`, rounded to 2^-22.
"""

import math
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_bandit.bands import (
    as_bands,
    band_layout,
    find_layout,
    layout_names,
)

pytestmark = pytest.mark.once

ROOT = pathlib.Path(__file__).parents[2]
PERCEPTUAL = ("musical", "mel", "bark", "tribark", "erb")


def read_tables():
    """Returns {name: (bins `(bands, 2)`, list of weights)}."""
    with np.load(ROOT / "tests" / "golden" / "band_tables.npz") as golden:
        ends = np.cumsum(golden["num_bands"])
        bins = np.split(golden["bands"], ends[:-1])
        widths = golden["bands"][:, 1] - golden["bands"][:, 0]
        weights = np.split(golden["weights"], np.cumsum(widths)[:-1])
        return {
            str(name): (table, weights[end - len(table) : end])
            for name, table, end in zip(
                golden["names"], bins, ends, strict=True
            )
        }


TABLES = read_tables()
FULL_TABLES = [name for name, (bins, _) in TABLES.items() if bins[0, 0] == 0]


def layout_arguments(table):
    """Splits `mel48@44100` into the arguments of `band_layout`."""
    match = re.fullmatch(r"([a-z]+)(\d+)@(\d+)", table)
    if not match:
        return {"name": table}
    return {
        "name": match[1],
        "num_bands": int(match[2]),
        "sample_rate": int(match[3]),
    }


def coverage(bands, num_bins):
    """Number of bands, and sum of weights, per bin."""
    number, total = np.zeros(num_bins), np.zeros(num_bins)
    for start, stop, weights in bands:
        number[start:stop] += 1
        total[start:stop] += weights
    return number, total


# Layouts


def test_there_are_30_tables():
    assert len(FULL_TABLES) == 30
    assert len(TABLES) == 32


@pytest.mark.parametrize("table", FULL_TABLES)
def test_layout_equals_authors_table(table):
    bands = band_layout(**layout_arguments(table))
    bins, weights = TABLES[table]
    assert [(band.start, band.stop) for band in bands] == [
        tuple(row) for row in bins.tolist()
    ]
    for band, expected in zip(bands, weights, strict=True):
        assert band.weights.dtype == np.float32
        # 1.2e-7 of it is the rounding of the golden file.
        np.testing.assert_allclose(band.weights, expected, rtol=0, atol=3e-7)


@pytest.mark.parametrize("table", sorted(set(TABLES) - set(FULL_TABLES)))
def test_layout_equals_checkpoint(table):
    bands = band_layout(**layout_arguments(table))
    for band, expected in zip(bands, TABLES[table][1], strict=True):
        np.testing.assert_allclose(band.weights, expected, rtol=0, atol=3e-7)


@pytest.mark.parametrize(
    ("name", "sample_rate", "covered"),
    [
        ("mel", 44100, False),
        ("mel", 48000, True),
        ("tribark", 44100, True),
        ("tribark", 48000, False),
        ("erb", 44100, False),
        ("erb", 48000, False),
        ("bark", 44100, False),
        ("bark", 48000, False),
        ("musical", 44100, True),
        ("musical", 48000, True),
    ],
)
@pytest.mark.parametrize("num_bands", [12, 33, 90])
@pytest.mark.parametrize("n_fft", [1024, 4096])
def test_float32_edge_decides_about_highest_bin(
    name, sample_rate, covered, num_bands, n_fft
):
    if name == "erb" and n_fft == 1024:
        num_bands = min(num_bands, 40)  # more would leave bands empty
    number, _ = coverage(
        band_layout(name, num_bands, n_fft, sample_rate), n_fft // 2 + 1
    )
    assert (number[-1] > 0) == covered


@pytest.mark.parametrize("sample_rate", [44100, 48000])
@pytest.mark.parametrize("n_fft", [1024, 2048, 4096])
def test_musical_has_closed_form_in_bins(n_fft, sample_rate):
    octaves, num_bins = math.log2(n_fft / 2), n_fft // 2 + 1
    for num_bands in range(12, 129):
        reach = 2 ** (octaves / num_bands)
        centres = [
            2 ** (octaves * i / (num_bands - 1)) for i in range(num_bands)
        ]
        expected = [
            (
                math.floor(centre / reach),
                min(math.ceil(centre * reach) + 1, num_bins),
            )
            for centre in centres
        ]
        bands = band_layout("musical", num_bands, n_fft, sample_rate)
        assert [(band.start, band.stop) for band in bands] == expected


@pytest.mark.parametrize("sample_rate", [8000, 16000])
def test_musical_starts_at_midi_0_where_bin_1_is_lower(sample_rate):
    n_fft, num_bands = 2048, 50
    bin_hz, nyquist = sample_rate / n_fft, sample_rate / 2
    # C five octaves below middle C, MIDI number 0.
    centres = np.geomspace(440 * 2 ** (-69 / 12), nyquist, num_bands) / bin_hz
    reach = 2 ** (10 / num_bands)
    start = np.floor(centres / reach)
    stop = np.minimum(np.ceil(centres * reach) + 1, 1025)
    start[0], stop[-1] = 0, 1025
    bands = band_layout("musical", num_bands, n_fft, sample_rate)
    assert [band.start for band in bands] == start.tolist()
    assert [band.stop for band in bands] == stop.tolist()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(PERCEPTUAL),
    num_bands=st.integers(10, 90),
    n_fft=st.sampled_from([2048, 4096]),
    sample_rate=st.sampled_from([16000, 22050, 44100, 48000]),
)
def test_weights_of_every_bin_sum_to_one(name, num_bands, n_fft, sample_rate):
    bands = band_layout(name, num_bands, n_fft, sample_rate)
    number, total = coverage(bands, n_fft // 2 + 1)
    assert len(bands) == num_bands
    # Up to 20 bands of float32 weights in one bin.
    np.testing.assert_allclose(total[:-1], 1, atol=2e-6)
    assert total[-1] == (number[-1] > 0)


@pytest.mark.parametrize("sample_rate", [44100, 48000])
@pytest.mark.parametrize("n_fft", [1024, 2048, 4096])
@pytest.mark.parametrize("name", layout_names()[len(PERCEPTUAL) :])
def test_other_layouts_partition_the_bins(name, n_fft, sample_rate):
    bands = band_layout(name, n_fft=n_fft, sample_rate=sample_rate)
    edges = [0, *(band.stop for band in bands)]
    assert [band.start for band in bands] == edges[:-1]
    assert edges[-1] == n_fft // 2 + 1
    assert all((band.weights == 1).all() for band in bands)


def test_vocals_v7_keeps_the_slivers_of_rounded_bandwidths():
    bands = band_layout("vocals_v7")
    assert len(bands) == 43
    slivers = [(start, stop) for start, stop, _ in bands if stop - start < 5]
    assert slivers == [(45, 46), (370, 372), (740, 743)]
    assert bands == band_layout("other")


def walk_microtonal_notes():
    """The walk of the refined BSRNN, Sec. III-A."""
    notes, frequency = [], 20.0
    while frequency <= 20000:
        quarter_tones = round(24 * math.log2(frequency / 440))
        if quarter_tones % 2:
            notes.append(440 * 2 ** (quarter_tones / 24))
        frequency = 440 * 2 ** ((quarter_tones + 1) / 24)
    return notes


@pytest.mark.parametrize("num_edges", [1, 7, 41, 120])
@pytest.mark.parametrize("sample_rate", [16000, 44100, 48000])
def test_microtonal_walks_in_quarter_tones(num_edges, sample_rate):
    notes = walk_microtonal_notes()
    expected, lower = [], 0
    for i in range(num_edges):
        edge = notes[int(i * len(notes) / num_edges)]
        upper = sum(k * sample_rate / 2048 < edge for k in range(1025))
        if upper > lower:
            expected.append((lower, upper))
            lower = upper
    if lower < 1025:
        expected.append((lower, 1025))
    bands = band_layout("microtonal", num_edges, sample_rate=sample_rate)
    assert [(band.start, band.stop) for band in bands] == expected


def test_microtonal_defaults_to_41_edges():
    assert band_layout("microtonal") == band_layout("microtonal", 41)
    assert len(band_layout("microtonal")) == 36


def test_own_bands():
    pairs = [(0, 100), (90, 1025)]
    bands = band_layout(pairs)
    assert bands == as_bands(pairs)
    assert band_layout([band.to_list() for band in bands]) == bands
    assert band_layout(bands) == bands


def test_one_band():
    (band,) = band_layout("musical", num_bands=1)
    assert (band.start, band.stop) == (0, 1025)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "melody"}, "one of musical, mel, .*microtonal; got 'melody'"),
        ({"name": None}, "bands must be a list .* got None"),
        ({"name": []}, "bands must be a list .* at least one; got"),
        ({"name": "mel"}, "num_bands must be given for layout 'mel'"),
        ({"name": "mel", "num_bands": 0}, "num_bands .* at least 1; got 0"),
        ({"name": "mel", "num_bands": 8.0}, "num_bands .* got 8.0"),
        ({"name": "mel", "num_bands": True}, "num_bands .* got True"),
        ({"name": "bass", "num_bands": 34}, "num_bands must be None .* 'bass'"),
        ({"name": [(0, 1025)], "num_bands": 1}, "num_bands must be None"),
        ({"name": "microtonal", "num_bands": 121}, "120 at most.* got 121"),
        ({"name": "bass", "n_fft": 2047}, "n_fft must be even; got 2047"),
        ({"name": "bass", "n_fft": 0}, "n_fft .* at least 2; got 0"),
        ({"name": "bass", "sample_rate": 44100.0}, "sample_rate .* 44100.0"),
        ({"name": "bass", "sample_rate": 0}, "sample_rate .* got 0"),
        (
            {"name": "vocals_v7", "sample_rate": 32000},
            "at least 40000 .* 32000",
        ),
        ({"name": "bass", "sample_rate": 16000}, "at least 32000 .* 16000"),
        ({"name": "drums", "n_fft": 256}, "50 Hz bands .* n_fft=256"),
        ({"name": "erb", "num_bands": 101}, "too many .* into bands 0. Use"),
        ({"name": "bark", "num_bands": 5}, "too few .* no band holds bins"),
        ({"name": [(0, 4), (5, 1025)]}, "uncovered: 4"),
    ],
)
def test_band_layout_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        band_layout(**arguments)


def test_band_layout_accepts_the_most_bands_that_fit():
    assert len(band_layout("erb", num_bands=100)) == 100
    assert len(band_layout("vocals_v7", sample_rate=40000)) > 0


def test_docs_table_is_true():
    text = (ROOT / "docs" / "bands.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", text, flags=re.MULTILINE)
    assert {name for name, _ in rows} == set(layout_names())
    for name, cells in rows:
        num_bands, *written = (cell.split(" / ") for cell in cells.split(" | "))
        num_bands = None if num_bands == ["`None`"] else int(num_bands[0])
        for index, sample_rate in enumerate((44100, 48000)):
            bands = band_layout(name, num_bands, sample_rate=sample_rate)
            widths = [band.width for band in bands]
            number, _ = coverage(bands, 1025)
            measured = [
                str(len(bands)),
                str(sum(widths)),
                f"{min(widths)}-{max(widths)}",
                str(int(number.max())),
                "yes" if number[-1] else "no",
            ]
            assert [cell[min(index, len(cell) - 1)] for cell in written] == (
                measured
            ), (name, num_bands, sample_rate)


def test_bands_need_numpy_alone():
    program = (
        "import sys; before = set(sys.modules); import numpy; "
        "after = set(sys.modules); from keras_bandit import bands; "
        "bands.band_layout('bark', 48); "
        "print(*{m.split('.')[0] for m in set(sys.modules) - after})"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    imported = set(result.stdout.split())
    assert "keras_bandit" in imported
    assert imported <= {"keras_bandit", "numpy", *sys.stdlib_module_names}


# find_layout


@pytest.mark.parametrize("table", sorted(TABLES))
def test_find_layout_knows_every_table(table):
    bins, weights = TABLES[table]
    widths = (bins[:, 1] - bins[:, 0]).tolist()
    wanted = layout_arguments(table)
    wanted = (
        "vocals_v7" if table == "other" else wanted["name"],
        wanted.get("num_bands"),
        wanted.get("sample_rate", 44100),
    )
    found = find_layout(widths, weights)
    if wanted[0] == "musical":  # the same bands at any sample rate
        assert found == [(*wanted[:2], 44100), (*wanted[:2], 48000)]
    elif wanted[0] == "vocals_v7":
        assert found == [wanted, ("other", None, 44100)]
    else:
        assert found == [wanted]
    # Here no two layouts have the same widths and other weights.
    assert find_layout(widths) == found


@pytest.mark.parametrize("sample_rate", [44100, 48000])
def test_find_layout_knows_microtonal(sample_rate):
    bands = band_layout("microtonal", sample_rate=sample_rate)
    found = find_layout([band.width for band in bands])
    assert found == [("microtonal", 41, sample_rate)]


def test_find_layout_compares_weights():
    bands = band_layout("mel", 16)
    widths = [band.width for band in bands]
    weights = [band.weights.astype("float64") for band in bands]
    weights[3] = weights[3] + 9e-6
    assert find_layout(widths, weights) == [("mel", 16, 44100)]
    weights[3] = weights[3] + 2e-6
    assert find_layout(widths, weights) == []
    weights[3] = weights[3][1:]
    assert find_layout(widths, weights) == []


def test_find_layout_uses_the_callers_resolution():
    bands = band_layout("mel", 16, n_fft=1024, sample_rate=32000)
    widths = [band.width for band in bands]
    assert find_layout(widths, n_fft=1024) == []
    assert find_layout(widths, n_fft=1024, sample_rates=[32000]) == [
        ("mel", 16, 32000)
    ]
    assert find_layout([7, 8, 9]) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"band_widths": [5, 0]}, "band_widths .* at least 1; got 0"),
        ({"band_widths": [5], "weights": []}, "each of the 1 bands; got 0"),
        ({"band_widths": [5], "n_fft": 5}, "n_fft must be even"),
        ({"band_widths": [5], "sample_rates": [0]}, "sample_rate .* got 0"),
    ],
)
def test_find_layout_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        find_layout(**arguments)
