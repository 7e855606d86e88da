"""Audio files: read whole, written exactly."""

import dataclasses
import io
import os
import pathlib

import numpy as np
import soundfile

from keras_bandit.common.broken_off import missing_samples
from keras_bandit.common.quiet import hidden_stderr

SUBTYPES = {
    "wav": ("PCM_16", "PCM_24", "FLOAT"),
    "flac": ("PCM_16", "PCM_24"),
}
"""Sample formats that each file format takes."""

BITS = {"PCM_16": 16, "PCM_24": 24, "FLOAT": 32}

# RIFF counts bytes with 32 bits; RF64 (EBU Tech 3306) with 64. The margin is
# for the header.
_LARGEST_RIFF = 2**32 - 2**16

_BLOCK = 2**20  # samples per channel converted and written at a time


class AudioFileError(ValueError):
    """A file that cannot be read or written; the message says which, why."""


@dataclasses.dataclass(frozen=True)
class AudioFormat:
    """What a file holds."""

    sample_rate: int  # Hz
    num_channels: int
    num_samples: int  # per channel
    subtype: str  # libsndfile's name of the sample format, "PCM_24"
    damage: str = ""  # what an MP3 decoder passed over while reading, one line


def _name(path):
    """A path as soundfile (0.14) opens it, also if it is not valid UTF-8."""
    return os.fspath(path) if os.name == "nt" else os.fsencode(path)


def _call(function, *args, **options):
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


def probe(path):
    """Reads the `AudioFormat` of a file from its header.

    Raises:
        AudioFileError: if the file is missing, not a regular file, not
            readable, not audio that libsndfile knows, has no samples, or is
            a WAV file that breaks off.
    """
    path = pathlib.Path(path)
    # os.path, since pathlib raises an error if a name is too long.
    if os.path.exists(path) and not os.path.isfile(path):
        kind = "a directory" if path.is_dir() else "not a regular file"
        raise AudioFileError(f"{path}: {kind}; an audio file is needed")
    try:
        with path.open("rb"):
            pass
        info, _ = _call(soundfile.info, _name(path))
    except OSError as error:
        raise AudioFileError(f"{path}: {error.strerror}") from error
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(".")
        raise AudioFileError(f"{path}: not audio ({reason})") from error
    except TypeError as error:
        # libsndfile takes a file named .raw on faith and asks for its rate.
        raise AudioFileError(f"{path}: not audio (no header)") from error
    if not info.frames:
        raise AudioFileError(f"{path}: no samples, zero length")
    if missing := missing_samples(info.extra_info):
        raise AudioFileError(f"{path}: damaged ({missing})")
    return AudioFormat(
        info.samplerate, info.channels, info.frames, info.subtype
    )


class AudioFile:
    """A file that is read block by block, a source of `separate_blocks`.

    Args:
        path: of a file that libsndfile reads.

    Attributes:
        format: `AudioFormat`; `damage` is there when all has been read.
        sample_rate, num_channels, num_samples: its own.

    Raises:
        AudioFileError: as `probe`; while reading, if the file breaks off.
    """

    def __init__(self, path):
        self.path = path
        self.format = probe(path)
        self.sample_rate = self.format.sample_rate
        self.num_channels = self.format.num_channels
        self.num_samples = self.format.num_samples

    def blocks(self, size=2**15):
        """Yields `(channels, samples)` float32, full scale ±1."""
        options = {"dtype": "float32", "always_2d": True}
        notes, count = [], 0
        try:
            file, _ = _call(soundfile.SoundFile, _name(self.path))
            with file:
                while True:
                    if self.format.subtype.startswith("MPEG"):
                        audio, lines = _call(file.read, size, **options)
                        notes += lines
                    else:
                        audio = file.read(size, **options)
                    if not len(audio):
                        break
                    count += len(audio)
                    yield np.ascontiguousarray(audio.T)
        except soundfile.LibsndfileError as error:
            reason = error.error_string.rstrip(".")
            raise AudioFileError(f"{self.path}: damaged ({reason})") from error
        if count < self.num_samples:
            raise AudioFileError(
                f"{self.path}: damaged (breaks off after {count} of "
                f"{self.num_samples} samples)"
            )
        if notes:
            # "[src/libmpg123/layer3.c:INT123_do_layer3():1860] error: ..."
            first = notes[0].rpartition("] ")[2].removeprefix("error: ")
            damage = f"{first} ({len(notes)} such notes)"
            self.format = dataclasses.replace(self.format, damage=damage)


