"""Which stems are computed of a recording, and what is made of them."""

import dataclasses

import numpy as np

from keras_bandit.inference.dialogue import check_markers
from keras_bandit.inference.separation import check_adds_up
from keras_bandit.inference.stem_names import stem_of

DELIVERABLES = {
    "me": ("music", "effects"),
    "dialogue": ("speech",),
    "optionals": ("singing",),
}
"""What `deliver` takes: music plus effects, speech, and singing."""


@dataclasses.dataclass(frozen=True)
class Mix:
    """A weighted sum of stems, added to the mixture or alone.

    Args:
        factors: dict of each stem's factor.
        of_mixture: bool. Whether the mixture is in it, too.
    """

    factors: dict
    of_mixture: bool = False

    def __call__(self, mixture, estimates):
        """The sum, `(channels, samples)` float32 as all that it is made of."""
        total = mixture.copy() if self.of_mixture else np.zeros_like(mixture)
        for stem, factor in self.factors.items():
            total += np.float32(factor) * estimates[stem]
        return total


@dataclasses.dataclass(frozen=True)
class StemChoice:
    """What is computed of a recording, and what is written or scored.

    Args:
        computed: list of the stems that the model must give.
        stems: list of those that are written.
        mixes: dict of the `Mix` of each further file.
        parts: list of the names that should add up to the mixture.
    """

    computed: list
    stems: list
    mixes: dict
    parts: list

    @property
    def written(self):
        """Names of the files, without suffix."""
        return [*self.stems, *self.mixes]

    def derive(self, mixture, estimates):
        """All that is written, `{name: (channels, samples)}`."""
        written = {stem: estimates[stem] for stem in self.stems}
        for name, mix in self.mixes.items():
            written[name] = mix(mixture, estimates)
        return written


def _check_stems(argument, stems, available):
    unknown = [stem for stem in stems if stem not in available]
    if unknown:
        raise ValueError(
            f"{argument}: this model has no {', '.join(unknown)}; it has "
            f"{', '.join(available)}"
        )


def _music_and_effects(argument, available):
    music, effects = stem_of("music", available), stem_of("effects", available)
    if not (music and effects):
        raise ValueError(
            f"{argument} needs the stems music and effects (or sfx); this "
            f"model has {', '.join(available)}"
        )
    return Mix({music: 1.0, effects: 1.0})


def _deliverable(name, available):
    """The `Mix` of one of `DELIVERABLES`."""
    if name not in DELIVERABLES:
        raise ValueError(
            f"deliver must be of {', '.join(DELIVERABLES)}; got {name}"
        )
    if name == "me":
        return _music_and_effects("deliver me", available)
    (kind,) = DELIVERABLES[name]
    stem = stem_of(kind, available)
    if stem is None:
        raise ValueError(
            f"deliver {name} needs the stem {kind}; this model has "
            f"{', '.join(available)}"
        )
    return Mix({stem: 1.0})


def _choose_mix(available, without, only, gains_db):
    """The film without stems, of some alone, or with stems at other levels."""
    if without and only:
        raise ValueError(
            f"without and only exclude one another; got {list(without)} and "
            f"{list(only)}"
        )
    _check_stems("without", without, available)
    _check_stems("only", only, available)
    _check_stems("gains_db", gains_db or (), available)
    factors = dict.fromkeys(only, 1.0) or dict.fromkeys(without, -1.0)
    for stem, gain_db in (gains_db or {}).items():
        heard = stem in only if only else stem not in without
        if not heard or not -100 <= gain_db <= 100:
            raise ValueError(
                f"gains_db must be -100 to 100 dB, of stems that are not left "
                f"out; got {gain_db} for {stem}"
            )
        factor = 10 ** (gain_db / 20)
        factors[stem] = factor if only else factor - 1
    return Mix(factors, of_mixture=not only) if factors else None


def choose_stems(
    available,
    stems=None,
    mne=False,
    residual=False,
    mixture_consistency=False,
    without=(),
    only=(),
    gains_db=None,
    deliver=(),
    markers=(),
):
    """The `StemChoice` of a model with the stems `available`.

    Other arguments are those of `SeparationOptions`. `ValueError` if the model
    lacks a stem, or has one of its own that is named like another file.
    """
    available = list(available)
    stems = list(dict.fromkeys(stems or ([] if deliver else available)))
    _check_stems("stems", stems, available)
    mixes = {}
    if mne:
        mixes["mne"] = _music_and_effects("mne", available)
    deliverables = {name: _deliverable(name, available) for name in deliver}
    mixes |= deliverables
    if residual:
        left = dict.fromkeys(stems, -1.0)
        for mix in [] if stems else deliverables.values():
            left |= dict.fromkeys(mix.factors, -1.0)
        mixes["residual"] = Mix(left, of_mixture=True)
    mix = _choose_mix(available, without, only, gains_db)
    if mix:
        mixes["mix"] = mix
    made = [stem for mix in mixes.values() for stem in mix.factors]
    computed = list(
        dict.fromkeys([*stems, *made, *check_markers(markers, available)])
    )
    if mixture_consistency:
        check_adds_up(available)
        computed = available
    for name in mixes:
        if name in stems:
            raise ValueError(f"{name}: this model has a stem of that name")
    return StemChoice(computed, stems, mixes, stems or list(deliverables))
