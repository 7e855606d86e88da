"""Audio files: exact samples, honest refusals."""

import os

import numpy as np
import pytest
import soundfile

from keras_bandit.media.audio import (
    AudioFileError,
    choose_subtype,
    clipping,
    sound_file_info,
    to_samples,
)
from keras_bandit.media.sound_file import SoundFile
from keras_bandit.media.source import Source

pytestmark = pytest.mark.once


def noise(*shape):
    return np.random.default_rng(0).uniform(-1, 1, shape).astype("float32")


def recording(num_channels, subtype="PCM_16"):
    return Source("x.wav", 44100, num_channels, "", None, subtype, "")


def test_rounding_is_to_nearest():
    steps = np.array([0.4, 0.6, -0.4, -0.6, 1.0, -1.0])
    np.testing.assert_array_equal(
        to_samples(steps / 2**15, "PCM_16"), [0, 1, 0, -1, 1, -1]
    )
    np.testing.assert_array_equal(
        to_samples(steps / 2**23, "PCM_24"),
        np.array([0, 1, 0, -1, 1, -1]) << 8,
    )


def test_beyond_full_scale_pcm_clips_and_float_keeps():
    audio = np.array([1.0, -1.0, 1.5, -1.5, 0.0], "float32")
    np.testing.assert_array_equal(
        to_samples(audio, "PCM_16"), [32767, -32768, 32767, -32768, 0]
    )
    np.testing.assert_array_equal(
        to_samples(audio, "PCM_24") >> 8,
        [2**23 - 1, -(2**23), 2**23 - 1, -(2**23), 0],
    )
    np.testing.assert_array_equal(to_samples(audio, "FLOAT"), audio)
    peak = pytest.approx(20 * np.log10(1.5), abs=1e-4)
    assert clipping(audio, "PCM_16") == (2, peak)
    assert clipping(audio, "PCM_24") == (2, peak)
    assert clipping(audio, "FLOAT") == (0, peak)
    assert clipping(audio / 1.5, "PCM_16") == (0, pytest.approx(0, abs=1e-4))
    assert clipping(np.zeros(3), "PCM_16") == (0, -np.inf)


@pytest.mark.parametrize(
    ("file_format", "source", "chosen"),
    [
        ("wav", "PCM_16", "PCM_16"),
        ("wav", "PCM_24", "PCM_24"),
        ("wav", "PCM_32", "FLOAT"),
        ("wav", "DOUBLE", "FLOAT"),
        ("wav", "VORBIS", "FLOAT"),
        ("flac", "PCM_16", "PCM_16"),
        ("flac", "PCM_24", "PCM_24"),
        ("flac", "FLOAT", "PCM_24"),
    ],
)
def test_default_subtype_is_the_input_s(file_format, source, chosen):
    assert choose_subtype(file_format, None, recording(2, source)) == chosen


def test_flac_takes_neither_float_nor_nine_channels():
    with pytest.raises(AudioFileError, match=r"PCM_16, PCM_24; got FLOAT"):
        choose_subtype("flac", "FLOAT", recording(2))
    with pytest.raises(AudioFileError, match=r"9 channels at 44100 Hz"):
        choose_subtype("flac", None, recording(9))


def test_other_formats_are_refused():
    with pytest.raises(AudioFileError, match="one of wav, flac; got 'mp3'"):
        choose_subtype("mp3", None, recording(2))


def test_probe_says_what_is_wrong(tmp_path):
    text = tmp_path / "text.wav"
    text.write_text("not audio at all")
    nothing = tmp_path / "nothing.wav"
    nothing.touch()
    raw = tmp_path / "headerless.raw"
    raw.write_bytes(bytes(100))
    empty = tmp_path / "empty.wav"
    soundfile.write(empty, np.zeros((0, 2)), 8000)
    fifo = tmp_path / "fifo.wav"
    os.mkfifo(fifo)
    for path, message in [
        (tmp_path / "missing.wav", "No such file"),
        (tmp_path, "a directory"),
        (fifo, "not a regular file"),
        (text, "not audio"),
        (nothing, "not audio"),
        (raw, "not audio"),
        (empty, "zero length"),
    ]:
        with pytest.raises(AudioFileError, match=message) as caught:
            sound_file_info(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_unreadable_file(tmp_path):
    path = tmp_path / "locked.wav"
    soundfile.write(path, noise(10), 8000)
    path.chmod(0)
    with pytest.raises(AudioFileError, match="Permission denied"):
        sound_file_info(path)


def test_unreadable_file_names_the_reason(tmp_path, monkeypatch):
    # As above, also where the tests run as root.
    path = tmp_path / "locked.wav"
    path.touch()

    def refuse(self, mode):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(AudioFileError, match="Permission denied"):
        sound_file_info(path)


def test_file_that_breaks_off_is_not_shortened_silently(tmp_path):
    path = tmp_path / "whole.flac"
    soundfile.write(path, noise(50000, 2), 44100)
    broken = tmp_path / "broken.flac"
    broken.write_bytes(path.read_bytes()[:100000])
    assert SoundFile.open(broken).num_samples == 50000
    with pytest.raises(AudioFileError, match="damaged"):
        SoundFile.open(broken).read()


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_wav_that_breaks_off_is_refused(tmp_path, subtype):
    path = tmp_path / "short.wav"
    soundfile.write(path, np.full((1000, 2), 0.1), 44100, subtype=subtype)
    whole = path.read_bytes()
    assert SoundFile.open(path).num_samples == 1000
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(AudioFileError, match="breaks off after"):
        SoundFile.open(path).read()


def test_wav_of_unknown_length_is_read(tmp_path):
    """As programs write them into a pipe."""
    path = tmp_path / "piped.wav"
    soundfile.write(path, np.full(1000, 0.1), 44100, subtype="PCM_16")
    data = bytearray(path.read_bytes())
    place = data.index(b"data") + 4
    data[place : place + 4] = bytes([255] * 4)
    path.write_bytes(bytes(data))
    assert SoundFile.open(path).read().shape == (1, 1000)


@pytest.fixture(scope="module")
def mp3(tmp_path_factory):
    """The bytes of an MP3 file of one second."""
    path = tmp_path_factory.mktemp("mp3") / "x.mp3"
    soundfile.write(path, 0.5 * noise(44100), 44100)
    return path.read_bytes()


def torn(data):
    """Damages what a frame in the middle says about its contents."""
    frame = data.index(b"\xff\xfb", len(data) // 2)
    return data[: frame + 4] + b"\xaa" * 32 + data[frame + 36 :]


COMMENT = b"COMM\0\0\0\5\0\0\0engx"


@pytest.mark.parametrize(
    ("change", "damaged"),
    [
        (lambda data: data, False),
        # A tag whose comment is too short.
        (lambda data: b"ID3\3\0\0\0\0\0\x0f" + COMMENT + data, False),
        (torn, True),
    ],
    ids=["whole", "tag", "torn"],
)
def test_mp3_decoder_prints_nothing(tmp_path, capfd, mp3, change, damaged):
    path = tmp_path / "x.mp3"
    path.write_bytes(change(mp3))
    source = SoundFile.open(path)
    assert source.read().shape == (1, 44100)
    assert len(source.warnings) == damaged
    assert "libmpg123" not in "".join(source.warnings)
    assert capfd.readouterr() == ("", "")