def read_audio(path):
    """Reads a whole file: `(channels, samples)` float32, and its `AudioFormat`.

    Full scale is ±1. Errors are those of `probe`, also for a file that breaks
    off.
    """
    file = AudioFile(path)
    try:
        audio = np.empty((file.num_channels, file.num_samples), "float32")
    except (MemoryError, ValueError) as error:
        # A damaged header may be the reason.
        raise AudioFileError(
            f"{path}: announces {file.num_samples} samples, more than memory "
            "can hold"
        ) from error
    start = 0
    for block in file.blocks():
        audio[:, start : start + block.shape[-1]] = block
        start += block.shape[-1]
    return audio, file.format


def choose_subtype(file_format, subtype, source):
    """Chooses a sample format and checks that the file format takes it.

    Args:
        file_format: "wav" or "flac".
        subtype: one of `SUBTYPES[file_format]`; `None` keeps the depth of a
            source in PCM_16 or PCM_24 and otherwise loses nothing (wav:
            FLOAT) or the least (flac: PCM_24).
        source: `AudioFormat` of the recording.

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


def to_samples(audio, subtype):
    """Rounds floats to a sample format; what lies beyond ±1 is clipped.

    libsndfile's own conversion with clipping truncates, an error of up to a
    whole step; this one rounds to nearest, so that PCM that was read comes
    back bit for bit. Returns what libsndfile takes: float32, int16, or int32
    with 24 bits in the upper bytes.
    """
    if subtype == "FLOAT":
        return audio.astype("float32", copy=False)
    full_scale = 2.0 ** (BITS[subtype] - 1)
    # float64: the largest 24-bit value must survive the clipping.
    steps = np.rint(audio.astype("float64") * full_scale)
    steps = np.clip(steps, -full_scale, full_scale - 1)
    if subtype == "PCM_16":
        return steps.astype("int16")
    return steps.astype("int32") << 8


class AudioWriter:
    """Writes a file block by block, as RF64 where a wav would pass 4 GiB.

    PCM clips what lies beyond ±1. A context manager, which closes the file.

    Args:
        path: of the file, which is replaced.
        sample_rate: int, Hz.
        num_channels, num_samples: int. What will be written in all.
        file_format, subtype: see `choose_subtype`.

    Attributes:
        clipped: int. Samples that were clipped so far.
        peak: float. The largest absolute value so far.

    Raises:
        OSError: if the file cannot be written, or not to its end.
    """

    def __init__(
        self,
        path,
        sample_rate,
        num_channels,
        num_samples,
        file_format,
        subtype,
    ):
        self.path, self.subtype = path, subtype
        self.clipped, self.peak = 0, 0.0
        num_bytes = num_channels * num_samples * BITS[subtype] // 8
        if file_format == "wav" and num_bytes > _LARGEST_RIFF:
            file_format = "rf64"
        # Opened by Python first, whose errors name the reason.
        with open(path, "wb"):
            pass
        self._file = soundfile.SoundFile(
            _name(path),
            "w",
            sample_rate,
            num_channels,
            subtype,
            format=file_format,
        )

    def write(self, audio):
        """Appends `(channels, samples)`."""
        self.peak = max(self.peak, float(audio.max()), -float(audio.min()))
        if self.subtype != "FLOAT" and self.peak > 1:
            self.clipped += int(np.count_nonzero(np.abs(audio) > 1))
        try:
            self._file.write(to_samples(audio.T, self.subtype))
        except (AssertionError, soundfile.LibsndfileError) as error:
            # soundfile asserts that all samples were taken.
            raise OSError(
                f"{self.path}: writing broke off; is the disk full?"
            ) from error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()


def write_audio(path, audio, sample_rate, file_format, subtype):
    """Writes all of `(channels, samples)`, as `AudioWriter` does."""
    with AudioWriter(
        path, sample_rate, *audio.shape, file_format, subtype
    ) as file:
        for start in range(0, audio.shape[-1], _BLOCK):
            file.write(audio[:, start : start + _BLOCK])
