"""Prepared datasets: every storage gives the samples of the files."""

import json
import os
import pathlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from keras_bandit.data import open_tracks, stored_tracks
from keras_bandit.data.prepare import prepare
from keras_bandit.data.sample_formats import TrackFileError, pack, unpack
from keras_bandit.data.stored_tracks import STORAGES

pytestmark = pytest.mark.once

RATE = 8000
NUM_SAMPLES = 20500  # 2.5625 s: the last segment is a part of one
STEMS = ("mixture", "speech", "music", "effects")
FILES = ("mix", "speech", "music", "sfx")


def write_track(folder, seed, subtype="PCM_16", num_channels=1, suffix=".wav"):
    """Writes the stems of a track in DnR's names."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for name in FILES:
        audio = rng.uniform(-1, 1, (NUM_SAMPLES, num_channels))
        soundfile.write(folder / f"{name}{suffix}", audio, RATE, subtype)


def read_file(path):
    return soundfile.read(path, dtype="float32", always_2d=True)[0].T


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Tracks of several sample formats, prepared in every storage."""
    root = tmp_path_factory.mktemp("dnr")
    subtypes = ("PCM_16", "PCM_24", "FLOAT", "PCM_32", "PCM_U8", "DOUBLE")
    for index, subtype in enumerate(subtypes):
        write_track(root / "dnr" / "tr" / f"{index}", index, subtype, 2)
    write_track(root / "dnr" / "cv" / "10", 10, "PCM_24", 2, ".flac")
    write_track(root / "dnr" / "tt" / "11", 11, "PCM_16", 2)
    for storage in STORAGES:
        prepare("dnr", root / "dnr", root / "data", f"v2_{storage}")
    return root


@pytest.mark.parametrize("storage", STORAGES)
def test_reads_are_those_of_the_file(prepared, storage):
    rng = np.random.default_rng(0)
    for split, folder in (
        ("train", "tr"),
        ("validation", "cv"),
        ("test", "tt"),
    ):
        tracks = open_tracks("dnr", split, prepared / "data", storage)
        for track in pickle.loads(pickle.dumps(tracks)):
            assert (track.sample_rate, track.num_channels) == (RATE, 2)
            assert track.num_samples == NUM_SAMPLES
            assert track.stems == STEMS
            for stem, name in zip(STEMS, FILES, strict=True):
                path = prepared / "dnr" / folder / track.name / name
                path = next(path.parent.glob(f"{name}.*"))
                whole = read_file(path)
                np.testing.assert_array_equal(track.read(stem), whole)
                start, stop = np.sort(rng.integers(0, NUM_SAMPLES, 2))
                piece = track.read(stem, int(start), int(stop))
                assert piece.dtype == np.float32
                assert piece.flags.c_contiguous
                np.testing.assert_array_equal(piece, whole[:, start:stop])


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize(
    ("start", "stop"),
    [
        (0, 0),
        (RATE, RATE),
        (NUM_SAMPLES, NUM_SAMPLES),
        (0, RATE),
        (RATE - 1, RATE + 1),
        (2 * RATE, NUM_SAMPLES),
        (NUM_SAMPLES - 1, NUM_SAMPLES),
    ],
)
def test_ends_of_segments(prepared, storage, start, stop):
    track = open_tracks("dnr", "test", prepared / "data", storage)[0]
    whole = read_file(prepared / "dnr" / "tt" / "11" / "speech.wav")
    np.testing.assert_array_equal(
        track.read("speech", start, stop), whole[:, start:stop]
    )


def test_sample_width_is_kept(prepared):
    """A segment has the bytes of its samples, and no more."""
    for storage in STORAGES:
        tracks = open_tracks("dnr", "train", prepared / "data", storage)
        assert [set(track.subtypes.values()) for track in tracks] == [
            {"PCM_16"},
            {"PCM_24"},
            {"FLOAT"},
            {"PCM_32"},
            {"PCM_U8"},
            {"DOUBLE"},
        ]
    tracks = open_tracks("dnr", "train", prepared / "data", "segments")
    for track, width in zip(tracks, (2, 3, 4, 4, 1, 8), strict=True):
        record = stored_tracks._read_record(*track.source, track.first_record)
        assert len(record["music"]) == RATE * 2 * width


@pytest.mark.parametrize("dtype", ["int16", "int32", "float32", "float64"])
def test_pack_round_trip(dtype):
    subtypes = {
        "int16": "PCM_16",
        "int32": "PCM_32",
        "float32": "FLOAT",
        "float64": "DOUBLE",
    }
    data = np.random.default_rng(0).bytes(8 * 30)
    frames = np.frombuffer(data, "uint8").view(dtype).reshape(-1, 3)
    again = unpack(pack(frames, subtypes[dtype]), subtypes[dtype], 3)
    assert again.tobytes() == frames.tobytes()


