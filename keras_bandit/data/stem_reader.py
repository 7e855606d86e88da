"""Mixtures and targets of tracks: which stems are read, summed and checked."""

import numpy as np

from keras_bandit.data.track import MIXTURE


def summed_stems(stems):
    """The stems whose sum is the mixture, each sound once.

    Leaves out the mixture, and the parts of another stem:
    `effects_foreground` where there is `effects`.

    Args:
        stems: names of stored stems.

    Returns:
        tuple of str.
    """
    return tuple(
        stem
        for stem in stems
        if stem != MIXTURE
        and not any(stem.startswith(f"{whole}_") for whole in stems)
    )


class StemReader:
    """Reads mixtures and targets of several tracks in the same way.

    Checks all tracks when it is made, so that no stem is found missing in the
    middle of an epoch. It can be pickled if the tracks can.

    Args:
        tracks: sequence of `Track`, at least one, all with the same sample
            rate and number of channels.
        stems: list of str. Targets: stored stems or names in `composites`.
        composites: `{name: [stored stem, …]}` or `None`. Targets that are
            sums: `{"mne": ["music", "effects"]}`.
        mixture_stems: list of str, the stored stems whose sum is the mixture
            where that is not read; `None`: every stem of any track, see
            `summed_stems`.
        stored_mixture: bool. Whether the mixture is read where one is
            stored; `False`: it is always the sum.
        missing: `"error"` or `"silence"`. What a stem is that a track lacks.
            A name that no track has is always an error.
        sample_rate: int or `None`. Hz, the rate the tracks must have; `None`:
            any, as long as it is one. Nothing is resampled.

    Raises:
        ValueError: if an argument is out of its range, tracks disagree, or a
            stem is missing.
    """

    def __init__(
        self,
        tracks,
        stems,
        composites=None,
        mixture_stems=None,
        stored_mixture=True,
        missing="error",
        sample_rate=None,
    ):
        self.tracks = list(tracks)
        self.stored_mixture = stored_mixture
        self.missing = missing
        if not self.tracks:
            raise ValueError("tracks must be at least one; got none")
        if isinstance(stems, str) or not stems:
            raise ValueError(
                f"stems must be a list of one name or more; got {stems!r}"
            )
        if missing not in ("error", "silence"):
            raise ValueError(
                f"missing must be 'error' or 'silence'; got {missing!r}"
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
        self._check_tracks(sample_rate)
        self.sample_rate = self.tracks[0].sample_rate
        self.num_channels = self.tracks[0].num_channels

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
        first = self.tracks[0]
        if sample_rate is None:
            sample_rate = first.sample_rate
        for track in self.tracks:
            if track.sample_rate != sample_rate:
                raise ValueError(
                    f"track {track.name} has sample_rate="
                    f"{track.sample_rate}; all must have {sample_rate} "
                    "(nothing is resampled here)"
                )
            if track.num_channels != first.num_channels:
                raise ValueError(
                    f"track {track.name} has num_channels="
                    f"{track.num_channels}, track {first.name} has "
                    f"{first.num_channels}; all must have the same"
                )
            lacking = [s for s in self.names(track) if s not in track.stems]
            if lacking and self.missing == "error":
                raise ValueError(
                    f"track {track.name} has no stem {lacking[0]!r}; it has "
                    f"{list(track.stems)} (missing='silence' takes zeros)"
                )

    def _reads_mixture(self, track):
        return self.stored_mixture and MIXTURE in track.stems

    def names(self, track):
        """Stored stems that targets and mixture of a track are made of."""
        if self._reads_mixture(track):
            return self.sources
        return tuple(dict.fromkeys((*self.mixture_stems, *self.sources)))

    def read(self, track, stem, start, stop):
        """A stored stem of a track, or silence if the track lacks it.

        Returns:
            `(channels, stop - start)` float32, not to be written to.
        """
        if stem not in track.stems:
            return np.zeros((track.num_channels, stop - start), "float32")
        return track.read(stem, start, stop)

    def empty(self, size, samples):
        """Arrays for a batch, not filled.

        Returns:
            `(mixture, {stem: target})`, each `(size, channels, samples)`.
        """
        shape = (size, self.num_channels, samples)
        return np.empty(shape, "float32"), {
            stem: np.empty(shape, "float32") for stem in self.parts
        }

    def read_pair(self, track, start, mixture, targets):
        """Fills mixture and targets from one place of a track, as stored.

        A batch is filled in place: stacking single crops would write every
        sample twice, a quarter of the time of reading 16-bit files.

        Args:
            track: one of `tracks`.
            start: int, first sample.
            mixture: `(channels, samples)` float32, which is filled.
            targets: `{stem: (channels, samples)}` float32, filled too.
        """
        sources = {}
        for name in self.names(track):
            # A stem that is only part of a target needs an array of its own.
            out = targets[name] if name in targets else np.empty_like(mixture)
            if name in track.stems:
                track.read_into(name, start, out)
            else:
                out[...] = 0
            sources[name] = out
        if self._reads_mixture(track):
            track.read_into(MIXTURE, start, mixture)
        else:
            self.sum_mixture(sources, mixture)
        for stem, target in targets.items():
            if stem not in sources:
                add([sources[part] for part in self.parts[stem]], target)

    def sum_mixture(self, sources, mixture):
        """Fills a mixture with the sum of `mixture_stems`."""
        add([sources[stem] for stem in self.mixture_stems], mixture)

    def sum_targets(self, sources, targets):
        """Fills all targets from stored stems."""
        for stem, target in targets.items():
            add([sources[part] for part in self.parts[stem]], target)


def add(signals, out):
    """Fills an array with the sum of signals, in their order."""
    first, *others = signals
    if not others:
        out[...] = first
        return
    np.add(first, others[0], out=out)
    for other in others[1:]:
        out += other


def rows(batch):
    """The items of a batch `(mixture, {stem: target})`, as views."""
    mixtures, targets = batch
    for row, mixture in enumerate(mixtures):
        yield mixture, {stem: target[row] for stem, target in targets.items()}


def crop_samples(tracks, seconds, name):
    """Length of a crop in samples, after checking that every track has it.

    Args:
        tracks: list of `Track` of one sample rate.
        seconds: float. Length of a crop.
        name: str. The argument's name, for messages.

    Raises:
        ValueError: if a track is shorter, or a crop has no sample.
    """
    sample_rate = tracks[0].sample_rate
    samples = round(seconds * sample_rate) if seconds > 0 else 0
    if samples < 1:
        raise ValueError(f"{name} must be positive; got {name}={seconds}")
    for track in tracks:
        if track.num_samples < samples:
            raise ValueError(
                f"track {track.name} is shorter than {name}={seconds}: it "
                f"has {track.num_samples} of {samples} samples; leave it out "
                "or make crops shorter"
            )
    return samples
