"""Sounds from folders: found, checked, shared out, read; generated ones."""

import pathlib

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_bandit.data.sound_sources import (
    FileSound,
    GeneratedSound,
    check_sounds,
    find_sounds,
    share_sounds,
)
from keras_bandit.data.track_files import FolderError

pytestmark = pytest.mark.once


def tone(seconds, sample_rate, hertz=440.0, channels=1):
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    return np.tile(0.5 * np.sin(2 * np.pi * hertz * time)[:, None], channels)


def write(path, audio, sample_rate=8000, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, sample_rate, **options)


def test_sounds_are_found_below_the_folder_by_name(tmp_path):
    for name in ("b.wav", "a/x.flac", "a/y.OGG", ".hidden/z.wav", ".w.wav"):
        write(tmp_path / name, tone(0.5, 8000))
    (tmp_path / "notes.txt").write_text("no sound")
    sounds = find_sounds(tmp_path)
    assert [sound.name for sound in sounds] == ["a/x.flac", "a/y.OGG", "b.wav"]
    assert [sound.seconds for sound in sounds] == pytest.approx([0.5] * 3)
    assert check_sounds(sounds) == []


def test_no_folder_and_no_sound_are_told_apart(tmp_path):
    with pytest.raises(FolderError, match="not a folder"):
        find_sounds(tmp_path / "missing")
    with pytest.raises(FolderError, match=r"no sound files.*\.wav"):
        find_sounds(tmp_path)


def test_every_file_that_cannot_be_mixed_is_named(tmp_path):
    audio = tone(2, 8000)
    write(tmp_path / "good.wav", audio)
    write(tmp_path / "silent.wav", np.zeros(8000))
    audio = audio[:, 0].copy()
    audio[9000] = np.nan
    write(tmp_path / "nan.wav", audio, subtype="FLOAT")
    write(tmp_path / "cut.wav", tone(2, 8000))
    whole = (tmp_path / "cut.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[: len(whole) // 2])
    write(tmp_path / "click.wav", np.full(3, 0.5))
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "empty.flac").touch()
    found = check_sounds(find_sounds(tmp_path))
    problems = dict(problem.split(": ", 1) for problem in found)
    problems = {pathlib.Path(path).name: p for path, p in problems.items()}
    bad = {"silent.wav", "nan.wav", "cut.wav", "click.wav"}
    assert set(problems) == {*bad, "text.wav", "empty.flac"}
    assert problems["silent.wav"] == "silent"
    assert "NaN" in problems["nan.wav"]
    assert "breaks off" in problems["cut.wav"]
    assert "shorter than 0.01 s" in problems["click.wav"]
    assert "not audio" in problems["text.wav"]
    assert "not audio" in problems["empty.flac"]


def test_what_libmpg123_notes_is_hidden(tmp_path, capfd):
    """Of an MP3 file that is damaged, and of one that only is odd."""
    noise = 0.1 * np.random.default_rng(0).standard_normal(3 * 44100)
    write(tmp_path / "zeros.mp3", noise, 44100)
    whole = (tmp_path / "zeros.mp3").read_bytes()
    middle = len(whole) // 2
    spoiled = whole[:middle] + bytes(3000) + whole[middle + 3000 :]
    (tmp_path / "zeros.mp3").write_bytes(spoiled)
    (tmp_path / "short.mp3").write_bytes(whole[:middle])
    (problem,) = [
        p for p in check_sounds(find_sounds(tmp_path)) if "zeros" in p
    ]
    assert "damaged" in problem
    short = find_sounds(tmp_path)[0]
    assert short.read(0.0, 0.5, 44100).any()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("sample_rate", [8000, 44100])
def test_pieces_are_resampled_and_channels_averaged(tmp_path, sample_rate):
    audio = tone(2, 16000, hertz=1000, channels=2)
    audio[:, 1] *= 0.5
    write(tmp_path / "a.wav", audio, 16000, subtype="FLOAT")
    piece = find_sounds(tmp_path)[0].read(0.5, 1.0, sample_rate)
    assert piece.dtype == np.float32
    assert piece.shape == (sample_rate,)
    # soxr's edges aside, the tone is the same tone: 0.5 s are whole periods.
    expected = 0.75 * tone(1, sample_rate, hertz=1000)[:, 0]
    inner = slice(sample_rate // 10, -sample_rate // 10)
    np.testing.assert_allclose(piece[inner], expected[inner], atol=1e-3)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    count=st.integers(3, 60),
    shares=st.tuples(*[st.floats(0.01, 10)] * 3),
    seed=st.integers(0, 100),
)
def test_each_file_goes_to_one_split_and_each_split_has_one(
    count, shares, seed
):
    sounds = [FileSound(None, str(i)) for i in range(count)]
    shares = dict(zip("abc", shares, strict=True))
    dealt = share_sounds("folder", sounds, shares, seed)
    names = [sound.name for split in dealt.values() for sound in split]
    assert sorted(names) == sorted(sound.name for sound in sounds)
    for split, files in dealt.items():
        assert files
        expected = 1 + (count - 3) * shares[split] / sum(shares.values())
        assert abs(len(files) - expected) <= 1
    again = share_sounds("folder", sounds, shares, seed)
    assert again == dealt


def test_too_few_files_for_the_splits_are_an_error():
    sounds = [FileSound(None, "only.wav")]
    with pytest.raises(FolderError, match=r"1 sound file.*a, b"):
        share_sounds("folder", sounds, {"a": 1, "b": 1}, 0)


@pytest.mark.parametrize("kind", ["speech", "music", "sfx", "background"])
def test_generated_sounds_follow_from_their_number(kind):
    sound = GeneratedSound(kind, 5, 16000)
    seconds = min(1.0, sound.seconds)
    start = sound.latest_start(seconds)
    piece = sound.read(start, seconds, 16000)
    assert piece.shape == (round(seconds * 16000),)
    assert np.isfinite(piece).all()
    assert np.abs(piece).max() > 1e-3
    again = GeneratedSound(kind, 5, 16000).read(start, seconds, 16000)
    np.testing.assert_array_equal(piece, again)
    other = GeneratedSound(kind, 6, 16000)
    other = other.read(0.0, min(seconds, other.seconds), 16000)
    length = min(len(other), len(piece))
    assert not np.array_equal(other[:length], piece[:length])
