"""Random crops of tracks, drawn on the fly, for training."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import TYPE_CHECKING

import numpy as np

from keras_bandit.common.checks import check_whole
from keras_bandit.data.stem_reader import StemReader

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from keras_bandit.data.augmentation import Augmentation
    from keras_bandit.data.track import Track


# What a random number generator is for, so that none serves two purposes.
_ORDER, _ELEMENT = 0, 1


def _rng(seed, purpose, *indices):
    # `spawn_key`: plain entropy would be padded with zeros, so that [seed]
    # and [seed, 0] would give the same numbers.
    sequence = np.random.SeedSequence(seed, spawn_key=(purpose, *indices))
    return np.random.Generator(np.random.PCG64(sequence))


@functools.lru_cache(maxsize=32)
def _order(seed, epoch, part, size):
    """A permutation of 0 … size - 1."""
    order = _rng(seed, _ORDER, epoch, part).permutation(size)
    order.setflags(write=False)
    return order


@dataclasses.dataclass(frozen=True)
class CropSource:
    """Batches of random crops as a function of their number.

    Fields that are not explained here are arguments of `random_crops`.
    """

    reader: StemReader
    samples: int  # length of a crop
    places: range  # examples of a batch that are made: all, or a process's
    batch_size: int
    epoch_size: int
    independent: bool
    augmentations: tuple
    peak_margin: float | None
    seed: int
    start_epoch: int

    def share(self, index, count):
        """The source of every `count`-th example of each batch."""
        return dataclasses.replace(self, places=self.places[index::count])

    def __len__(self):
        return self.epoch_size // self.batch_size

    def item(self, index):
        """Batch `index`, counted from the start of epoch `start_epoch`."""
        epoch, step = divmod(index, len(self))
        batch, items = self.reader.empty(len(self.places), self.samples)
        for place, pair in zip(self.places, items, strict=True):
            example = step * self.batch_size + place
            self._fill(self.start_epoch + epoch, example, *pair)
        return batch

    def _fill(self, epoch, index, mixture, targets):
        """Writes example `index` of an epoch into `(channels, samples)`."""
        rng = _rng(self.seed, _ELEMENT, epoch, index)
        track, start = self._draw(rng, epoch, index)
        if not (self.independent or self.augmentations):
            self.reader.read_pair(track, start, mixture, targets)
            return
        sources = {}
        for number, name in enumerate(self.reader.names(track)):
            if self.independent and number:
                track, start = self._draw(rng, epoch, index, number)
            sources[name] = track.read(name, start, start + self.samples)
        for augmentation in self.augmentations:
            sources = augmentation(rng, sources, self.reader.sample_rate)
        self.reader.sum_pair(sources, mixture, targets)
        if self.peak_margin is None:
            return
        # The authors take the peak over a batch, we over one example, which
        # then does not depend on its neighbours.
        peak = max(
            max(float(x.max()), -float(x.min()))
            for x in (mixture, *sources.values())
        )
        if peak > 1:
            gain = np.float32(1 / (peak + self.peak_margin * rng.random()))
            for signal in (mixture, *targets.values()):
                signal *= gain

    def _draw(self, rng, epoch, index, part=0):
        """Track and start of an example, or of its `part`-th stem.

        The authors' `index mod number of tracks` of a shuffled index: within
        an epoch no track comes more than once more often than another.
        """
        place = _order(self.seed, epoch, part, self.epoch_size)[index]
        track = self.reader.tracks[place % len(self.reader.tracks)]
        return track, int(rng.integers(track.num_samples - self.samples + 1))


def random_crops(
    tracks: Sequence[Track],
    stems: Sequence[str],
    crop_seconds: float = 6.0,
    batch_size: int = 2,
    epoch_size: int = 20_000,
    composites: Mapping[str, Sequence[str]] | None = None,
    mixture_stems: Sequence[str] | None = None,
    independent: bool = False,
    augmentations: Sequence[Augmentation] = (),
    peak_margin: float | None = 0.5,
    sample_rate: int | None = None,
    seed: int = 0,
    start_epoch: int = 0,
) -> Any:
    """Random crops of tracks in batches, new ones in every epoch.

    As the authors train (BandIt, arXiv:2309.02539, and its `dnr` data
    module): an epoch has a fixed number of examples whatever the size of the
    set; example i is cut from track i mod number of tracks, at a random start
    that all stems share; the order is shuffled. The authors' range of starts
    leaves out the last possible one, ours does not.

    Example i of epoch e depends only on `seed`, e and i. A run that continues
    with `start_epoch=e` sees what an uninterrupted one would see.

    The mixture is the stored one, where there is one and stems are neither
    independent nor augmented; else it is the sum of `mixture_stems`.

    Args:
        tracks: sequence of `Track`, as from `open_tracks`, all with the same
            sample rate and number of channels.
        stems: list of str. Targets: stored stems or names in `composites`.
        crop_seconds: float. Length of a crop. A shorter track is an error.
        batch_size: int.
        epoch_size: int. Examples in an epoch; the last ones that do not fill
            a batch are left out.
        composites: `{name: [stored stem, …]}`, targets that are sums, such as
            `{"mne": ["music", "effects"]}`; or `None`.
        mixture_stems: list of str, stored stems that make the mixture where
            it is a sum; `None`: every stem that any track has, without those
            that are part of another (`effects_foreground` of `effects`).
        independent: bool. Each stored stem comes from its own track and start.
        augmentations: callables `(rng, {stem: audio}, sample_rate)` that
            return such a dict, such as `keras_bandit.data.Gain`, applied to
            stored stems in this order, before they are summed.
        peak_margin: float or `None`. Independent or augmented examples whose
            peak is above 1 are multiplied by `1 / (peak + peak_margin * u)`,
            `u` uniform in [0, 1), targets and mixture alike; `None`: never.
            The authors have 0.5 for DnR and 0 for MUSDB18-HQ.
        sample_rate: int or `None`. Hz, the rate the tracks must have.
        seed: int ≥ 0.
        start_epoch: int ≥ 0. The epoch that comes first.

    Returns:
        `grain.MapDataset` of `(mixture, {stem: target})`, each `(batch,
        channels, samples)` float32, as long as an epoch. `fit(dataset,
        epochs=…)` reads the next epochs by itself.

    Raises:
        ValueError: if an argument is out of its range, tracks differ in rate
            or channels, a track is shorter than a crop or lacks a stem.
    """
    batch_size = check_whole("batch_size", batch_size, 1)
    epoch_size = check_whole("epoch_size", epoch_size, batch_size)
    if peak_margin is not None and not 0 <= peak_margin < math.inf:
        raise ValueError(
            f"peak_margin must be None or ≥ 0; got peak_margin={peak_margin}"
        )
    as_stored = not (independent or augmentations)
    reader = StemReader(
        tracks, stems, composites, mixture_stems, sample_rate, as_stored
    )
    source = CropSource(
        reader=reader,
        samples=reader.count_samples(crop_seconds, "crop_seconds"),
        places=range(batch_size),
        batch_size=batch_size,
        epoch_size=epoch_size,
        independent=independent,
        augmentations=tuple(augmentations),
        peak_margin=peak_margin,
        seed=check_whole("seed", seed, 0),
        start_epoch=check_whole("start_epoch", start_epoch, 0),
    )
    # Importing grain takes a second and loads JAX.
    from keras_bandit.data.indexed_dataset import IndexedDataset

    return IndexedDataset(source)
