"""Chunks for validation and full tracks for testing, in a fixed order."""

import bisect
import itertools

from keras_bandit.common.checks import check_integer
from keras_bandit.data.stem_reader import StemReader, crop_samples, rows


class ChunkSource:
    """Batches of all chunks of all tracks; arguments of `validation_chunks`."""

    def __init__(
        self, reader, chunk_seconds, hop_seconds, batch_size, last_chunk
    ):
        self.reader = reader
        self.samples = crop_samples(
            reader.tracks, chunk_seconds, "chunk_seconds"
        )
        self.hop = round(hop_seconds * reader.sample_rate)
        self.batch_size = batch_size
        counts = (
            (track.num_samples - self.samples) // self.hop + last_chunk
            for track in reader.tracks
        )
        # ends[t]: chunks of the tracks up to and with t.
        self.ends = list(itertools.accumulate(counts))

    def __len__(self):
        return -(-self.ends[-1] // self.batch_size)

    def item(self, index):
        """Batch `index`; the last one may be smaller."""
        first = index % len(self) * self.batch_size
        last = min(first + self.batch_size, self.ends[-1])
        batch = self.reader.empty(last - first, self.samples)
        for row, pair in enumerate(rows(batch)):
            self.reader.read_pair(*self._place(first + row), *pair)
        return batch

    def _place(self, index):
        """Track and first sample of chunk `index` of all."""
        number = bisect.bisect_right(self.ends, index)
        before = self.ends[number - 1] if number else 0
        return self.reader.tracks[number], (index - before) * self.hop


def validation_chunks(
    tracks,
    stems,
    chunk_seconds=6.0,
    hop_seconds=1.0,
    batch_size=2,
    composites=None,
    mixture_stems=None,
    missing="error",
    sample_rate=None,
    last_chunk=True,
):
    """All chunks of all tracks, at a fixed hop, for validation.

    Chunks start at every multiple of the hop from which a whole chunk is
    left, track by track; what is left after the last one is in no chunk. The
    paper's hop is 1 s; the authors' configurations have 3 s and leave the
    last chunk out: `hop_seconds=3.0, last_chunk=False` gives their 18 chunks
    of a DnR track (they go through the tracks for each chunk, we through the
    chunks of each track).

    Args:
        tracks: sequence of `Track`, all with the same sample rate and number
            of channels.
        stems: list of str. Targets: stored stems or names in `composites`.
        chunk_seconds: float. Length of a chunk. A shorter track is an error.
        hop_seconds: float. Between the starts of chunks.
        batch_size: int. The last batch may be smaller.
        composites, mixture_stems, missing, sample_rate: as of `random_crops`.
        last_chunk: bool. Whether the last chunk of a track is among them.

    Returns:
        `grain.MapDataset` of `(mixture, {stem: target})`, each `(batch,
        channels, samples)` float32; the same in every epoch.

    Raises:
        ValueError: as `random_crops`, and if there is no chunk.
    """
    reader = StemReader(
        tracks,
        stems,
        composites,
        mixture_stems,
        missing=missing,
        sample_rate=sample_rate,
    )
    if not round(hop_seconds * reader.sample_rate) >= 1:
        raise ValueError(
            "hop_seconds must be at least one sample; got "
            f"hop_seconds={hop_seconds}"
        )
    check_integer("batch_size", batch_size, 1)
    source = ChunkSource(
        reader, chunk_seconds, hop_seconds, batch_size, bool(last_chunk)
    )
    if not len(source):
        raise ValueError(
            "with last_chunk=False a track must be longer than chunk_seconds "
            f"+ hop_seconds; got {chunk_seconds} + {hop_seconds}"
        )
    return _dataset(source)


class TrackSource:
    """Full tracks; arguments of `full_tracks`."""

    def __init__(self, reader):
        self.reader = reader

    def __len__(self):
        return len(self.reader.tracks)

    def item(self, index):
        track = self.reader.tracks[index % len(self)]
        ((mixture, targets),) = rows(self.reader.empty(1, track.num_samples))
        self.reader.read_pair(track, 0, mixture, targets)
        return track.name, mixture, targets


def full_tracks(
    tracks,
    stems,
    composites=None,
    mixture_stems=None,
    missing="error",
    sample_rate=None,
):
    """Whole tracks with their names, for testing.

    Args:
        tracks: sequence of `Track`, all with the same sample rate and number
            of channels, of any lengths.
        stems: list of str. Targets: stored stems or names in `composites`.
        composites, mixture_stems, missing, sample_rate: as of `random_crops`.

    Returns:
        `grain.MapDataset` of `(name, mixture, {stem: target})`, audio
        `(channels, samples)` float32, one element per track in their order.

    Raises:
        ValueError: as `random_crops`.
    """
    reader = StemReader(
        tracks,
        stems,
        composites,
        mixture_stems,
        missing=missing,
        sample_rate=sample_rate,
    )
    # One track ahead: some are long.
    return _dataset(TrackSource(reader), read_ahead=1, num_threads=1)


def _dataset(source, **options):
    # Importing grain takes a second and loads JAX.
    from keras_bandit.data.indexed_dataset import IndexedDataset

    return IndexedDataset(source, **options)
