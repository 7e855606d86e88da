"""Separators and presets.

Names are imported on first use, so that `keras_bandit.models.presets` costs no
Keras.
"""

import importlib

_HOME = {
    "AudioSeparator": "separator",
    "MaskSeparator": "mask_separator",
    "BSRNNAudioSeparator": "bsrnn.bsrnn_audio_separator",
    "BSRNNBackbone": "bsrnn.bsrnn_audio_separator",
    "BanditAudioSeparator": "bandit.bandit_audio_separator",
    "BanditBackbone": "bandit.bandit_audio_separator",
    "DemucsBag": "hybrid_demucs.demucs_bag",
    "HTDemucsAudioSeparator": "htdemucs.htdemucs_audio_separator",
    "HybridDemucsAudioSeparator": (
        "hybrid_demucs.hybrid_demucs_audio_separator"
    ),
    "MRXAudioSeparator": "mrx.mrx_audio_separator",
    "OpenUnmixAudioSeparator": "open_unmix.open_unmix_audio_separator",
}

__all__ = sorted(_HOME)


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(
            f"module 'keras_bandit.models' has no attribute {name!r}"
        )
    module = importlib.import_module(f"keras_bandit.models.{_HOME[name]}")
    return getattr(module, name)


def register_all():
    """Imports every model: Keras then knows the classes that presets name."""
    for module in set(_HOME.values()):
        importlib.import_module(f"keras_bandit.models.{module}")
