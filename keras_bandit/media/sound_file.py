"""Sound files that libsndfile reads, as sources."""

import dataclasses
import pathlib

import numpy as np
import soundfile

from keras_bandit.media.audio import (
    AudioFileError,
    call_quietly,
    describe_notes,
    sound_file_info,
    soundfile_name,
)
from keras_bandit.media.flac_layout import read_flac_mask
from keras_bandit.media.layouts import layout_of
from keras_bandit.media.riff import read_wav_header, time_reference
from keras_bandit.media.source import Source, clock

# Samples per channel read at a time: as many are lost before a damaged place.
_PIECE = 2**12

# Formats whose samples do not depend on those before: a place can be sought.
_INDEPENDENT = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW")


def _read(file, nothing, size, quietly):
    """Up to `size` samples, `(samples, channels)`, and libmpg123's notes."""
    options = {"dtype": "float32", "always_2d": True}
    try:
        if quietly:
            return call_quietly(file.read, size, **options)
        return file.read(size, **options), []
    except soundfile.LibsndfileError:
        return nothing, []


@dataclasses.dataclass
class SoundFile(Source):
    """A file that libsndfile reads: WAV, RF64, AIFF, FLAC, Ogg, MP3, ..."""

    @classmethod
    def open(cls, path, damaged="error"):
        """Reads the header; errors are those of `sound_file_info`."""
        info, path = sound_file_info(path), pathlib.Path(path)
        mask, chunks = 0, ()
        if info.format == "FLAC":
            mask = read_flac_mask(path, info.channels)
        elif header := read_wav_header(path):
            mask, chunks = header.channel_mask, header.chunks
        layout, mask = layout_of(info.channels, mask)
        return cls(
            path,
            info.samplerate,
            info.channels,
            layout,
            mask,
            info.subtype,
            f"{info.format} {info.subtype}",
            info.frames,
            info.frames / info.samplerate,
            chunks=chunks,
            time_reference=time_reference(chunks),
            damaged=damaged,
        )

    def _pieces(self, start):
        quietly, notes = self.subtype.startswith("MPEG"), []
        name = soundfile_name(self.path)
        try:
            file, _ = call_quietly(soundfile.SoundFile, name)
        except soundfile.LibsndfileError as error:
            raise AudioFileError(
                f"{self.path}: changed since it was opened "
                f"({error.error_string.rstrip('.')})"
            ) from error
        with file:
            place, broken = self._seek(file, start), False
            while place < self.num_samples:
                size = min(_PIECE, self.num_samples - place)
                piece = np.zeros((0, self.num_channels), "float32")
                if not broken:
                    piece, new_notes = _read(file, piece, size, quietly)
                    notes += new_notes
                if len(piece) < size:
                    if not broken:
                        self._broken_off(place + len(piece))
                    broken = True
                    piece = np.pad(piece, ((0, size - len(piece)), (0, 0)))
                yield piece[max(0, start - place) :].T
                place += size
        if notes:
            self._warn(f"damaged, and read on: {describe_notes(notes)}")

    def _seek(self, file, start):
        """Goes to `start` if it can be sought exactly; returns the place."""
        # Always the same pieces, so that damage takes the same samples.
        place = min(start, self.num_samples) // _PIECE * _PIECE
        if place and self.subtype.startswith(_INDEPENDENT):
            try:
                return file.seek(place)
            except soundfile.LibsndfileError:
                file.seek(0)  # damaged: reading tells where
        return 0

    def _broken_off(self, place):
        where = f"breaks off after {place} of {self.num_samples} samples"
        where += f", at {clock(place / self.sample_rate)}"
        if self.damaged != "silence":
            raise AudioFileError(f"{self.path}: damaged ({where})")
        self._warn(f"damaged ({where}); silence from there on")
