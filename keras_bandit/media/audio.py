"""What audio files take, and what libsndfile tells of them."""

import io
import math
import os
import pathlib

import numpy as np
import soundfile

from keras_bandit.common.broken_off import missing_samples
from keras_bandit.common.quiet import hidden_stderr
from keras_bandit.media.riff import bytes_per_sample

SUBTYPES = {
    "wav": ("PCM_16", "PCM_24", "FLOAT"),
    "flac": ("PCM_16", "PCM_24"),
}
"""Sample formats that each file format takes."""


class AudioFileError(ValueError):
    """A file that cannot be read or written; the message says which, why."""


class NotAudioError(AudioFileError):
    """A file of no format that libsndfile knows: perhaps a film."""


def soundfile_name(path):
    """A path as soundfile (0.14) opens it, also if it is not valid UTF-8."""
    return os.fspath(path) if os.name == "nt" else os.fsencode(path)


def call_quietly(function, *args, **options):
    """Calls soundfile; returns its result, and the lines libmpg123 printed.

    libmpg123 (in libsndfile 1.2) prints odd tags and faults in MP3 frames on
    standard error. It goes on with what follows, and soundfile does not tell.
    """
    result = error = None
    with hidden_stderr() as held:
        try:
            result = function(*args, **options)
        except Exception as raised:
            error = raised  # outside, or the lines are printed with it
        held.seek(0)
        lines = held.read().decode(errors="replace").splitlines()
    if error:
        raise error
    return result, lines


def describe_notes(notes):
    """One line for what libmpg123 printed of a damaged file; "" for nothing."""
    if not notes:
        return ""
    # "[src/libmpg123/layer3.c:INT123_do_layer3():1860] error: ..."
    first = notes[0].rpartition("] ")[2].removeprefix("error: ")
    return f"{first} ({len(notes)} such notes)"


def sound_file_info(path):
    """What soundfile tells of a file's header.

    Raises:
        AudioFileError: if the file is missing, not a regular file or not
            readable, has no samples, or is a WAV file that breaks off.
        NotAudioError: if it is not audio that libsndfile knows.
    """
    path = pathlib.Path(path)
    # os.path, since pathlib raises an error if a name is too long.
    if os.path.exists(path) and not os.path.isfile(path):
        kind = "a directory" if path.is_dir() else "not a regular file"
        raise AudioFileError(f"{path}: {kind}; an audio file is needed")
    try:
        with path.open("rb"):
            pass
        info, _ = call_quietly(soundfile.info, soundfile_name(path))
    except OSError as error:
        raise AudioFileError(f"{path}: {error.strerror}") from error
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(".")
        raise NotAudioError(f"{path}: not audio ({reason})") from error
    except TypeError as error:
        # libsndfile takes a file named .raw on faith and asks for its rate.
        raise NotAudioError(f"{path}: not audio (no header)") from error
    if not info.frames:
        raise AudioFileError(f"{path}: no samples, zero length")
    if missing := missing_samples(info.extra_info):
        raise AudioFileError(f"{path}: damaged ({missing})")
    return info


def choose_subtype(file_format, subtype, source):
    """Chooses a sample format and checks that the file format takes it.

    Args:
        file_format: "wav" or "flac".
        subtype: one of `SUBTYPES[file_format]`; `None` keeps the depth of a
            source in PCM_16 or PCM_24 and otherwise loses nothing (wav:
            FLOAT) or the least (flac: PCM_24).
        source: `Source`, the recording.

    Raises:
        AudioFileError: if there is no such format, or it does not take the
            subtype, the rate or the number of channels.
    """
    if file_format not in SUBTYPES:
        raise AudioFileError(
            f"file_format must be one of {', '.join(SUBTYPES)}; got "
            f"{file_format!r}"
        )
    accepted = SUBTYPES[file_format]
    if subtype is None:
        subtype = source.subtype if source.subtype in accepted else accepted[-1]
    if subtype not in accepted:
        raise AudioFileError(
            f"{file_format} takes the subtypes {', '.join(accepted)}; got "
            f"{subtype}"
        )
    try:
        soundfile.SoundFile(
            io.BytesIO(),
            "w",
            source.sample_rate,
            source.num_channels,
            subtype,
            format=file_format,
        ).close()
    except soundfile.LibsndfileError as error:
        raise AudioFileError(
            f"{file_format} does not take {source.num_channels} channels at "
            f"{source.sample_rate} Hz"
        ) from error
    return subtype


def clipping(audio, subtype):
    """How many samples a format has to clip, 0 in FLOAT; and the peak in dBFS."""
    peak = max(audio.max(), -audio.min())
    count = 0
    if subtype != "FLOAT" and peak > 1:
        count = int(np.count_nonzero(audio > 1) + np.count_nonzero(audio < -1))
    return count, 20 * math.log10(peak) if peak else -math.inf


def to_samples(audio, subtype):
    """Rounds floats to a sample format; what lies beyond ±1 is clipped.

    libsndfile's own conversion with clipping truncates, an error of up to a
    whole step; this one rounds to nearest, so that PCM that was read comes
    back bit for bit. Returns what libsndfile takes: float32, int16, or int32
    with 24 bits in the upper bytes.
    """
    if subtype == "FLOAT":
        return audio.astype("float32", copy=False)
    full_scale = 2.0 ** (8 * bytes_per_sample(subtype) - 1)
    # float64: the largest 24-bit value must survive the clipping.
    steps = np.rint(audio.astype("float64") * full_scale)
    steps = np.clip(steps, -full_scale, full_scale - 1)
    if subtype == "PCM_16":
        return steps.astype("int16")
    return steps.astype("int32") << 8
