"""Chunks of WAV files, odd and broken ones too."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_bandit.media.riff import Chunk, read_wav_header, time_reference

pytestmark = pytest.mark.once


def wav(*chunks, kind=b"RIFF"):
    body = b"".join(
        name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
        for name, data in chunks
    )
    return kind + struct.pack("<I", len(body) + 4) + b"WAVE" + body


def test_chunks_after_the_samples_and_of_odd_length(tmp_path):
    path = tmp_path / "x.wav"
    path.write_bytes(
        wav((b"data", bytes(3)), (b"iXML", b"<x/>."), (b"junk", b"12345678"))
    )
    assert read_wav_header(path).chunks == (Chunk("iXML", b"<x/>."),)


def test_sizes_of_rf64(tmp_path):
    path = tmp_path / "x.wav"
    ds64 = struct.pack("<QQQI", 0, 6, 1, 1) + struct.pack("<4sQ", b"axml", 4)
    data = wav(
        (b"ds64", ds64),
        (b"data", b"samples"[:6]),
        (b"axml", b"adm."),
        (b"bext", b"short"),
        kind=b"RF64",
    )
    for name in (b"data", b"axml"):
        place = data.index(
            name + struct.pack("<I", 6 if name == b"data" else 4)
        )
        data = data[: place + 4] + b"\xff" * 4 + data[place + 8 :]
    path.write_bytes(data)
    chunks = read_wav_header(path).chunks
    assert chunks == (Chunk("axml", b"adm."), Chunk("bext", b"short"))
    assert time_reference(chunks) is None


def test_other_files_are_none(tmp_path):
    path = tmp_path / "x"
    for data in (b"", b"RIFF", b"RIFF\0\0\0\0AVI ", b"fLaC" + bytes(20)):
        path.write_bytes(data)
        assert read_wav_header(path) is None


@given(
    cut=st.integers(0, 200), noise=st.binary(max_size=8), at=st.integers(0, 99)
)
def test_broken_files_raise_nothing(tmp_path_factory, cut, noise, at):
    whole = wav(
        (b"fmt ", b"\xfe\xff" + bytes(38)),
        (b"iXML", b"<x/>"),
        (b"data", bytes(20)),
        (b"LIST", b"adtl"),
    )
    path = tmp_path_factory.mktemp("x") / "x.wav"
    path.write_bytes((whole[:at] + noise + whole[at + len(noise) :])[:cut])
    read_wav_header(path)
