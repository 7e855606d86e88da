"""Writing stems in blocks: formats, layouts, chunks, nothing half-written."""

import dataclasses
import struct

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_bandit.media import AudioFileError, open_source, riff
from keras_bandit.media.layouts import LAYOUTS
from keras_bandit.media.riff import Chunk, read_wav_header, wav_header
from keras_bandit.media.writing import FlacWriter, WavWriter, stem_writers

from .films import clicks, make_film, on_grid

pytestmark = pytest.mark.once

AUDIO = on_grid(clicks(0.25, num_channels=12))
BEXT = Chunk("bext", bytes(338) + struct.pack("<Q", 172_800_000) + bytes(257))
CHUNKS = (
    BEXT,
    Chunk("iXML", b"<BWFXML/>"),
    Chunk("chna", bytes(44)),
    Chunk("axml", b"<ebuCoreMain/>"),
    Chunk("cue ", struct.pack("<I", 0)),
    Chunk("LIST", b"adtl"),
)


def read(path):
    return np.concatenate(list(open_source(path).blocks()), axis=1)


def source_of(tmp_path, num_channels=2, mask=None, chunks=(), subtype="PCM_24"):
    path = tmp_path / "source.wav"
    audio = AUDIO[:num_channels]
    with WavWriter(path, 48000, num_channels, subtype, mask, chunks) as file:
        file.write(audio)
    return open_source(path)


@pytest.mark.parametrize(
    ("file_format", "subtype"),
    [
        ("wav", "PCM_16"),
        ("wav", "PCM_24"),
        ("wav", "FLOAT"),
        ("flac", "PCM_16"),
        ("flac", "PCM_24"),
    ],
)
@pytest.mark.parametrize(
    ("num_channels", "layout"),
    [
        (1, "mono"),
        (2, "stereo"),
        (6, "5.1"),
        (6, "5.1(side)"),
        (8, "7.1"),
        (12, "7.1.4"),
        (3, "unknown"),
    ],
)
def test_blocks_come_back(tmp_path, file_format, subtype, num_channels, layout):
    if file_format == "flac" and num_channels > 8:
        pytest.skip("FLAC has eight channels at most")
    path, audio = tmp_path / f"x.{file_format}", AUDIO[:num_channels]
    mask = LAYOUTS.get(layout, 0b10101)
    writer = {"wav": WavWriter, "flac": FlacWriter}[file_format]
    with writer(path, 48000, num_channels, subtype, mask) as file:
        for start in range(0, audio.shape[1], 999):
            file.write(audio[:, start : start + 999])
    assert (file.num_samples, file.clipped) == (audio.shape[1], 0)
    source = open_source(path)
    assert (source.layout, source.channel_mask) == (layout, mask)
    assert source.subtype == subtype
    np.testing.assert_array_equal(read(path), audio)
    found = soundfile.info(path)
    assert (found.frames, found.channels) == (audio.shape[1], num_channels)
    if num_channels > 2:
        # FFmpeg reads the same speakers.
        with av.open(str(path)) as film:
            channels = film.streams.audio[0].layout.channels
        assert [channel.name for channel in channels] == source.speakers


@given(
    num_samples=st.integers(0, 50),
    num_channels=st.integers(1, 3),
    subtype=st.sampled_from(["PCM_16", "PCM_24", "FLOAT"]),
    size=st.integers(1, 20),
)
@settings(deadline=None, max_examples=30)
def test_block_sizes_do_not_matter(
    tmp_path_factory, num_samples, num_channels, subtype, size
):
    folder = tmp_path_factory.mktemp("x")
    audio = AUDIO[:num_channels, 500 : 500 + num_samples]
    for name, step in (("one", max(1, num_samples)), ("many", size)):
        with WavWriter(folder / name, 48000, num_channels, subtype) as file:
            for start in range(0, num_samples, step):
                file.write(audio[:, start : start + step])
    data = (folder / "one").read_bytes()
    assert data == (folder / "many").read_bytes()
    assert len(data) % 2 == 0
    assert struct.unpack_from("<I", data, 4)[0] == len(data) - 8


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("closed", [True, False])
def test_going_on_gives_the_same_file(tmp_path, subtype, closed):
    whole, path = tmp_path / "whole.wav", tmp_path / "x.wav"
    details = 48000, 3, subtype, 0b111, CHUNKS
    audio = AUDIO[:3]
    with WavWriter(whole, *details) as file:
        file.write(audio)
    # The process ended after 2001 samples, of which 1500 count.
    file = WavWriter(path, *details)
    file.write(audio[:, :2001])
    file.sync()
    left = path.read_bytes()
    file.close()
    if not closed:
        path.write_bytes(left)
    with WavWriter(path, *details, resume_at=1500) as rest:
        rest.write(audio[:, 1500:])
    assert path.read_bytes() == whole.read_bytes()
    with pytest.raises(ValueError, match="resume_at=99999 takes"):
        WavWriter(path, *details, resume_at=99999)


def test_clipping_is_counted(tmp_path):
    audio = np.array([[0.5, 1.5, -1.0, -2.0]], "float32")
    for subtype, clipped in (("PCM_16", 2), ("FLOAT", 0)):
        with WavWriter(tmp_path / "x.wav", 8000, 1, subtype) as file:
            file.write(audio[:, :2])
            file.write(audio[:, 2:])
        assert file.clipped == clipped
        assert file.peak_dbfs == pytest.approx(20 * np.log10(2))


