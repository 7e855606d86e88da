"""Separators and presets.

Names are imported on first use, so that `keras_bandit.models.presets` costs no
Keras.
"""

import importlib

TYPE_CHECKING = False  # as in `keras_bandit`
if TYPE_CHECKING:
    from keras_bandit.models.bandit.bandit_audio_separator import (
        BanditAudioSeparator as BanditAudioSeparator,
    )
    from keras_bandit.models.bandit.bandit_audio_separator import (
        BanditBackbone as BanditBackbone,
    )
    from keras_bandit.models.bsrnn.bsrnn_audio_separator import (
        BSRNNAudioSeparator as BSRNNAudioSeparator,
    )
    from keras_bandit.models.bsrnn.bsrnn_audio_separator import (
        BSRNNBackbone as BSRNNBackbone,
    )
    from keras_bandit.models.htdemucs.htdemucs_audio_separator import (
        HTDemucsAudioSeparator as HTDemucsAudioSeparator,
    )
    from keras_bandit.models.hybrid_demucs.demucs_bag import (
        DemucsBag as DemucsBag,
    )
    from keras_bandit.models.hybrid_demucs.hybrid_demucs_audio_separator import (
        HybridDemucsAudioSeparator as HybridDemucsAudioSeparator,
    )
    from keras_bandit.models.mask_separator import (
        MaskSeparator as MaskSeparator,
    )
    from keras_bandit.models.mrx.mrx_audio_separator import (
        MRXAudioSeparator as MRXAudioSeparator,
    )
    from keras_bandit.models.open_unmix.open_unmix_audio_separator import (
        OpenUnmixAudioSeparator as OpenUnmixAudioSeparator,
    )
    from keras_bandit.models.separator import AudioSeparator as AudioSeparator

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


if not TYPE_CHECKING:  # a checker would take any name for one of these

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
