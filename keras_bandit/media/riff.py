"""The chunks of WAV files: RIFF, RF64 and BW64.

A file is a header of 12 bytes, then chunks: a name of four letters, a size of
four bytes, that many bytes, and one more if the size is odd. In RF64 (EBU Tech
3306) and BW64 (ITU-R BS.2088) sizes beyond 4 GiB are 2^32 - 1, and the true
ones stand in the chunk `ds64`.
"""

import dataclasses
import struct

_UNKNOWN = 2**32 - 1

# RIFF counts bytes with 32 bits, RF64 with 64.
_LARGEST_RIFF = 2**32 - 2

CARRIED = ("bext", "iXML", "axml", "chna", "cue ", "LIST")
"""Chunks that stems take over: time code, notes, Dolby Atmos and other ADM,
markers. Of LIST only `adtl`, the markers' names."""

# What a header says of itself must fit in memory.
_LARGEST_CARRIED = 2**28


@dataclasses.dataclass(frozen=True)
class Chunk:
    """A chunk: its name, and its bytes without the padding."""

    name: str
    data: bytes


@dataclasses.dataclass(frozen=True)
class WavHeader:
    """What libsndfile does not tell of a WAV file.

    Args:
        channel_mask: int. Speakers as in WAVEFORMATEXTENSIBLE; 0 if none.
        chunks: tuple of `Chunk`. Those of `CARRIED`, in the file's order.
    """

    channel_mask: int
    chunks: tuple


def _chunks(file):
    """Yields each chunk's name, place and size."""
    sizes = {}
    place, end = 12, file.seek(0, 2)
    while place + 8 <= end:
        file.seek(place)
        name, size = struct.unpack("<4sI", file.read(8))
        if name == b"ds64":
            fields = file.read(28)
            if len(fields) == 28:
                _, data, _, count = struct.unpack("<QQQI", fields)
                sizes[b"data"] = data
                for _ in range(min(count, 1000)):
                    entry = file.read(12)
                    if len(entry) == 12:
                        key, value = struct.unpack("<4sQ", entry)
                        sizes[key] = value
        elif size == _UNKNOWN:
            size = sizes.get(name, end)
        yield name.decode("latin-1"), place + 8, size
        place += 8 + size + size % 2


def read_wav_header(path):
    """The `WavHeader` of a file; `None` if it is no WAV file.

    A chunk that breaks off is left out.
    """
    mask, chunks = 0, []
    with open(path, "rb") as file:
        start = file.read(12)
        if start[:4] not in (b"RIFF", b"RF64", b"BW64"):
            return None
        if start[8:] != b"WAVE":
            return None
        for name, place, size in _chunks(file):
            file.seek(place)
            if name == "fmt " and 40 <= size < 100:
                fields = file.read(40)
                if len(fields) == 40 and fields[:2] == b"\xfe\xff":
                    (mask,) = struct.unpack_from("<I", fields, 20)
            elif name in CARRIED and size <= _LARGEST_CARRIED:
                data = file.read(size)
                labels = name != "LIST" or data[:4] == b"adtl"
                if len(data) == size and labels:
                    chunks.append(Chunk(name, data))
    return WavHeader(mask, tuple(chunks))


def time_reference(chunks):
    """Samples from midnight to a recording's start, by its `bext`, or `None`.

    EBU Tech 3285: the description has 256 bytes, originator and reference 32
    each, date 10, time 8.
    """
    for chunk in chunks:
        if chunk.name == "bext" and len(chunk.data) >= 346:
            return struct.unpack_from("<Q", chunk.data, 338)[0]
    return None


_BITS = {"PCM_16": 16, "PCM_24": 24, "FLOAT": 32}

# The rest of the identifiers of sample formats in WAVE_FORMAT_EXTENSIBLE.
_GUID = bytes.fromhex("000000001000800000aa00389b71")


def bytes_per_sample(subtype):
    """Bytes of a sample of one channel."""
    return _BITS[subtype] // 8


def chunk_bytes(name, data):
    """A chunk as it stands in a file, with its padding."""
    head = struct.pack("<4sI", name.encode("latin-1"), len(data))
    return head + data + bytes(len(data) % 2)


def wav_header(
    sample_rate,
    num_channels,
    subtype,
    num_samples,
    channel_mask=0,
    chunks=(),
    num_after=0,
):
    """The bytes of a WAV file before its first sample.

    Their number does not depend on `num_samples`, so that the header can be
    written again when that is known. A file that passes 4 GiB is RF64, whose
    `ds64` takes the place of a `JUNK` chunk.

    Args:
        subtype: "PCM_16", "PCM_24" or "FLOAT".
        channel_mask: int. Speakers; kept for more than two channels.
        chunks: list of `Chunk`, written as they are.
        num_after: int. Bytes of the chunks that follow the samples.
    """
    bits = _BITS[subtype]
    frame = num_channels * bits // 8
    tag = 3 if subtype == "FLOAT" else 1
    extensible = num_channels > 2
    fmt = struct.pack(
        "<HHIIHH",
        0xFFFE if extensible else tag,
        num_channels,
        sample_rate,
        sample_rate * frame,
        frame,
        bits,
    )
    if extensible:
        fmt += struct.pack("<HHIH", 22, bits, channel_mask, tag) + _GUID
    elif subtype == "FLOAT":
        fmt += struct.pack("<H", 0)
    num_bytes = num_samples * frame
    body = chunk_bytes("fmt ", fmt)
    if subtype == "FLOAT":
        body += chunk_bytes(
            "fact", struct.pack("<I", min(num_samples, _UNKNOWN))
        )
    for chunk in chunks:
        body += chunk_bytes(chunk.name, chunk.data)
    # After the first 8 bytes: "WAVE", 36 of ds64 or JUNK, body, data.
    size = 4 + 36 + len(body) + 8 + num_bytes + num_bytes % 2 + num_after
    if size <= _LARGEST_RIFF:
        start = struct.pack("<4sI4s", b"RIFF", size, b"WAVE")
        start += chunk_bytes("JUNK", bytes(28))
        data_size = num_bytes
    else:
        start = struct.pack("<4sI4s", b"RF64", _UNKNOWN, b"WAVE")
        ds64 = struct.pack("<QQQI", size, num_bytes, num_samples, 0)
        start += chunk_bytes("ds64", ds64)
        data_size = _UNKNOWN
    return start + body + struct.pack("<4sI", b"data", data_size)
