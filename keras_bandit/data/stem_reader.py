"""Mixtures and targets of tracks: which stems are read, summed and checked."""

import numpy as np

from keras_bandit.data.track import MIXTURE


def summed_stems(stems):
    """The stems whose sum is the mixture, each sound once.

    Leaves out the mixture, and the parts of another stem:
    `effects_foreground` where there is `effects`.
    """
    return tuple(
        stem
        for stem in stems
        if stem != MIXTURE
        and not any(stem.startswith(f"{whole}_") for whole in stems)
    )


def mixture_sources(track):
    """Stored stems whose sum is a track's mixture: itself, if it is stored."""
    if MIXTURE in track.stems:
        return (MIXTURE,)
    return summed_stems(track.stems)


class StemReader:
    """Reads mixtures and targets of several tracks in the same way.

    Checks all tracks when it is made, so that no stem is found missing in the
    middle of an epoch.

    Arguments and errors are those of `random_crops`, and `stored_mixture`:
    whether a stored mixture is read, or the sum of `mixture_stems` always.
    """

    def __init__(
        self,
        tracks,
        stems,
        composites=None,
        mixture_stems=None,
        sample_rate=None,
        stored_mixture=True,
    ):
        self.tracks = list(tracks)
        self.stored_mixture = stored_mixture
        if not self.tracks:
            raise ValueError("tracks must be at least one; got none")
        if isinstance(stems, str) or not stems:
            raise ValueError(
                f"stems must be a list of one name or more; got {stems!r}"
            )
        names = (stem for track in self.tracks for stem in track.stems)
        stored = [stem for stem in dict.fromkeys(names) if stem != MIXTURE]
        if mixture_stems is None:
            mixture_stems = summed_stems(stored)
        self.mixture_stems = tuple(mixture_stems)
        composites = composites or {}
        # Each target's stored stems, and every stored stem of any target once.
        self.parts = {s: tuple(composites.get(s, (s,))) for s in stems}
        self.sources = tuple(
            dict.fromkeys(s for parts in self.parts.values() for s in parts)
        )
        self._check_names(stored, composites)
        self.sample_rate = self.tracks[0].sample_rate
        self.num_channels = self.tracks[0].num_channels
        self._check_tracks(sample_rate or self.sample_rate)

    def _check_names(self, stored, composites):
        for name, parts in composites.items():
            if name in stored or name == MIXTURE or not parts:
                raise ValueError(
                    "composites must be new names, each of one stored stem "
                    f"or more; got {name!r}: {list(parts)}, where the tracks "
                    f"store {stored}"
                )
        unknown = {*self.sources, *self.mixture_stems} - {*stored}
        if unknown:
            raise ValueError(
                "stems must be stored stems or composites of them; got "
                f"{sorted(unknown)}, where the tracks store {stored} and "
                f"composites are {list(composites)}"
            )

    def _check_tracks(self, sample_rate):
        for track in self.tracks:
            if track.sample_rate != sample_rate:
                raise ValueError(
                    f"track {track.name} has sample_rate="
                    f"{track.sample_rate}; all must have {sample_rate} "
                    "(nothing is resampled here)"
                )
            if track.num_channels != self.num_channels:
                raise ValueError(
                    f"track {track.name} has num_channels="
                    f"{track.num_channels}, track {self.tracks[0].name} has "
                    f"{self.num_channels}; all must have the same"
                )
            lacking = [s for s in self.names(track) if s not in track.stems]
            if lacking:
                raise ValueError(
                    f"track {track.name} has no stem {lacking[0]!r}; it has "
                    f"{list(track.stems)}"
                )

    def count_samples(self, seconds, name):
        """Length of a crop in samples; ValueError if a track is shorter.

        `name` is what the message calls the argument.
        """
        samples = round(seconds * self.sample_rate) if seconds > 0 else 0
        if samples < 1:
            raise ValueError(f"{name} must be positive; got {name}={seconds}")
        for track in self.tracks:
            if track.num_samples < samples:
                raise ValueError(
                    f"track {track.name} is shorter than {name}={seconds}: it "
                    f"has {track.num_samples} of {samples} samples; leave it "
                    "out or make crops shorter"
                )
        return samples

    def _reads_mixture(self, track):
        return self.stored_mixture and MIXTURE in track.stems

    def names(self, track):
        """Stored stems that targets and mixture of a track are made of."""
        if self._reads_mixture(track):
            return self.sources
        return tuple(dict.fromkeys((*self.mixture_stems, *self.sources)))

    def empty(self, size, samples):
        """A batch to fill, `(mixture, {stem: target})`, and views of its items.

        Arrays of the batch are `(size, channels, samples)` float32.
        """
        shape = (size, self.num_channels, samples)
        mixture = np.empty(shape, "float32")
        targets = {stem: np.empty(shape, "float32") for stem in self.parts}
        items = [
            (mixture[row], {stem: x[row] for stem, x in targets.items()})
            for row in range(size)
        ]
        return (mixture, targets), items

    def read_pair(self, track, start, mixture, targets):
        """Fills one item of a batch from a place of a track, as stored.

        Items are filled in place: stacking single crops would write every
        sample twice, a quarter of the time of reading 16-bit files.
        """
        sources = {}
        for name in self.names(track):
            # A stem that is only part of a target needs an array of its own.
            out = targets[name] if name in targets else np.empty_like(mixture)
            track.read_into(name, start, out)
            sources[name] = out
        if self._reads_mixture(track):
            track.read_into(MIXTURE, start, mixture)
        else:
            _add([sources[stem] for stem in self.mixture_stems], mixture)
        for stem in targets.keys() - sources.keys():
            _add([sources[s] for s in self.parts[stem]], targets[stem])

    def sum_pair(self, sources, mixture, targets):
        """Fills one item of a batch with sums of stored stems."""
        _add([sources[stem] for stem in self.mixture_stems], mixture)
        for stem, target in targets.items():
            _add([sources[part] for part in self.parts[stem]], target)


def _add(signals, out):
    """Fills an array with the sum of signals, in their order."""
    first, *others = signals
    if not others:
        out[...] = first
        return
    np.add(first, others[0], out=out)
    for other in others[1:]:
        out += other
