"""`separate_file` with films: surround, tracks, mixes, a film with its stems."""

import json
import pathlib
import struct

import av
import numpy as np
import pytest
import soundfile

from keras_bandit.inference import separate_file
from keras_bandit.media import AudioFileError, open_source
from keras_bandit.media.layouts import LAYOUTS
from keras_bandit.media.riff import Chunk
from keras_bandit.media.writing import WavWriter

from ..gains import Gains
from ..media.films import clicks, lag, make_film, on_grid

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def surround(name="film.wav", layout="5.1"):
    """A recording with another tone in each channel."""
    mask = LAYOUTS[layout]
    channels = mask.bit_count()
    time = np.arange(8000) / 8000
    audio = 0.1 * np.sin(200 * np.arange(1, channels + 1)[:, None] * time)
    with WavWriter(name, 8000, channels, "FLOAT", mask) as writer:
        writer.write(audio.astype("float32"))
    return audio


def read(path):
    return soundfile.read(path, always_2d=True)[0].T


@pytest.mark.parametrize(
    ("lfe", "effects", "others"),
    [("effects", 1, 0), ("separate", 0.125, None), ("drop", 0, 0)],
)
def test_the_channel_of_low_effects(lfe, effects, others):
    audio, model = surround(), Gains()
    separate_file("film.wav", "out", model, lfe=lfe)
    for stem, gain in model.gains.items():
        expected = gain * audio
        factor = effects if stem == "effects" else others
        expected[3] = audio[3] * (gain if factor is None else factor)
        path = f"out/{stem}.wav"
        np.testing.assert_allclose(read(path), expected, atol=1e-6)
        assert open_source(path).layout == "5.1"


@pytest.mark.parametrize("stems", [["speech"], None])
def test_other_stems_have_no_low_effects(stems):
    audio, model = surround(), Gains(gains={"speech": 0.5, "music": 0.25})
    separate_file("film.wav", "out", model, stems=stems)
    expected = 0.5 * audio
    expected[3] = 0
    np.testing.assert_allclose(read("out/speech.wav"), expected, atol=1e-6)


def test_mixes():
    audio, model = surround(layout="stereo"), Gains()
    options = {"without": ["music"], "gains_db": {"speech": 6.0}}
    done = separate_file("film.wav", "out", model, stems=["effects"], **options)
    assert list(done.paths) == ["effects", "mix"]
    expected = (1 - 0.25 + 0.5 * (10 ** (6 / 20) - 1)) * audio
    np.testing.assert_allclose(read("out/mix.wav"), expected, atol=1e-6)


def test_some_stems_alone():
    audio, model = surround(layout="stereo"), Gains()
    options = {"only": ["speech", "music"], "gains_db": {"speech": 6.0}}
    done = separate_file("film.wav", "out", model, stems=["effects"], **options)
    assert list(done.paths) == ["effects", "mix"]
    expected = (0.25 + 0.5 * 10 ** (6 / 20)) * audio
    np.testing.assert_allclose(read("out/mix.wav"), expected, atol=1e-6)


SPLIT = {
    "speech": 0.5,
    "music_instrumental": 0.25,
    "music_vocals": 0.0625,
    "sfx": 0.125,
}


@pytest.mark.parametrize(
    ("gains", "expected"),
    [
        (None, {"me": 0.375, "dialogue": 0.5}),
        (SPLIT, {"me": 0.375, "dialogue": 0.5, "optionals": 0.0625}),
    ],
)
def test_deliveries_are_written_alone(gains, expected):
    audio, model = surround(layout="stereo"), Gains(gains=gains)
    options = {"deliver": list(expected), "residual": True, "report": True}
    name = "{title}_{stem}_{layout}_{rate}"
    done = separate_file("film.wav", "out", model, name=name, **options)
    assert list(done.paths) == [*expected, "residual", "report", "page"]
    expected["residual"] = 1 - sum(expected.values())
    for stem, gain in expected.items():
        path = f"out/film_{stem}_stereo_8000.wav"
        np.testing.assert_allclose(read(path), gain * audio, atol=1e-6)
    report = json.loads(pathlib.Path("out/report.json").read_text())
    rest = 20 * np.log10(expected["residual"])
    assert report["null_test_db"] == pytest.approx(rest, abs=0.01)


def test_deliveries_compute_only_what_they_need():
    surround()
    model = Gains()
    separate_file("film.wav", "out", model, deliver=["me"])
    assert set(map(tuple, model.computed)) == {("music", "effects")}
    separate_file(
        "film.wav", "both", model, deliver=["me"], stems=["speech", "music"]
    )
    names = sorted(path.stem for path in pathlib.Path("both").iterdir())
    assert names == ["me", "music", "speech"]


@pytest.mark.parametrize(
    ("layout", "names"),
    [
        ("5.1(side)", ["L", "R", "C", "LFE", "Ls", "Rs"]),
        ("7.1", ["L", "R", "C", "LFE", "Lrs", "Rrs", "Lss", "Rss"]),
        (None, ["1", "2", "3", "4", "5", "6"]),
    ],
)
def test_a_mono_file_for_each_channel(layout, names):
    audio = surround(layout=layout or "5.1")
    if layout is None:  # channels without a speaker each
        soundfile.write("film.wav", audio.T, 8000, subtype="FLOAT")
    options = {"split_channels": True, "lfe": "separate"}
    done = separate_file("film.wav", "out", Gains(), stems=["music"], **options)
    assert list(done.paths) == [f"music.{name}" for name in names]
    for name, channel in zip(names, audio, strict=True):
        path = f"out/music.{name}.wav"
        np.testing.assert_allclose(read(path), 0.25 * channel[None], atol=1e-6)
        assert open_source(path).layout == "mono"


