"""Recordings with their stems, read in pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


MIXTURE = "mixture"


class Track:
    """A recording and its stems; the base of every kind of storage.

    Objects are small and can be pickled: audio is read only when asked for.
    A subclass defines `_read(stem, start, stop)`.
    """

    def __init__(
        self,
        name: str,
        sample_rate: int,
        num_channels: int,
        num_samples: int,
        stems: Sequence[str],
    ) -> None:
        self.name = name  # unique within its split
        self.sample_rate = sample_rate  # Hz
        self.num_channels = num_channels
        self.num_samples = num_samples  # length of every stem
        self.stems = tuple(stems)  # "mixture" only where it is stored

    def read(
        self, stem: str, start: int = 0, stop: int | None = None
    ) -> np.ndarray:
        """Samples `start` … `stop` of a stem; `None`: to the end.

        `(num_channels, stop - start)` float32, full scale ±1. `ValueError` for
        an unknown stem or a range outside the track.
        """
        stop = self.num_samples if stop is None else stop
        self._check(stem, start, stop)
        return self._read(stem, start, stop)

    def read_into(self, stem: str, start: int, out: np.ndarray) -> None:
        """As `read`, but fills `out`, `(num_channels, samples)` float32."""
        out[...] = self.read(stem, start, start + out.shape[-1])

    def _check(self, stem, start, stop):
        if stem not in self.stems:
            raise ValueError(
                f"track {self.name} has no stem {stem!r}; it has {self.stems}"
            )
        if not 0 <= start <= stop <= self.num_samples:
            raise ValueError(
                f"track {self.name} has samples 0 … {self.num_samples}; got "
                f"start={start}, stop={stop}"
            )


class ArrayTrack(Track):
    """A track held in memory.

    Args:
        name: str.
        sample_rate: int. Hz.
        audio: `{stem: (channels, samples)}` float32, all of one shape.

    Raises:
        ValueError: if the shapes differ or are not of two axes.

    Example:
        ```python
        from keras_bandit.data import film_clip
        from keras_bandit.data.track import ArrayTrack

        track = ArrayTrack("clip", 16000, film_clip(2.0, 16000))
        track.read("speech", 8000, 16000)  # (1, 8000), the second half second
        ```
    """

    def __init__(self, name, sample_rate, audio):
        shapes = {stem: np.shape(x) for stem, x in audio.items()}
        shape, *others = set(shapes.values()) or [()]
        if others or len(shape) != 2:
            raise ValueError(
                "stems must have one shape (channels, samples); got "
                f"{shapes} in track {name}"
            )
        super().__init__(name, sample_rate, *shape, stems=audio)
        self.audio = {k: np.asarray(x, "float32") for k, x in audio.items()}

    def _read(self, stem, start, stop):
        return self.audio[stem][:, start:stop]
