"""Sound files written block by block, which appear complete or not at all."""

from __future__ import annotations

import contextlib
import math
import os
import pathlib
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from keras_bandit.common.files import complete_files
from keras_bandit.media.audio import (
    choose_subtype,
    clipping,
    soundfile_name,
    to_samples,
)
from keras_bandit.media.flac_layout import FlacMask
from keras_bandit.media.riff import bytes_per_sample, chunk_bytes, wav_header

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from keras_bandit.common.types import AnyPath
    from keras_bandit.media.source import Source


class _Writer:
    """What writers of all formats have alike.

    Args:
        path: path of the file; one that exists is replaced.
        sample_rate: int. Hz.
        num_channels: int.
        subtype: "PCM_16", "PCM_24" or "FLOAT".

    Attributes:
        num_samples: int. Samples per channel written so far.
        clipped: int. Samples beyond ±1 that PCM could not hold.
        peak_dbfs: float. Of what was given, before clipping.
    """

    def __init__(
        self, path: AnyPath, sample_rate: int, num_channels: int, subtype: str
    ) -> None:
        self.path = pathlib.Path(path)
        self.sample_rate, self.num_channels = sample_rate, num_channels
        self.subtype = subtype
        self.num_samples = self.clipped = 0
        self.peak_dbfs = -math.inf

    def write(self, block: np.ndarray) -> None:
        """Appends `(channels, samples)` floats; PCM clips what passes ±1.

        Raises:
            ValueError: if the number of channels is another.
            OSError: if not all could be written.
        """
        if block.ndim != 2 or len(block) != self.num_channels:
            raise ValueError(
                f"block must be ({self.num_channels}, samples); got "
                f"{block.shape}"
            )
        if not block.size:
            return
        clipped, peak = clipping(block, self.subtype)
        self.clipped += clipped
        self.peak_dbfs = max(self.peak_dbfs, peak)
        self._append(to_samples(block.T, self.subtype))
        self.num_samples += block.shape[1]

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind is None:
            self.close()
        else:
            with contextlib.suppress(OSError, soundfile.SoundFileError):
                self._file.close()

    def _append(self, samples):
        """Writes what `to_samples` gives, `(samples, channels)`."""
        raise NotImplementedError

    def close(self) -> None:
        """Completes the file."""
        raise NotImplementedError


