"""Records of stored tracks: one schema for every dataset and storage.

A record is a piece of a track with all its stems:

    track         the track's name
    start         first sample of the piece
    num_samples   length of the piece
    sample_rate   Hz
    num_channels
    stems         {stem: {"subtype": sample format of the file,
                          "data": bytes}}

`data` depends on the storage:

    paths      the absolute path of the file; the piece is the whole track
    segments   a second of samples in the file's own width (`pack`)
    tracks     the whole track as a FLAC or WAV file

A stem that the track does not have has an empty subtype and no data.
Everything reads without TensorFlow: text and integers decode in NumPy.
"""

import contextlib
import io
import os
import pathlib

import numpy as np
import soundfile

from keras_bandit.data.sample_formats import (
    TrackFileError,
    open_audio,
    pack,
    read_frames,
)

STORAGES = ("paths", "segments", "tracks")
"""Ways to store tracks, see the module's docstring."""

# What FLAC holds, of the formats that libsndfile writes to it.
_FLAC_SUBTYPES = ("PCM_S8", "PCM_16", "PCM_24")

_BLOCK = 2**18  # samples per channel that are read at a time


def feature_specs(stems):
    """The schema as TFDS features.

    Args:
        stems: list of str.

    Returns:
        `tfds.features.FeaturesDict`.
    """
    import tensorflow_datasets as tfds

    text, integer = tfds.features.Text, tfds.features.Scalar
    # TFDS' Text is a string of bytes; nothing asks for valid UTF-8.
    stem = {"subtype": text(), "data": text()}
    return tfds.features.FeaturesDict(
        {
            "track": text(),
            "start": integer(np.int64),
            "num_samples": integer(np.int64),
            "sample_rate": integer(np.int64),
            "num_channels": integer(np.int64),
            "stems": {name: dict(stem) for name in stems},
        }
    )


def segment_length(sample_rate):
    """Samples in a record of the storage `segments`: one second."""
    return int(sample_rate)


def num_records(info, storage):
    """Number of records of one track."""
    if storage != "segments":
        return 1
    return -(-info.num_samples // segment_length(info.sample_rate))


def make_records(track, info, storage):
    """Makes the records of one track.

    Args:
        track: `TrackFiles`.
        info: its `TrackInfo`.
        storage: one of `STORAGES`.

    Yields:
        dict by the schema, in the order of time.

    Raises:
        TrackFileError: if a file is damaged, breaks off or has changed.
    """
    if storage == "segments":
        yield from _segments(track, info)
        return
    encode = _absolute_path if storage == "paths" else _whole_file
    data = {stem: encode(path) for stem, path in track.paths.items()}
    yield _record(info, 0, info.num_samples, data)


def _record(info, start, stop, data):
    return {
        "track": info.name,
        "start": start,
        "num_samples": stop - start,
        "sample_rate": info.sample_rate,
        "num_channels": info.num_channels,
        "stems": {
            stem: {"subtype": info.subtypes[stem], "data": value}
            for stem, value in data.items()
        },
    }


def _absolute_path(path):
    return os.fsencode(pathlib.Path(path).absolute())


def _segments(track, info):
    length = segment_length(info.sample_rate)
    with contextlib.ExitStack() as stack:
        files = {
            stem: stack.enter_context(open_audio(path))
            for stem, path in track.paths.items()
        }
        for start in range(0, info.num_samples, length):
            stop = min(start + length, info.num_samples)
            data = {
                stem: pack(read_frames(file, start, stop), file.subtype)
                for stem, file in files.items()
            }
            yield _record(info, start, stop, data)


def _whole_file(path):
    """A file's bytes, as FLAC if that holds its samples exactly.

    FLAC has no floats and libsndfile writes no 32-bit integers to it: such
    files, and files that are FLAC already, stay as they are.
    """
    with open_audio(path) as file:
        if file.format == "FLAC" or file.subtype not in _FLAC_SUBTYPES:
            _decode(file)
            return pathlib.Path(path).read_bytes()
        coded = io.BytesIO()
        try:
            with soundfile.SoundFile(
                coded,
                "w",
                file.samplerate,
                file.channels,
                file.subtype,
                format="FLAC",
            ) as flac:
                for frames in _blocks(file):
                    flac.write(frames)
        except soundfile.LibsndfileError as error:
            raise TrackFileError(
                f"{path}: FLAC does not take {file.channels} channels at "
                f"{file.samplerate} Hz; choose another storage"
            ) from error
    return coded.getvalue()


def _blocks(file):
    for start in range(0, file.frames, _BLOCK):
        yield read_frames(file, start, min(start + _BLOCK, file.frames))


def _decode(file):
    """Reads a file to its end, which raises if it is damaged."""
    for _ in _blocks(file):
        pass
