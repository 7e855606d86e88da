"""Samples as files keep them: 8 to 32-bit integers or floats."""

import numpy as np
import soundfile

from keras_bandit.common.broken_off import missing_samples

# libsndfile's sample formats: the type that a format is read as without loss,
# and the bytes of a sample. Integers fill their type from the top, so that the
# lower bytes of a narrower format are zero.
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
    """A track's file cannot be used; the message names it and says why."""


def open_audio(path):
    """Opens an audio file: `soundfile.SoundFile`.

    Raises:
        TrackFileError: if it is missing, not audio, or in a sample format
            that is not in `SUBTYPES`.
    """
    try:
        file = soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        reason = f"not audio, or damaged ({error.error_string.rstrip('.')})"
        try:
            open(path, "rb").close()
        except OSError as failure:
            reason = failure.strerror
        raise TrackFileError(f"{path}: {reason}") from error
    if file.subtype not in SUBTYPES:
        file.close()
        raise TrackFileError(
            f"{path}: sample format {file.subtype}; accepted are "
            f"{', '.join(SUBTYPES)}"
        )
    return file


def read_frames(file, start, stop):
    """Samples `start` … `stop` of an open file: `(samples, channels)`.

    Integers, full scale at their type's, or floats.

    Raises:
        TrackFileError: if the file is damaged or breaks off there, or a
            sample is NaN, infinite or too large for float32.
    """
    dtype, _ = _FORMATS[file.subtype]
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
        finite = (np.abs(frames) <= np.finfo("float32").max).all(axis=1)
        if not finite.all():
            raise TrackFileError(
                f"{file.name}: not a finite number at sample "
                f"{start + np.argmin(finite)}"
            )
    return frames


def check_length(file):
    """Checks that a file holds the samples that its header counts.

    Reads the header and the last sample: damage in the middle shows only
    when the samples there are read.

    Raises:
        TrackFileError: if samples are missing, or there are none at all.
    """
    if not file.frames:
        raise TrackFileError(f"{file.name}: no samples, zero length")
    if missing := missing_samples(file.extra_info):
        raise TrackFileError(f"{file.name}: {missing}")
    read_frames(file, file.frames - 1, file.frames)
    file.seek(0)


def to_float(frames, out=None):
    """Samples of `read_frames` as float32 `(channels, samples)`, full scale ±1.

    The floats that libsndfile gives (the factor is a power of two) in a fifth
    of its time. `out` is an array to fill.
    """
    if out is None:
        out = np.empty(frames.T.shape, "float32")
    if frames.dtype.kind == "f":
        out[...] = frames.T
        return out
    scale = np.float32(2.0 ** (1 - 8 * frames.dtype.itemsize))
    return np.multiply(frames.T, scale, out=out, dtype="float32")


def pack(frames, subtype):
    """Samples of `read_frames` as bytes of their width, little-endian."""
    dtype, width = _FORMATS[subtype]
    little = np.ascontiguousarray(frames, np.dtype(dtype).newbyteorder("<"))
    columns = little.view("uint8").reshape(-1, little.itemsize)
    return columns[:, -width:].tobytes()


def unpack(data, subtype, num_channels):
    """Inverse of `pack`: frames `(samples, channels)`.

    libsndfile reads such bytes too (`format="RAW"`), in 0.13 ms for 7 s of
    16 bits, where this takes 0.003.
    """
    dtype, width = _FORMATS[subtype]
    little = np.dtype(dtype).newbyteorder("<")
    spare = little.itemsize - width
    if not spare:
        return np.frombuffer(data, little).reshape(-1, num_channels)
    # Of 24 bits: b0 b1 b2 | b3 b4 b5 | … is read as the overlapping
    # [0 b0 b1 b2] [b2 b3 b4 b5] …; the lowest byte, the neighbour's, is cut.
    samples = np.ndarray(
        len(data) // width, little, bytes(spare) + data, strides=(width,)
    )
    return (samples & -(2 ** (8 * spare))).reshape(-1, num_channels)
