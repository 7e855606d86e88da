"""All chunks of all tracks in a fixed order, for validation."""

from __future__ import annotations

import bisect
import dataclasses
import itertools
from typing import TYPE_CHECKING

from keras_bandit.common.checks import check_integer
from keras_bandit.data.stem_reader import StemReader

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from keras_bandit.data.track import Track


@dataclasses.dataclass(frozen=True)
class ChunkSource:
    """Batches of chunks as a function of their number."""

    reader: StemReader
    samples: int  # length of a chunk
    hop: int  # samples from chunk to chunk
    batch_size: int
    ends: list  # chunks of the tracks up to and with each

    def __len__(self):
        return -(-self.ends[-1] // self.batch_size)

    def item(self, index):
        """Batch `index`; the last one may be smaller."""
        first = index % len(self) * self.batch_size
        last = min(first + self.batch_size, self.ends[-1])
        batch, items = self.reader.empty(last - first, self.samples)
        for chunk, pair in zip(range(first, last), items, strict=True):
            number = bisect.bisect_right(self.ends, chunk)
            before = self.ends[number - 1] if number else 0
            track, start = self.reader.tracks[number], chunk - before
            self.reader.read_pair(track, start * self.hop, *pair)
        return batch


def validation_chunks(
    tracks: Sequence[Track],
    stems: Sequence[str],
    chunk_seconds: float = 6.0,
    hop_seconds: float = 1.0,
    batch_size: int = 2,
    composites: Mapping[str, Sequence[str]] | None = None,
    mixture_stems: Sequence[str] | None = None,
    sample_rate: int | None = None,
) -> Any:
    """All chunks of all tracks, at a fixed hop, for validation.

    A chunk starts at every multiple of the hop, track by track, as long as a
    whole chunk is left; the rest of a track is in no chunk. The hop is the
    paper's 1 s; the authors' configurations have 3 s.

    Args:
        tracks: sequence of `Track`, all with the same sample rate and number
            of channels.
        stems: list of str. Targets: stored stems or names in `composites`.
        chunk_seconds: float. Length of a chunk. A shorter track is an error.
        hop_seconds: float. Between the starts of chunks.
        batch_size: int. The last batch may be smaller.
        composites, mixture_stems, sample_rate: see `random_crops`.

    Returns:
        `grain.MapDataset` of `(mixture, {stem: target})`, each `(batch,
        channels, samples)` float32; the same in every epoch.

    Raises:
        ValueError: as `random_crops`.
    """
    reader = StemReader(tracks, stems, composites, mixture_stems, sample_rate)
    hop = round(hop_seconds * reader.sample_rate)
    if hop < 1:
        raise ValueError(
            "hop_seconds must be at least one sample; got "
            f"hop_seconds={hop_seconds}"
        )
    check_integer("batch_size", batch_size, 1)
    samples = reader.count_samples(chunk_seconds, "chunk_seconds")
    counts = (1 + (t.num_samples - samples) // hop for t in reader.tracks)
    ends = list(itertools.accumulate(counts))
    # Importing grain takes a second and loads JAX.
    from keras_bandit.data.indexed_dataset import IndexedDataset

    return IndexedDataset(ChunkSource(reader, samples, hop, batch_size, ends))
