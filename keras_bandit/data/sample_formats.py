"""Samples as files keep them: 16, 24, 32 bits or floats, read and packed."""

import re

import numpy as np
import soundfile

# libsndfile's name of a sample format: the type it is read in without loss,
# and the bytes that a sample has. Integers are read with full scale at that of
# the type, so the bytes of a narrower sample are its upper ones.
_FORMATS = {
    "PCM_S8": ("int16", 1),
    "PCM_U8": ("int16", 1),
    "PCM_16": ("int16", 2),
    "PCM_24": ("int32", 3),
    "PCM_32": ("int32", 4),
    "FLOAT": ("float32", 4),
    "DOUBLE": ("float64", 8),
}

SUBTYPES = tuple(_FORMATS)
"""Sample formats that tracks may have."""


class TrackFileError(ValueError):
    """A file of a track that cannot be used; the message says which, why."""


def read_dtype(subtype):
    """Name of the NumPy type that holds a sample format without loss."""
    return _FORMATS[subtype][0]


def open_audio(path):
    """Opens an audio file for reading.

    Args:
        path: str, path, or file object.

    Returns:
        `soundfile.SoundFile`.

    Raises:
        TrackFileError: if it is missing, not audio, or in a sample format
            that is not in `SUBTYPES`.
    """
    try:
        file = soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        raise TrackFileError(_reason(path, error)) from error
    except TypeError as error:
        # libsndfile takes a file named .raw on faith and asks for its rate.
        raise TrackFileError(f"{path}: not audio (no header)") from error
    if file.subtype not in _FORMATS:
        subtype = file.subtype
        file.close()
        raise TrackFileError(
            f"{path}: sample format {subtype}; accepted are "
            f"{', '.join(SUBTYPES)}"
        )
    return file


def _reason(path, error):
    try:
        with open(path, "rb"):
            pass
    except OSError as failure:
        return f"{path}: {failure.strerror}"
    except TypeError:  # a file object
        pass
    return f"{path}: not audio, or damaged ({error.error_string.rstrip('.')})"


def read_frames(file, start, stop):
    """Samples `start` … `stop` of an open file, as they are.

    Args:
        file: `soundfile.SoundFile`.
        start: int, first sample.
        stop: int, one past the last sample.

    Returns:
        `(stop - start, channels)` of the type `read_dtype` names.

    Raises:
        TrackFileError: if the file is damaged or breaks off, or has NaN or
            infinity there.
    """
    dtype = read_dtype(file.subtype)
    try:
        file.seek(start)
        frames = file.read(stop - start, dtype=dtype, always_2d=True)
    except soundfile.LibsndfileError as error:
        raise TrackFileError(
            f"{file.name}: damaged near sample {start} "
            f"({error.error_string.rstrip('.')})"
        ) from error
    if len(frames) < stop - start:
        raise TrackFileError(
            f"{file.name}: breaks off at sample {start + len(frames)}"
        )
    if frames.dtype.kind == "f":
        _check_finite(file, frames, start)
    return frames


def _check_finite(file, frames, start):
    """Refuses NaN, infinity, and what no float32 holds."""
    finite = (np.abs(frames) <= np.finfo("float32").max).all(axis=1)
    if not finite.all():
        raise TrackFileError(
            f"{file.name}: not a finite number at sample "
            f"{start + np.argmin(finite)}"
        )


def to_float(frames, out=None):
    """Full scale ±1 from samples as they are.

    NumPy's product takes a fifth of the time of libsndfile's own conversion,
    and gives the same floats: the factor is a power of two.

    Args:
        frames: `(samples, channels)`, of one of `read_frames`' types.
        out: `(channels, samples)` float32 to fill, or `None`: a new array.

    Returns:
        `(channels, samples)` float32, `out` if that is given.
    """
    if out is None:
        out = np.empty(frames.T.shape, "float32")
    if frames.dtype.kind == "f":
        out[...] = frames.T
        return out
    scale = np.float32(2.0 ** (1 - 8 * frames.dtype.itemsize))
    return np.multiply(frames.T, scale, out=out, dtype="float32")


def pack(frames, subtype):
    """Bytes of samples in their own width, little-endian.

    Args:
        frames: `(samples, channels)` of `read_dtype(subtype)`.
        subtype: str, one of `SUBTYPES`.

    Returns:
        bytes, samples * channels * width.
    """
    dtype, width = _FORMATS[subtype]
    little = np.ascontiguousarray(frames, np.dtype(dtype).newbyteorder("<"))
    columns = little.view("uint8").reshape(-1, little.itemsize)
    return columns[:, little.itemsize - width :].tobytes()


def unpack(data, subtype, num_channels):
    """Inverse of `pack`.

    Args:
        data: bytes.
        subtype: str, one of `SUBTYPES`.
        num_channels: int.

    Returns:
        `(samples, channels)` of `read_dtype(subtype)`.
    """
    dtype, width = _FORMATS[subtype]
    little = np.dtype(dtype).newbyteorder("<")
    if width == little.itemsize:
        return np.frombuffer(data, little).reshape(-1, num_channels)
    columns = np.zeros((len(data) // width, little.itemsize), "uint8")
    columns[:, little.itemsize - width :] = np.frombuffer(
        data, "uint8"
    ).reshape(-1, width)
    return columns.view(little).reshape(-1, num_channels)


def check_length(file):
    """Checks that a file holds the samples that its header counts.

    Only the header and the last sample are read, so damage in the middle
    shows when the samples there are.

    Args:
        file: `soundfile.SoundFile`.

    Raises:
        TrackFileError: if samples are missing, or there are none at all.
    """
    if not file.frames:
        raise TrackFileError(f"{file.name}: no samples, zero length")
    # libsndfile counts what is there of a broken-off WAV file, and leaves
    # what the header says to its log: "data : 88200 (should be 44078)".
    cut = re.search(
        r"^data\s*: (\d+) \(should be (\d+)\)", file.extra_info, re.M
    )
    if cut and int(cut[1]) > int(cut[2]):
        raise TrackFileError(
            f"{file.name}: breaks off after {cut[2]} of {cut[1]} bytes of "
            "samples"
        )
    read_frames(file, file.frames - 1, file.frames)
    file.seek(0)
