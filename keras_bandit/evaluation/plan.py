"""What is evaluated: which stems, by which rows and scores; and doing it."""

import dataclasses
import functools
import operator

from keras_bandit.data.stem_reader import summed_stems
from keras_bandit.evaluation.oracles import ORACLES, oracle_estimate
from keras_bandit.evaluation.scores import check_metrics, score
from keras_bandit.inference.separation import check_audio

MIXTURE = "mixture"
MODEL = "model"

ROWS = (MIXTURE, *ORACLES)
"""What can stand beside the model."""

COMPOSITES = {"mne": ("music", "effects")}
"""Targets of models with such a decoder, where the data has the parts."""

# BandIt v2 calls effects as DnR's files are called.
_ALIASES = {"sfx": "effects"}


def stem_name(stem):
    """The name that a stem of a model has in datasets and results."""
    return _ALIASES.get(stem, stem)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is scored on every track.

    Args:
        stems: tuple of str. Stems of the model, by their names in the data.
        composites: `{name: (stem, …)}`. Sums of the model's outputs, scored
            as stems are.
        oracles: tuple of str, of `ROWS`.
        metrics: tuple of str, of `scores.METRICS`.
    """

    stems: tuple
    composites: dict
    oracles: tuple
    metrics: tuple

    @property
    def scored(self):
        """Names that have scores: stems, then composites."""
        return [*self.stems, *self.composites]

    @property
    def computed(self):
        """Stems that the model must compute."""
        parts = [part for parts in self.composites.values() for part in parts]
        return list(dict.fromkeys([*self.stems, *parts]))

    @property
    def sources(self):
        """Stems that others among them do not add up to.

        Averages and museval take these: a model may have a decoder for
        "mne" beside those for music and effects.
        """
        return [
            stem
            for stem in self.stems
            if not set(COMPOSITES.get(stem, [None])) <= set(self.stems)
        ]

    def sums_in(self, track):
        """`{name: parts}` of targets that a track does not store as such."""
        return {
            name: parts
            for name, parts in {**COMPOSITES, **self.composites}.items()
            if name in self.scored and name not in track.stems
        }

    def sources_in(self, track):
        """Stems of a track that its targets are made of."""
        sums = self.sums_in(track)
        return [part for name in self.scored for part in sums.get(name, [name])]

    def read_in(self, track):
        """Stored stems of a track that its scores depend on."""
        return [*mixture_sources(track), *self.sources_in(track)]

    @property
    def rows(self):
        """Keys of the rows of a track's scores."""
        return [*self.oracles, MODEL]


def make_plan(available, stems, composites, oracles, metrics):
    """Checks what is to be evaluated.

    Args:
        available: list of str. The model's stems.
        stems: list of str, some of them, or `None`: all.
        composites, oracles, metrics: as `evaluate` takes them.

    Returns:
        `Plan`.

    Raises:
        ValueError: for names that are unknown or not new, or no stems.
        ImportError: if museval is wanted and not installed.
    """
    available = [stem_name(stem) for stem in available]
    stems = available if stems is None else stems
    if isinstance(stems, str) or not stems:
        raise ValueError(
            f"stems must be a list of some of {available}, or None for all; "
            f"got {stems!r}"
        )
    stems = tuple(dict.fromkeys(stem_name(stem) for stem in stems))
    _check_known("stems", stems, available)
    composites = {
        name: tuple(stem_name(part) for part in parts)
        for name, parts in (composites or {}).items()
    }
    for name, parts in composites.items():
        _check_known(f"composites[{name!r}]", parts, available)
        if name in available or len(parts) < 2:
            raise ValueError(
                "composites must be new names, each of two stems or more; "
                f"got {name!r}: {list(parts)} for a model with {available}"
            )
    _check_known("oracles", oracles, ROWS)
    check_metrics(metrics)
    return Plan(
        stems,
        composites,
        tuple(dict.fromkeys(oracles)),
        tuple(dict.fromkeys(metrics)),
    )


def _check_known(argument, names, known):
    if isinstance(names, str) or set(names) - set(known):
        raise ValueError(
            f"{argument} must be a list of some of {list(known)}; got {names!r}"
        )


def read_mixture(track):
    """The mixture of a whole track: as stored, or else the sum of the stems.

    Returns:
        `(channels, samples)` float32.
    """
    return _sum(track.read(stem) for stem in mixture_sources(track))


def mixture_sources(track):
    """Stored stems that a track's mixture is the sum of, or itself."""
    if MIXTURE in track.stems:
        return (MIXTURE,)
    return summed_stems(track.stems)


def _sum(signals):
    return functools.reduce(operator.add, signals)


def read_targets(track, plan):
    """The targets of a whole track.

    Returns:
        `{name: (channels, samples)}` float32 for `plan.scored`.

    Raises:
        ValueError: if the track lacks a stem, or has NaN or infinity.
    """
    sums = plan.sums_in(track)
    targets = {}
    for name in plan.scored:
        target = _sum(track.read(part) for part in sums.get(name, [name]))
        try:
            targets[name] = check_audio(target, track.sample_rate)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return targets


def estimates_of(outputs, plan):
    """Estimates of what is scored, from what the model computes.

    Args:
        outputs: `{stem of the model: (channels, samples)}`.

    Returns:
        `{name: (channels, samples)}` for `plan.scored`.
    """
    outputs = {stem_name(stem): audio for stem, audio in outputs.items()}
    return {
        name: _sum(outputs[part] for part in plan.composites.get(name, [name]))
        for name in plan.scored
    }


def score_track(track, estimates, plan):
    """Scores the model and the oracles on a track.

    Args:
        track: `Track`.
        estimates: `{name: (channels, samples)}`, the model's.
        plan: `Plan`.

    Returns:
        `{row: {score: {name: float}}}` in dB, NaN where it isn't defined.

    Raises:
        ValueError: as `read_targets`, and if estimates and targets differ in
            shape.
    """
    mixture, targets = read_mixture(track), read_targets(track, plan)
    for name, target in targets.items():
        if estimates[name].shape != target.shape:
            raise ValueError(
                f"estimate of {name} has shape {estimates[name].shape}, its "
                f"target {target.shape}"
            )
    scores = {}
    for row in plan.rows:
        if row == MIXTURE:
            estimates_of_row = dict.fromkeys(targets, mixture)
        elif row == MODEL:
            estimates_of_row = estimates
        else:
            estimates_of_row = {
                name: oracle_estimate(row, mixture, target)
                for name, target in targets.items()
            }
        scores[row] = score(
            plan.metrics,
            targets,
            estimates_of_row,
            plan.sources,
            track.sample_rate,
        )
    return scores
