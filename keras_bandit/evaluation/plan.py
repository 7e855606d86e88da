"""What is evaluated: which stems, in which rows, by which scores."""

import dataclasses

from keras_bandit.data.stem_reader import mixture_sources
from keras_bandit.evaluation.oracles import ORACLES
from keras_bandit.evaluation.scores import check_metrics

MIXTURE = "mixture"
MODEL = "model"

ROWS = (MIXTURE, *ORACLES)
"""What can stand beside the model."""

COMPOSITES = {"mne": ("music", "effects")}
"""Targets of models with such a decoder, where the data has the parts."""


def stem_name(stem):
    """The name that a stem of a model has in datasets and results."""
    # BandIt v2 calls effects as DnR's files are called.
    return "effects" if stem == "sfx" else stem


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is scored on every track."""

    stems: tuple  # of the model, by their names in the data
    composites: dict  # `{name: (stem, …)}`, sums of the model's outputs
    oracles: tuple  # of `ROWS`
    metrics: tuple  # of `scores.METRICS`
    models: tuple = (MODEL,)  # rows of models

    @property
    def rows(self):
        """Keys of the rows of a track's scores."""
        return [*self.oracles, *self.models]

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
        """Stems without sums of others, as averages and museval take them."""
        return [
            stem
            for stem in self.stems
            if not set(COMPOSITES.get(stem, [None])) <= set(self.stems)
        ]

    def targets_in(self, track):
        """`{name: stored stems of a track whose sum is its target}`."""
        sums = {**COMPOSITES, **self.composites}
        return {
            name: (name,) if name in track.stems else sums.get(name, (name,))
            for name in self.scored
        }

    def read_in(self, track):
        """Stored stems of a track that its scores depend on."""
        targets = self.targets_in(track).values()
        return [*mixture_sources(track), *(s for x in targets for s in x)]


def make_plan(available, stems, composites, oracles, metrics):
    """The `Plan` of an `evaluate` of a model with the stems `available`."""
    available = [stem_name(stem) for stem in available]
    stems = _names("stems", available if stems is None else stems, available)
    if not stems:
        raise ValueError(f"stems must be a list of some of {available}; got []")
    composites = {
        name: _names(f"composites[{name!r}]", parts, available)
        for name, parts in (composites or {}).items()
    }
    for name, parts in composites.items():
        if name in available or len(parts) < 2:
            raise ValueError(
                "composites must be new names, each of two stems or more; "
                f"got {name!r}: {list(parts)} for a model with {available}"
            )
    oracles = _names("oracles", oracles, ROWS)
    check_metrics(metrics)
    return Plan(stems, composites, oracles, tuple(dict.fromkeys(metrics)))


def _names(argument, names, known):
    """The names once each, as in the data; ValueError for unknown ones."""
    found = () if isinstance(names, str) else tuple(map(stem_name, names))
    if isinstance(names, str) or not set(found) <= set(known):
        raise ValueError(
            f"{argument} must be a list of some of {list(known)}; got {names!r}"
        )
    return tuple(dict.fromkeys(found))
