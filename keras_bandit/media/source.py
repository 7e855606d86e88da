"""The sound of a file, read in blocks: what every kind of file has alike."""

from __future__ import annotations

import dataclasses
import fractions
import pathlib
from typing import TYPE_CHECKING

import numpy as np

from keras_bandit.common.checks import check_integer
from keras_bandit.media.layouts import layout_of, speakers_of

if TYPE_CHECKING:
    from collections.abc import Iterator


def clock(seconds):
    """A time as people read it: "1:02:03.456"."""
    sign, milliseconds = "-" * (seconds < 0), round(abs(seconds) * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    rest = f"{milliseconds // 1000:02}.{milliseconds % 1000:03}"
    return f"{sign}{hours}:{minutes:02}:{rest}"


def cut(pieces, size):
    """Cuts arrays `(channels, any number of samples)` into blocks of a size.

    The last block may be shorter. No block shares memory with a piece.
    """
    held, count = [], 0
    for piece in pieces:
        while count + piece.shape[1] >= size:
            held.append(piece[:, : size - count])
            piece = piece[:, size - count :]
            yield np.concatenate(held, axis=1)
            held, count = [], 0
        if piece.shape[1]:
            held.append(piece)
            count += piece.shape[1]
    if count:
        yield np.concatenate(held, axis=1)


@dataclasses.dataclass
class Source:
    """One sound track of a file: what it is, and its samples in blocks.

    Sample 0 is where the picture begins, or the track where there is none.
    No file is open between calls, so that a source need not be closed.

    Args:
        path: path of the file.
        sample_rate: int. Hz.
        num_channels: int.
        layout: str. A name of `LAYOUTS`, or "unknown".
        channel_mask: int. Speakers, as in WAVEFORMATEXTENSIBLE; `None` if the
            file does not tell.
        subtype: str. libsndfile's name of the sample format that loses
            nothing or comes nearest, "PCM_24", as `choose_subtype` takes it.
        codec: str. What the samples are kept in, such as "aac".
        num_samples: int. Per channel, silence before the track and what is
            cut there taken into account; `None` until `blocks` has come to
            the end for the first time, if only that tells.
        duration_seconds: float. What the file announces, for progress; may be
            wrong. `None` if it announces nothing.
        start_offset: int. Samples by which the track begins after the picture
            (there is silence before) or, if negative, before (the sound before
            the picture is cut).
        track: int. Which of the file's sound tracks, from 1 on; a list of
            those that are joined.
        num_tracks: int. How many it has.
        title, language: str. Of the track; empty if not told. Languages have
            three letters as in ISO 639-2.
        timecode: str. Of the first frame, "01:00:00:00"; empty if not told.
        frame_rate: Fraction. Frames a second of the picture; `None` if there is
            none, or it is not told.
        time_reference: int. Samples from midnight to the start, of `bext`;
            `None` if not told.
        chunks: tuple of `riff.Chunk`. What stems take over from a WAV file.
        damaged: `"error"` or `"silence"`. Whether damage ends the reading or
            silence takes its place.
        name: str. What people call the recording, in reports and markers; empty
            takes the file's name.
        warnings: list of lines, complete when `blocks` has come to the end:
            gaps, damage that was passed over. Each once.
    """

    path: pathlib.Path
    sample_rate: int
    num_channels: int
    layout: str
    channel_mask: int | None
    subtype: str
    codec: str
    num_samples: int | None = None
    duration_seconds: float | None = None
    start_offset: int = 0
    track: int | list = 1
    num_tracks: int = 1
    title: str = ""
    language: str = ""
    timecode: str = ""
    frame_rate: fractions.Fraction | None = None
    time_reference: int | None = None
    chunks: tuple = ()
    damaged: str = "error"
    name: str = ""
    warnings: list = dataclasses.field(default_factory=list)

    def __post_init__(self):
        self.name = self.name or pathlib.PurePath(self.path).name

    @property
    def speakers(self) -> list[str]:
        """The speaker of each channel, "FL", or an empty list if unknown."""
        return speakers_of(self.channel_mask or 0)

    def blocks(self, start: int = 0, size: int = 2**16) -> Iterator[np.ndarray]:
        """Yields the samples from `start` on, in memory that does not grow.

        Args:
            start: int. The first sample; beyond the end nothing comes.
            size: int. Samples per channel of a block.

        Yields:
            `(channels, size)` float32, full scale ±1; the last is as short as
            what is left.

        Raises:
            AudioFileError: if the file is damaged or changes its layout or
                rate. Names the file and the place.
        """
        start = check_integer("start", start, 0)
        return cut(self._pieces(start), check_integer("size", size, 1))

    def read(self) -> np.ndarray:
        """All samples at once, `(channels, samples)`; see `blocks`."""
        nothing = np.zeros((self.num_channels, 0), "float32")
        return np.concatenate([nothing, *self.blocks()], axis=1)

    def _pieces(self, start):
        """Yields arrays `(channels, any number of samples)` from `start` on."""
        raise NotImplementedError

    def _warn(self, message):
        line = f"{self.path}: {message}"
        if line not in self.warnings:
            self.warnings.append(line)


def one_channel(source):
    """What a mono file of one of a source's channels is, for `stem_writers`.

    Without the chunks that tell which channel is which (`chna`, `axml`).
    """
    name, mask = layout_of(1)
    chunks = [c for c in source.chunks if c.name not in ("chna", "axml")]
    return dataclasses.replace(
        source,
        num_channels=1,
        layout=name,
        channel_mask=mask,
        chunks=tuple(chunks),
    )