class WavWriter(_Writer):
    """Writes a WAV file, whose header becomes RF64's if it passes 4 GiB.

    Args:
        channel_mask: int. Speakers, for more than two channels, whose files
            are WAVE_FORMAT_EXTENSIBLE; `None` for none.
        chunks: list of `riff.Chunk`, written as they are.
        resume_at: int. Goes on after so many samples per channel of a file
            that a writer of the same arguments left, closed or not; what
            follows them is cut. `None` begins a new file.
    """

    def __init__(
        self,
        path: AnyPath,
        sample_rate: int,
        num_channels: int,
        subtype: str,
        channel_mask: int | None = None,
        chunks: Sequence = (),
        resume_at: int | None = None,
    ) -> None:
        super().__init__(path, sample_rate, num_channels, subtype)
        self._mask = channel_mask or 0
        # libsndfile (1.2) overlooks the padding of odd chunks in RF64 and then
        # finds no samples: those come after them.
        odd = [chunk for chunk in chunks if len(chunk.data) % 2]
        self._before = [chunk for chunk in chunks if chunk not in odd]
        after = [chunk_bytes(chunk.name, chunk.data) for chunk in odd]
        self._after = b"".join(after)
        if resume_at is None:
            self._file = open(path, "wb")  # noqa: SIM115
            self._file.write(self._header())
        else:
            self._go_on(resume_at)

    def _go_on(self, resume_at):
        """Opens the file after so many samples, or raises `ValueError`."""
        frame = self.num_channels * bytes_per_sample(self.subtype)
        end = len(self._header()) + resume_at * frame
        size = self.path.stat().st_size
        if size < end:
            raise ValueError(
                f"{self.path}: resume_at={resume_at} takes {end} bytes; the "
                f"file has {size}"
            )
        self._file = open(self.path, "r+b")  # noqa: SIM115
        self._file.truncate(end)
        self._file.seek(end)
        self.num_samples = resume_at

    def sync(self) -> None:
        """Puts on the disk what was written, where a power cut leaves it."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def _header(self):
        return wav_header(
            self.sample_rate,
            self.num_channels,
            self.subtype,
            self.num_samples,
            self._mask,
            self._before,
            len(self._after),
        )

    def _append(self, samples):
        samples = np.ascontiguousarray(samples)
        data = samples.astype(samples.dtype.newbyteorder("<"), copy=False)
        if self.subtype == "PCM_24":
            # The lowest of the four bytes, which comes first, is empty.
            data = data.view(np.uint8).reshape(*data.shape, 4)[..., 1:]
        self._file.write(np.ascontiguousarray(data).data)

    def close(self) -> None:
        """Completes the header: `OSError` if that fails."""
        with self._file as file:
            if file.tell() % 2:
                file.write(b"\0")
            file.write(self._after)
            file.seek(0)
            file.write(self._header())


class FlacWriter(_Writer):
    """Writes a FLAC file.

    Args:
        channel_mask: int. Speakers, for more than two channels, kept in a
            comment; `None` for none.
    """

    def __init__(
        self,
        path: AnyPath,
        sample_rate: int,
        num_channels: int,
        subtype: str,
        channel_mask: int | None = None,
    ) -> None:
        super().__init__(path, sample_rate, num_channels, subtype)
        # Opened by Python first, whose errors name the reason.
        with open(path, "wb"):
            pass
        self._file = soundfile.SoundFile(
            soundfile_name(path),
            "w",
            sample_rate,
            num_channels,
            subtype,
            format="flac",
        )
        self._mask = FlacMask(num_channels, channel_mask)
        if self._mask.needed:
            self._file.comment = self._mask.placeholder

    def _append(self, samples):
        with self._disk_errors():
            self._file.write(np.ascontiguousarray(samples))

    @contextlib.contextmanager
    def _disk_errors(self):
        try:
            yield
        except (AssertionError, soundfile.LibsndfileError) as error:
            # soundfile asserts that all samples were taken.
            raise OSError(
                f"{self.path}: writing broke off; is the disk full?"
            ) from error

    def close(self) -> None:
        """Completes the file: `OSError` if that fails."""
        with self._disk_errors():
            self._file.close()
        if self._mask.needed:
            self._mask.write(self.path)


@contextlib.contextmanager
def stem_writers(
    paths: Mapping[str, AnyPath],
    source: Source,
    file_format: str = "wav",
    subtype: str | None = None,
    overwrite: bool = False,
    folder: AnyPath | None = None,
) -> Iterator[dict[str, WavWriter | FlacWriter]]:
    """Opens a writer for each stem of a source.

    Rate, channels and layout are the source's, and WAV files take over its
    `chunks` byte for byte. The files have hidden names until the block ends,
    then all appear; if it ends with an exception, nothing is left.

    Args:
        paths: dict of each stem's path.
        source: `Source`.
        file_format, subtype: see `choose_subtype`.
        overwrite: bool. Whether to replace files that exist.
        folder: `pathlib.Path` of the hidden files; `None`: the stems'.

    Yields:
        Dict of each stem's writer, with `write(block)`, `clipped`,
        `peak_dbfs` and `num_samples`.

    Raises:
        AudioFileError: if the format does not take the subtype, the rate or
            the channels.
        OSError: if a file cannot be written. `FileExistsError` if it exists,
            or comes into being meanwhile, and `overwrite` is false.

    Example:
        with stem_writers({"speech": Path("speech.wav")}, source) as writers:
            for block in source.blocks():
                writers["speech"].write(block)
    """
    paths = {name: pathlib.Path(path) for name, path in paths.items()}
    subtype = choose_subtype(file_format, subtype, source)
    details = source.sample_rate, source.num_channels, subtype
    details += (source.channel_mask,)
    with (
        complete_files(list(paths.values()), overwrite, folder) as temporary,
        contextlib.ExitStack() as stack,
    ):
        writers = {}
        for name, path in paths.items():
            if file_format == "wav":
                writer = WavWriter(temporary[path], *details, source.chunks)
            else:
                writer = FlacWriter(temporary[path], *details)
            writers[name] = stack.enter_context(writer)
        yield writers
