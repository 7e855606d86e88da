"""Segments of a track in which a stem is heard, for MUSDB18-HQ."""

from __future__ import annotations

import numpy as np

from keras_bandit.common.loudness import integrated_loudness
from keras_bandit.data.stem_reader import mixture_sources
from keras_bandit.data.track import Track

# Values of the authors' preprocessing (BandIt's code, as used for
# arXiv:2309.02539; the method is that of BSRNN, Luo & Yu 2023,
# arXiv:2209.15174).
_LOUDNESS_LUFS = -24.0
_CHUNKS = 10
_QUANTILE = 0.15
_LEAST_ENERGY = 1e-3
_SILENT_ENERGY = 1e-5


class Segment(Track):
    """A piece of a track, scaled, and padded with zeros beyond its end.

    `start` and `num_samples`, which may pass the end of the track, are
    samples; `gain` is applied to every stem.

    Example:
        ```python
        from keras_bandit.data import Segment, film_clip
        from keras_bandit.data.track import ArrayTrack

        track = ArrayTrack("clip", 16000, film_clip(2.0, 16000))
        Segment(track, "end", 16000, 24000).read("music")  # (1, 24000)
        ```
    """

    def __init__(
        self,
        track: Track,
        name: str,
        start: int,
        num_samples: int,
        gain: float = 1.0,
    ) -> None:
        shape = track.sample_rate, track.num_channels, num_samples
        super().__init__(name, *shape, track.stems)
        self.track = track
        self.start = start
        self.gain = np.float32(gain)

    def _read(self, stem, start, stop):
        end = self.track.num_samples
        first, last = (min(self.start + i, end) for i in (start, stop))
        audio = self.gain * self.track.read(stem, first, last)
        missing = (stop - start) - (last - first)
        return np.pad(audio, ((0, 0), (0, missing))) if missing else audio


def active_segments(
    track: Track,
    stem: str | None = None,
    segment_seconds: float = 6.0,
    hop_seconds: float = 3.0,
) -> list[Segment]:
    """Segments of a track in which a stem is heard, all at one loudness.

    As the authors of BandIt prepare MUSDB18-HQ. All stems get the gain that
    brings the analysed one to -24 LUFS (the authors forget that one itself). A
    segment has ten chunks; a chunk is active when its mean square exceeds the
    15 % quantile over all chunks of the track, and 0.001; a segment is kept
    when more than half of its chunks are active. The last one is padded with
    zeros. Segments read from the track.

    Args:
        track: `Track`.
        stem: str, the stem that must be heard, or `None`: the mixture gives
            the loudness (the sum of the stems if none is stored) and every
            segment is kept.
        segment_seconds: float. Length of a segment, rounded up to ten chunks
            of a whole number of samples.
        hop_seconds: float. Between the starts of segments.

    Returns:
        list of `Segment`, which are tracks; empty if the stem is silent
        (below the loudness measure's gate of -70 LUFS).

    Raises:
        ImportError: without pyloudnorm (the extra `mix`).
        ValueError: if an argument is out of its range, or the track lacks
            the stem.
    """
    sample_rate = track.sample_rate
    chunk = -(-round(segment_seconds * sample_rate) // _CHUNKS)
    length = _CHUNKS * chunk
    hop = round(hop_seconds * sample_rate)
    if chunk < 1 or hop < 1:
        raise ValueError(
            "segment_seconds and hop_seconds must be positive; got "
            f"{segment_seconds} and {hop_seconds}"
        )
    names = [stem] if stem is not None else mixture_sources(track)
    audio = sum(track.read(name) for name in names)
    loudness = integrated_loudness(audio, sample_rate)
    if loudness == -np.inf:
        return []
    gain = 10 ** ((_LOUDNESS_LUFS - loudness) / 20)
    # Starts up to the first segment that reaches the end.
    count = 1 + max(-(-(track.num_samples - length) // hop), 0)
    starts = hop * np.arange(count)
    kept = np.ones(count, bool)
    if stem is not None:
        kept = _active(gain * audio, starts, length)
    name = f"{track.name} - {stem or 'all'}"
    return [
        Segment(track, f"{name}{i:03d}", int(start), length, gain)
        for i, start in enumerate(starts)
        if kept[i]
    ]


def _active(audio, starts, length):
    """Which segments are active, `(segments,)` bool."""
    needed = int(starts[-1]) + length - audio.shape[-1]
    power = np.pad(np.mean(np.square(audio), axis=0), (0, max(needed, 0)))
    pieces = [power[start : start + length] for start in starts]
    energies = np.stack(pieces).reshape(len(starts), _CHUNKS, -1).mean(axis=2)
    energies[energies == 0] = _SILENT_ENERGY
    threshold = max(np.quantile(energies, _QUANTILE), _LEAST_ENERGY)
    return np.mean(energies > threshold, axis=1) > 0.5