def test_mono_files_keep_the_clock_but_no_channel_table():
    bext = bytes(338) + struct.pack("<Q", 172_800_000) + bytes(257)
    chunks = Chunk("bext", bext), Chunk("chna", bytes(44)), Chunk("axml", b"<>")
    with WavWriter("film.wav", 8000, 2, "FLOAT", None, chunks) as writer:
        writer.write(np.ones((2, 8000), "float32"))
    separate_file("film.wav", "out", Gains(), split_channels=True)
    right = open_source("out/speech.R.wav")
    assert [chunk.name for chunk in right.chunks] == ["bext"]
    assert right.time_reference == 172_800_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"without": ["song"]}, "no song; it has speech"),
        ({"only": ["song"]}, "only: this model has no song; it has speech"),
        ({"only": ["music"], "without": ["speech"]}, "exclude one another"),
        (
            {"only": ["music"], "gains_db": {"speech": 1}},
            "not left out; got 1 for speech",
        ),
        ({"deliver": ["song"]}, "of me, dialogue, optionals; got song"),
        ({"deliver": ["optionals"]}, "needs the stem singing; this model has"),
        ({"split_channels": True, "remux": "mkv"}, "exclude one another"),
        ({"gains_db": {"speech": 101}}, "got 101 for speech"),
        (
            {"without": ["speech"], "gains_db": {"speech": 1}},
            "not left out; got 1 for speech",
        ),
        ({"lfe": "music"}, "lfe must be one of .*got 'music'"),
        ({"remux": "avi"}, "remux must be one of mkv, mov, mp4; got 'avi'"),
    ],
)
def test_bad_mixes_are_refused(options, message):
    surround()
    with pytest.raises(ValueError, match=message):
        separate_file("film.wav", "out", Gains(), **options)
    assert not pathlib.Path("out").exists()


@pytest.mark.parametrize("container", ["mkv", "mov", "mp4"])
def test_a_film_with_its_stems(container):
    sound, model = on_grid(clicks()), Gains()
    make_film("film.mov", {"eng": sound, "spa": -sound}, timecode="01:00:00:00")
    model.sample_rate = 48000
    done = separate_file(
        "film.mov",
        "out",
        model,
        audio_track=2,
        without=["music"],
        remux=container,
    )
    np.testing.assert_allclose(read("out/mix.wav"), -0.75 * sound, atol=2**-15)
    np.testing.assert_allclose(
        read("out/speech.wav"), -0.5 * sound, atol=2**-15
    )
    with av.open(str(done.paths["film"])) as film:
        titles = [stream.metadata.get("title") for stream in film.streams.audio]
        languages = {s.metadata["language"] for s in film.streams.audio[2:]}
        frames = sum(1 for _ in film.decode(video=0))
    assert len(titles) == 2 + 4
    assert languages == {"spa"}
    assert frames == 50
    mix = open_source(done.paths["film"])  # what players choose
    heard = np.concatenate(list(mix.blocks()), axis=1)
    assert lag(heard[:, : sound.shape[1]], -sound) == [0, 0]
    assert mix.timecode == "01:00:00:00"


@pytest.mark.parametrize("mono", [True, False])
@pytest.mark.parametrize("container", ["mkv", "mov"])
def test_a_surround_film_with_its_stems(mono, container):
    """One track of six channels, or a mono track for each."""
    sound, model = on_grid(clicks(num_channels=6), 24), Gains()
    tracks = {"eng": sound}
    if mono:
        tracks = {str(i): channel[None] for i, channel in enumerate(sound)}
    layout = "mono" if mono else "5.1"
    make_film("film.mov", tracks, "pcm_s24le", layout=layout)
    model.sample_rate = 48000
    done = separate_file(
        "film.mov",
        "out",
        model,
        audio_track=[1, 2, 3, 4, 5, 6] if mono else None,
        remux=container,
    )
    for track, (stem, gain) in enumerate(model.gains.items(), len(tracks) + 1):
        expected = gain * sound
        expected[3] = sound[3] * (stem == "effects")
        for path, number in (
            (done.paths[stem], 1),
            (done.paths["film"], track),
        ):
            found = open_source(path, number)
            assert (found.layout, found.subtype) == ("5.1", "PCM_24")
            heard = np.concatenate(list(found.blocks()), axis=1)
            np.testing.assert_allclose(heard, expected, atol=2**-22)
            np.testing.assert_array_equal(heard[3], expected[3])


def test_a_container_that_cannot_hold_the_film_is_refused_first():
    make_film("film.mkv", clicks(), codec="flac")
    model = Gains()
    with pytest.raises(AudioFileError, match=r"\.mov cannot hold these tracks"):
        separate_file("film.mkv", "out", model, remux="mov")
    assert not pathlib.Path("out").exists()
    assert model.computed == []


def test_a_stem_of_a_track_that_is_not_there():
    make_film("film.mkv", clicks(), codec="flac")
    with pytest.raises(AudioFileError, match="no audio track 2"):
        separate_file("film.mkv", "out", Gains(), audio_track=2)
    assert not pathlib.Path("out").exists()
