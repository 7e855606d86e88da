"""Sounds to mix films from: files in the user's folders, or generated ones."""

import dataclasses
import functools
import itertools
import pathlib

import numpy as np
import soundfile
import soxr

from keras_bandit.common.quiet import hidden_stderr
from keras_bandit.data.generated_effects import (
    generate_background,
    generate_event,
)
from keras_bandit.data.generated_music import generate_music
from keras_bandit.data.generated_speech import draw_speaker, utterance
from keras_bandit.data.sample_formats import (
    SUBTYPES,
    TrackFileError,
    check_length,
)
from keras_bandit.data.track_files import FolderError

SOUND_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff")
"""Names of the files that are taken from a folder, in either case."""

_BLOCK = 2**20  # samples per channel that are checked at a time
_SILENCE = 10 ** (-70 / 20)


@dataclasses.dataclass(frozen=True)
class FileSound:
    """A sound file, resampled and mixed down to mono when it is read."""

    path: pathlib.Path
    name: str  # the path below its folder, with slashes

    @functools.cached_property
    def seconds(self):
        """Length; read from the file's header."""
        with hidden_stderr():
            info = soundfile.info(self.path)
        return info.frames / info.samplerate

    def latest_start(self, seconds):
        """Where a piece of that length starts at the latest, seconds."""
        return self.seconds - seconds

    def read(self, start_seconds, seconds, sample_rate):
        """A piece of the file `(samples,)` float32 at `sample_rate`.

        soxr resamples at its best quality. The piece is as long as asked for
        or, for a piece that ends with the file, up to two samples shorter.
        """
        # libmpg123 writes notes on what it finds odd in an MP3 file.
        with hidden_stderr(), soundfile.SoundFile(self.path) as file:
            file.seek(min(int(start_seconds * file.samplerate), file.frames))
            frames = round(seconds * file.samplerate)
            audio = file.read(frames, dtype="float32", always_2d=True).mean(1)
            if file.samplerate != sample_rate:
                audio = soxr.resample(
                    audio, file.samplerate, sample_rate, quality="VHQ"
                )
        return audio[: round(seconds * sample_rate)]


class GeneratedSound:
    """A sound of the package's own, a function of its kind and number.

    Speech is one to four phrases of one speaker, an effect is one event; each
    has its own length. Music and backgrounds (rain, wind, a room) are made as
    long as the piece that is read, up to 30 s: a piece of another length is
    another sound. It can be read at `sample_rate` alone.
    """

    def __init__(self, kind, number, sample_rate):
        self.name = f"generated/{kind}_{number}"
        self.kind = kind
        self.number = number
        self.seconds = 30.0
        self._audio = None  # made when a piece is read
        if kind in ("speech", "sfx"):
            rng = np.random.default_rng(number)
            make = _phrases if kind == "speech" else generate_event
            self._audio = make(rng, sample_rate)
            self.seconds = len(self._audio) / sample_rate

    def latest_start(self, seconds):
        """As `FileSound.latest_start`."""
        return 0.0 if self._audio is None else self.seconds - seconds

    def read(self, start_seconds, seconds, sample_rate):
        """As `FileSound.read`."""
        samples = round(seconds * sample_rate)
        rng = np.random.default_rng(self.number)
        if self.kind == "music":
            return generate_music(rng, samples, sample_rate, channels=1)[0]
        if self.kind == "background":
            return generate_background(rng, samples, sample_rate)
        start = int(start_seconds * sample_rate)
        return self._audio[start : start + samples]


def _phrases(rng, sample_rate):
    """One to four phrases of one speaker: `(samples,)`."""
    speaker = draw_speaker(rng, channels=1)
    pause = np.zeros(int(rng.uniform(0.1, 0.6) * sample_rate), "float32")
    pieces = []
    for _ in range(rng.integers(1, 5)):
        pieces += [utterance(rng, speaker, sample_rate), pause]
    return np.concatenate(pieces[:-1]).astype("float32")


def find_sounds(folder):
    """Sounds in a folder and below, list of `FileSound` by name, not opened.

    What is hidden or has none of `SOUND_SUFFIXES` is left out. `FolderError`
    if there is no such folder, or no sound in it.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise FolderError(f"{folder}: not a folder")
    sounds = [
        FileSound(path, path.relative_to(folder).as_posix())
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SOUND_SUFFIXES and path.is_file()
    ]
    sounds = [sound for sound in sounds if "/." not in f"/{sound.name}"]
    if not sounds:
        raise FolderError(
            f"{folder}: no sound files; names must end with one of "
            f"{', '.join(SOUND_SUFFIXES)}"
        )
    return sounds


def check_sounds(sounds):
    """Reads files to their end; what is wrong with some, a list of str.

    They are not audio, damaged, shorter than their header says or than 10 ms,
    silent (no sample above -70 dB full scale), or have NaN or infinity.
    """
    problems = []
    for sound in sounds:
        with hidden_stderr():
            try:
                problem = _problem(sound)
            except (soundfile.LibsndfileError, TrackFileError) as error:
                problem = f"not audio, or damaged ({error})"
        if problem:
            problems.append(f"{sound.path}: {problem}")
    return problems


def _problem(sound):
    """What is wrong with a file's samples, or `None`."""
    if sound.seconds < 0.01:
        return f"shorter than 0.01 s; it has {sound.seconds:.6f} s"
    peak, frames = 0.0, 0
    with soundfile.SoundFile(sound.path) as file:
        if file.subtype in SUBTYPES:
            check_length(file)
        for block in file.blocks(_BLOCK, dtype="float32", always_2d=True):
            if not np.isfinite(block).all():
                return "holds NaN or infinity"
            peak = max(peak, np.abs(block).max())
            frames += len(block)
        if frames < file.frames:
            return f"breaks off after {frames} of {file.frames} samples"
    return None if peak > _SILENCE else "silent"


def share_sounds(folder, sounds, shares, seed):
    """Deals a folder's `FileSound`s to splits: `{split: list of FileSound}`.

    `shares`, `{split: share}`, are positive numbers of any sum; each split
    gets one file at least.

    Raises:
        FolderError: if there are fewer files than splits.
    """
    if len(sounds) < len(shares):
        raise FolderError(
            f"{folder}: {len(sounds)} sound file(s) for the splits "
            f"{', '.join(shares)}; each needs one that no other has"
        )
    order = np.random.default_rng(seed).permutation(len(sounds))
    bounds = np.cumsum([0.0, *shares.values()]) / sum(shares.values())
    spare = len(sounds) - len(shares)
    # One for each split, and its part of the rest.
    bounds = np.round(bounds * spare).astype(int) + np.arange(len(bounds))
    return {
        split: [sounds[i] for i in sorted(order[start:stop])]
        for split, (start, stop) in zip(
            shares, itertools.pairwise(bounds), strict=True
        )
    }
