"""Markers: where dialogue is."""

import csv
import pathlib
from fractions import Fraction

import numpy as np
import pytest
import soundfile

from keras_bandit.common.loudness import LoudnessMeter
from keras_bandit.inference import separate_file
from keras_bandit.inference.dialogue import dialogue_share, dialogue_spans
from keras_bandit.media.film_track import FilmTrack
from keras_bandit.media.timecode import clock_of

from ..gains import Gains
from ..media.films import clicks, make_film

pytestmark = pytest.mark.once
RATE = 8000


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def bursts(spans, seconds=10, level=0.1):
    """Noise in some places, 40 dB quieter noise elsewhere."""
    time = np.arange(int(seconds * RATE)) / RATE
    loud = sum((start <= time) & (time < end) for start, end in spans) > 0
    noise = np.random.default_rng(0).uniform(-level, level, (2, len(time)))
    return (np.where(loud, 1, 0.01) * noise).astype("float32")


def spans_of(audio):
    meter = LoudnessMeter(RATE)
    for start in range(0, audio.shape[1], 3001):
        meter.push(audio[:, start : start + 3001])
    return dialogue_spans(meter)


def test_bursts_are_found_within_a_block():
    spoken = [(0.73, 2.06), (3.0, 3.55), (5.21, 10.0)]
    found = spans_of(bursts(spoken))
    np.testing.assert_allclose(found, spoken, atol=0.1001)
    for (start, end), (first, last) in zip(found, spoken, strict=True):
        assert start <= first  # nothing is cut
        assert end >= last - 1e-9


def test_short_pauses_are_joined_and_clicks_left_out():
    spoken = [(1.0, 2.0), (2.4, 3.0), (3.5, 4.0), (6.01, 6.06), (8.0, 8.2)]
    found = spans_of(bursts(spoken))
    np.testing.assert_allclose(found, [(1, 3), (3.5, 4), (8, 8.2)], atol=1e-9)


def test_level_does_not_count_and_silence_has_none():
    spoken = [(1.0, 2.0)]
    quiet, loud = (spans_of(bursts(spoken, level=x)) for x in (0.01, 1))
    assert quiet == loud == [(1.0, 2.0)]
    assert spans_of(np.zeros((2, RATE), "float32")) == []
    meter = LoudnessMeter(RATE)
    meter.push(np.zeros((2, RATE)))
    assert dialogue_share(meter) == 0


def test_a_sound_shorter_than_a_block():
    noise = bursts([(0, 1)], 0.25)
    assert spans_of(noise) == [(0, pytest.approx(0.25))]


def separate(path="film.wav", **options):
    return separate_file(path, "out", Gains(), **options)


def test_files_beside_stems_that_are_not_speech():
    audio = bursts([(0.73, 2.06), (5.0, 7.0)])
    soundfile.write("film.wav", audio.T, RATE, subtype="FLOAT")
    done = separate(stems=["music"], markers=["csv", "edl"])
    assert sorted(done.paths) == ["markers_csv", "markers_edl", "music"]
    with open("out/markers.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {
        "start_seconds": "0.700",
        "end_seconds": "2.100",
        "start_timecode": "00:00:00:17",
        "end_timecode": "00:00:02:03",
    }
    assert len(rows) == 2
    assert pathlib.Path("out/markers.edl").read_text().splitlines() == [
        "TITLE: film.wav DIALOGUE",
        "FCM: NON-DROP FRAME",
        "* 25 FRAMES A SECOND",
        "* THE FILE DOES NOT TELL, ASSUMED: 25 frames a second and a start at "
        "00:00:00:00",
        "",
        "001  AX       A     C        "
        "00:00:00:17 00:00:02:03 00:00:00:17 00:00:02:03",
        "* FROM CLIP NAME: film.wav",
        "* LOC: 00:00:00:17 GREEN   DIALOGUE 1",
        "",
        "002  AX       A     C        "
        "00:00:05:00 00:00:07:00 00:00:05:00 00:00:07:00",
        "* FROM CLIP NAME: film.wav",
        "* LOC: 00:00:05:00 GREEN   DIALOGUE 2",
    ]


def test_a_film_has_rate_and_timecode():
    sound = clicks(2)
    sound[:, :48000] = 0
    make_film("film.mov", sound, timecode="10:00:00:00")
    model = Gains()
    model.sample_rate = 48000
    separate_file("film.mov", "out", model, markers=["edl"])
    lines = pathlib.Path("out/markers.edl").read_text().splitlines()
    assert lines[1:4] == ["FCM: NON-DROP FRAME", "* 25 FRAMES A SECOND", ""]
    assert lines[4].split()[4].startswith("10:00:01:")


@pytest.mark.parametrize(
    ("told", "expected", "assumed"),
    [
        (
            {"frame_rate": Fraction(30000, 1001), "timecode": "01:00:00;00"},
            (True, "01:00:00;00", Fraction(30000, 1001)),
            "",
        ),
        # What Matroska makes of 23.976, whose times are in milliseconds.
        (
            {"frame_rate": Fraction(2_397_602, 100_000)},
            (False, "00:00:00:00", Fraction(24000, 1001)),
            "a start at 00:00:00:00",
        ),
        (
            {"time_reference": 48000 * 3600 + 24000},
            (False, "01:00:00:12", 25),
            "25 frames a second",
        ),
        (
            {"frame_rate": Fraction(17), "timecode": "00:00:00:99"},
            (False, "00:00:00:00", 25),
            "25 frames a second and a start at 00:00:00:00",
        ),
    ],
)
def test_the_clock_of_a_source(told, expected, assumed):
    path = pathlib.Path("film.mkv")
    source = FilmTrack(path, 48000, 2, "stereo", 3, "FLOAT", "aac", **told)
    clock, line = clock_of(source)
    assert (clock.drop_frame, clock.timecode(0), clock.frame_rate) == expected
    assert line == assumed


@pytest.mark.parametrize(
    ("gains", "markers", "message"),
    [
        (None, ["txt"], "markers must be one of csv, edl; got 'txt'"),
        ({"vocals": 1, "other": 1}, ["csv"], "speech; this model has vocals"),
    ],
)
def test_bad_markers_are_refused(gains, markers, message):
    soundfile.write("film.wav", np.zeros((8000, 1)), RATE)
    with pytest.raises(ValueError, match=message):
        separate_file("film.wav", "out", Gains(gains=gains), markers=markers)
    assert not pathlib.Path("out").exists()


def test_odd_names_are_written_in_ascii():
    name = "Ça\nva.wav"
    soundfile.write(name, bursts([(1, 2)], 3).T, RATE, subtype="FLOAT")
    separate(name, markers=["edl"])
    text = pathlib.Path("out/markers.edl").read_text()
    assert text.startswith("TITLE: ?a va.wav DIALOGUE\n")
