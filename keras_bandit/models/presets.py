"""The index of built-in presets: plain data, no Keras."""

from __future__ import annotations

import os
import pathlib

from keras_bandit.models.bandit.bandit_presets import BANDIT_PRESETS
from keras_bandit.models.bsrnn.bsrnn_presets import BSRNN_PRESETS
from keras_bandit.models.fetch import cached_preset, fetch_weights
from keras_bandit.models.htdemucs.htdemucs_presets import (
    HTDEMUCS_PRESETS,
    HTDemucsPreset,
)
from keras_bandit.models.hybrid_demucs.hybrid_demucs_presets import (
    HYBRID_DEMUCS_PRESETS,
    HybridDemucsPreset,
)
from keras_bandit.models.mrx.mrx_presets import MRX_PRESETS
from keras_bandit.models.open_unmix.open_unmix_presets import (
    OPEN_UNMIX_PRESETS,
)
from keras_bandit.models.preset import Sizes
from keras_bandit.models.released_weights import RELEASED

PRESETS = {
    preset.name: preset
    for preset in (
        *BANDIT_PRESETS,
        *BSRNN_PRESETS,
        *OPEN_UNMIX_PRESETS,
        *MRX_PRESETS,
        *HYBRID_DEMUCS_PRESETS,
        *HTDEMUCS_PRESETS,
    )
}


class _Bag:
    """A bag of released models, each counted as the architecture.

    With initial weights it is one model of it.
    """

    def sizes(self, seconds=6.0):
        member = super().sizes(seconds)
        count = len(self.weights.files)
        return Sizes(count * member.parameters, count * member.multiply_adds)


class BagPreset(_Bag, HybridDemucsPreset):
    """Of Hybrid Demucs."""


class HTDemucsBagPreset(_Bag, HTDemucsPreset):
    """Of HTDemucs."""


_BAGS = {HybridDemucsPreset: BagPreset, HTDemucsPreset: HTDemucsBagPreset}


def _released(weights):
    """The preset of `ReleasedWeights`."""
    known = PRESETS[weights.architecture]
    kind = type(known) if weights.bag is None else _BAGS[type(known)]
    return kind(
        weights.name,
        weights.description,
        {**known.separator, "stems": weights.stems or known.stems},
        known.backbone,
        weights,
    )


PRESETS |= {weights.name: _released(weights) for weights in RELEASED}


def weights_directory(name):
    """A preset's directory of trained weights, a path, or `None` without.

    That of released weights is in the user's cache, and may not be there yet.
    """
    weights = PRESETS[name].weights
    if isinstance(weights, str):
        return pathlib.Path(__file__).parents[1] / "weights" / weights
    return weights and cached_preset(name)


def find_weights(name):
    """As `weights_directory`, but fetches released weights on first use.

    Raises what `fetch_weights` raises.
    """
    folder = weights_directory(name)
    if folder is not None and not is_preset_directory(folder):
        fetch_weights(PRESETS[name])
    return folder


def is_preset_directory(path):
    """Whether a path is a directory that `save_to_preset` may have written."""
    return os.path.isfile(os.path.join(path, "config.json"))


def means_built_in(preset):
    """Whether a built-in preset is meant, and not a directory of its name.

    A preset directory in the current directory goes before a name: weights
    that somebody converted to `bandit_musical64` are not passed over for
    initial ones.
    """
    return preset in PRESETS and not is_preset_directory(preset)


def list_presets() -> list[str]:
    """Names of architectures and weights, for `AudioSeparator.from_preset`."""
    return list(PRESETS)