def test_wrong_blocks_are_refused(tmp_path):
    with WavWriter(tmp_path / "x.wav", 8000, 2, "FLOAT") as file:
        for shape in ((3, 5), (5,)):
            with pytest.raises(ValueError, match=r"block must be \(2, samples"):
                file.write(np.zeros(shape, "float32"))


def test_wav_beyond_4_gib_is_rf64(tmp_path, monkeypatch):
    audio = AUDIO[:2]
    monkeypatch.setattr(riff, "_LARGEST_RIFF", 4000)
    path = tmp_path / "x.wav"
    with WavWriter(path, 48000, 2, "PCM_16", chunks=CHUNKS) as file:
        file.write(audio)
    assert path.read_bytes()[:4] == b"RF64"
    assert soundfile.info(path).format == "RF64"
    np.testing.assert_array_equal(read(path), audio)
    assert set(read_wav_header(path).chunks) == set(CHUNKS)
    with av.open(str(path)) as film:
        samples = sum(frame.samples for frame in film.decode(audio=0))
    assert samples == audio.shape[1]


def test_header_of_a_long_film():
    """Three hours of 7.1.4: sizes of 64 bits, in a header of equal length."""
    short = wav_header(48000, 12, "FLOAT", 10)
    samples = 3 * 3600 * 48000
    long = wav_header(48000, 12, "FLOAT", samples)
    assert len(short) == len(long)
    assert (short[:4], long[:4]) == (b"RIFF", b"RF64")
    size, data, count = struct.unpack_from("<QQQ", long, 20)
    assert (data, count) == (samples * 48, samples)
    assert size == len(long) - 8 + data
    assert long[-8:] == b"data" + b"\xff" * 4


def test_chunks_are_carried_into_every_stem(tmp_path):
    source = source_of(tmp_path, 6, LAYOUTS["5.1(side)"], CHUNKS)
    assert source.time_reference == 172_800_000
    paths = {name: tmp_path / f"{name}.wav" for name in ("speech", "music")}
    with stem_writers(paths, source) as writers:
        for block in source.blocks(size=1000):
            for writer in writers.values():
                writer.write(block)
        assert not any(path.exists() for path in paths.values())
    for path in paths.values():
        stem = open_source(path)
        assert set(stem.chunks) == set(CHUNKS)
        assert (stem.layout, stem.subtype) == ("5.1(side)", "PCM_24")
        np.testing.assert_array_equal(read(path), AUDIO[:6])


def test_stems_of_a_film(tmp_path):
    film = tmp_path / "film.mkv"
    make_film(film, AUDIO[:6], "aac", layout="5.1", video_seconds=0.25)
    source = open_source(film)
    for file_format, subtype in (("wav", "FLOAT"), ("flac", "PCM_24")):
        path = tmp_path / f"speech.{file_format}"
        with stem_writers({"speech": path}, source, file_format) as writers:
            for block in source.blocks():
                writers["speech"].write(block)
        stem = open_source(path)
        assert (stem.layout, stem.subtype) == ("5.1", subtype)
        assert stem.num_samples == source.num_samples


@pytest.mark.parametrize("file_format", ["wav", "flac"])
def test_nothing_is_left_if_it_fails(tmp_path, file_format):
    source = source_of(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    paths = {name: tmp_path / f"{name}.{file_format}" for name in "ab"}

    def break_off():
        with stem_writers(paths, source, file_format) as writers:
            writers["a"].write(AUDIO[:2])
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        break_off()
    assert {path.name for path in tmp_path.iterdir()} == names


def test_existing_files_stay(tmp_path):
    source = source_of(tmp_path)
    path = tmp_path / "speech.wav"
    path.write_text("mine")
    with (
        pytest.raises(FileExistsError),
        stem_writers({"speech": path}, source) as writers,
    ):
        writers["speech"].write(AUDIO[:2])
    assert path.read_text() == "mine"
    with stem_writers({"speech": path}, source, overwrite=True) as writers:
        writers["speech"].write(AUDIO[:2])
    np.testing.assert_array_equal(read(path), AUDIO[:2])


def test_formats_are_checked_first(tmp_path):
    source = source_of(tmp_path, 12)
    with (
        pytest.raises(AudioFileError, match="flac does not take 12 channels"),
        stem_writers({"a": tmp_path / "a.flac"}, source, "flac"),
    ):
        pass
    source = dataclasses.replace(source_of(tmp_path), subtype="PCM_32")
    with stem_writers({"a": tmp_path / "a.wav"}, source) as writers:
        assert writers["a"].subtype == "FLOAT"


@pytest.mark.parametrize("file_format", ["wav", "flac"])
def test_full_disk_is_an_error(tmp_path, file_format):
    resource = pytest.importorskip("resource")
    source = source_of(tmp_path)
    noise = np.random.default_rng(0).uniform(-1, 1, (2, 100_000))
    paths = {"a": tmp_path / f"a.{file_format}"}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        with (
            pytest.raises(OSError, match=r"large|full"),
            stem_writers(paths, source, file_format) as writers,
        ):
            writers["a"].write(noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == ["source.wav"]
