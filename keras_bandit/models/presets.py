"""The index of built-in presets: plain data, no Keras."""

import os
import pathlib

from keras_bandit.models.bandit.bandit_presets import BANDIT_PRESETS
from keras_bandit.models.bsrnn.bsrnn_presets import BSRNN_PRESETS
from keras_bandit.models.htdemucs.htdemucs_presets import HTDEMUCS_PRESETS
from keras_bandit.models.hybrid_demucs.hybrid_demucs_presets import (
    HYBRID_DEMUCS_PRESETS,
)
from keras_bandit.models.mrx.mrx_presets import MRX_PRESETS
from keras_bandit.models.open_unmix.open_unmix_presets import (
    OPEN_UNMIX_PRESETS,
)

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


def weights_directory(name):
    """A preset's directory of trained weights, a path, or `None` without."""
    folder = PRESETS[name].weights
    if folder is None:
        return None
    return pathlib.Path(__file__).parents[1] / "weights" / folder


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


def list_presets():
    """Names of the built-in architectures, for `AudioSeparator.from_preset`."""
    return list(PRESETS)