def test_no_tensorflow(prepared, tmp_path):
    """Neither preparing nor opening nor reading imports it."""
    code = f"""
import sys
from keras_bandit.data import open_tracks
from keras_bandit.data.prepare import prepare
source, data = {str(prepared / "dnr")!r}, {str(tmp_path / "data")!r}
for storage in {STORAGES}:
    prepare("dnr", source, data, "v2_" + storage)
    track = open_tracks("dnr", "train", data, storage)[0]
    assert track.read("music", 100, 9000).std() > 0.1
heavy = {{"tensorflow", "keras", "torch", "jax"}}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("storage", STORAGES)
def test_forked_workers(prepared, storage, monkeypatch):
    """Paths are read in any process; array_record hangs in forked ones."""
    track = open_tracks("dnr", "train", prepared / "data", storage)[0]
    track.read("music", 0, 10)
    monkeypatch.setattr(stored_tracks, "_reader", os.getpid())
    child = os.getpid() + 1
    monkeypatch.setattr(os, "getpid", lambda: child)
    if storage == "paths":
        assert track.read("music", 0, 10).shape == (2, 10)
    else:
        with pytest.raises(RuntimeError, match="'spawn' or 'forkserver'"):
            track.read("music", 0, 10)


def test_unknown_names_are_errors(prepared):
    data = prepared / "data"
    with pytest.raises(ValueError, match="train, validation, test; got 'tr'"):
        open_tracks("dnr", "tr", data)
    with pytest.raises(ValueError, match="no config 'v3_paths' of dnr"):
        open_tracks("dnr", "train", data, "v3_paths")
    with pytest.raises(ValueError, match="no config 'paths' of musdb18_hq"):
        open_tracks("musdb18_hq", "train", data)
    named = open_tracks("dnr/v2_segments", "train", data)
    assert isinstance(named[0], stored_tracks.SegmentTrack)
    with pytest.raises(ValueError, match="has no stem 'voice'"):
        named[0].read("voice")


def test_a_form_that_is_gone_is_named(tmp_path):
    """Version 0.1 could store FLAC files, as `tracks`."""
    directory = tmp_path / "dnr" / "v2_tracks" / "1.0.0"
    directory.mkdir(parents=True)
    (directory / "dataset_info.json").write_text("{}")
    index = {"storage": "tracks", "tracks": {"train": []}}
    (directory / "metadata.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"'tracks'.*prepare it again"):
        open_tracks("dnr", "train", tmp_path, "v2_tracks")


def test_files_that_change_are_named(tmp_path):
    for folder in ("tr/a", "cv/a", "tt/a"):
        write_track(tmp_path / "dnr" / folder, 0)
    prepare("dnr", tmp_path / "dnr", tmp_path / "data", "v2_paths")
    track = open_tracks("dnr", "train", tmp_path / "data")[0]
    music = pathlib.Path(track.paths["music"])
    soundfile.write(music, np.zeros(NUM_SAMPLES - 1), RATE)
    with pytest.raises(TrackFileError, match=r"a/music\.wav: has .* 20499"):
        track.read("music", 0, 10)
    music.unlink()
    with pytest.raises(TrackFileError, match=r"No such file.*prepare"):
        track.read("music", 0, 10)


@pytest.mark.parametrize(
    ("subtype", "value"),
    [("FLOAT", np.nan), ("FLOAT", -np.inf), ("DOUBLE", 1e300)],
)
def test_what_is_not_a_number_is_named_when_read(tmp_path, subtype, value):
    for folder in ("tr/a", "cv/a", "tt/a"):
        write_track(tmp_path / "dnr" / folder, 0)
    audio = np.zeros(NUM_SAMPLES)
    audio[700] = value
    soundfile.write(tmp_path / "dnr/tr/a/sfx.wav", audio, RATE, subtype)
    prepare("dnr", tmp_path / "dnr", tmp_path / "data", "v2_paths")
    track = open_tracks("dnr", "train", tmp_path / "data")[0]
    assert not track.read("effects", 0, 700).any()
    with pytest.raises(TrackFileError, match=r"sfx\.wav.*finite.*sample 700;"):
        track.read("effects", 500, 900)
    with pytest.raises(TrackFileError, match=r"sfx\.wav.*finite.*sample 700;"):
        track.read_into("effects", 500, np.empty((1, 400), "float32"))


def test_effects_are_the_sum_of_their_layers(tmp_path):
    """DnR v3 without `sfx`: foreground plus background."""
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        folder = tmp_path / "v3" / "eng" / split / "000000"
        folder.mkdir(parents=True)
        for name in ("mixture", "speech", "music", "sfx_fg", "sfx_bg"):
            audio = rng.uniform(-0.5, 0.5, 1000)
            soundfile.write(folder / f"{name}.flac", audio, 48000, "PCM_24")
    for storage in STORAGES:
        prepare("dnr", tmp_path / "v3", tmp_path / "data", f"v3_eng_{storage}")
        track = open_tracks("dnr", "test", tmp_path / "data", storage)[0]
        layers = ("effects_foreground", "effects_background")
        assert set(track.stems) == {
            "mixture",
            "speech",
            "music",
            "effects",
            *layers,
        }
        np.testing.assert_array_equal(
            track.read("effects", 5, 700),
            track.read(layers[0], 5, 700) + track.read(layers[1], 5, 700),
        )
        assert track.name == "000000"
