"""Band-split source separation in Keras 3.

Names are imported on first use, so that `keras_bandit.bands` costs NumPy
alone and `keras-bandit --help` neither NumPy nor Keras.
"""

import importlib

# Of this name type checkers take the other value; importing typing costs more
# than this module.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from keras_bandit.bands import Band as Band
    from keras_bandit.bands import band_layout as band_layout
    from keras_bandit.bands import plot_bands as plot_bands
    from keras_bandit.convert.from_checkpoint import (
        from_checkpoint as from_checkpoint,
    )
    from keras_bandit.layers import ISTFT as ISTFT
    from keras_bandit.layers import STFT as STFT
    from keras_bandit.layers import BandSplit as BandSplit
    from keras_bandit.layers import MaskDecoder as MaskDecoder
    from keras_bandit.layers import OverlapRecombine as OverlapRecombine
    from keras_bandit.layers import ResidualGRUPair as ResidualGRUPair
    from keras_bandit.layers import ResidualLSTMPair as ResidualLSTMPair
    from keras_bandit.losses import L1 as L1
    from keras_bandit.losses import L1SNR as L1SNR
    from keras_bandit.losses import L2SNR as L2SNR
    from keras_bandit.losses import MSE as MSE
    from keras_bandit.losses import MagnitudeMSE as MagnitudeMSE
    from keras_bandit.metrics import SISNR as SISNR
    from keras_bandit.metrics import SNR as SNR
    from keras_bandit.models import AudioSeparator as AudioSeparator
    from keras_bandit.models import BanditAudioSeparator as BanditAudioSeparator
    from keras_bandit.models import BanditBackbone as BanditBackbone
    from keras_bandit.models import BSRNNAudioSeparator as BSRNNAudioSeparator
    from keras_bandit.models import BSRNNBackbone as BSRNNBackbone
    from keras_bandit.models import DemucsBag as DemucsBag
    from keras_bandit.models import (
        HTDemucsAudioSeparator as HTDemucsAudioSeparator,
    )
    from keras_bandit.models import (
        HybridDemucsAudioSeparator as HybridDemucsAudioSeparator,
    )
    from keras_bandit.models import MaskSeparator as MaskSeparator
    from keras_bandit.models import MRXAudioSeparator as MRXAudioSeparator
    from keras_bandit.models import (
        OpenUnmixAudioSeparator as OpenUnmixAudioSeparator,
    )
    from keras_bandit.models.presets import list_presets as list_presets

__version__ = "0.1.0"

_HOME = {
    "AudioSeparator": "keras_bandit.models",
    "BSRNNAudioSeparator": "keras_bandit.models",
    "BSRNNBackbone": "keras_bandit.models",
    "Band": "keras_bandit.bands",
    "BandSplit": "keras_bandit.layers",
    "BanditAudioSeparator": "keras_bandit.models",
    "BanditBackbone": "keras_bandit.models",
    "DemucsBag": "keras_bandit.models",
    "HTDemucsAudioSeparator": "keras_bandit.models",
    "HybridDemucsAudioSeparator": "keras_bandit.models",
    "ISTFT": "keras_bandit.layers",
    "L1": "keras_bandit.losses",
    "L1SNR": "keras_bandit.losses",
    "L2SNR": "keras_bandit.losses",
    "MSE": "keras_bandit.losses",
    "MagnitudeMSE": "keras_bandit.losses",
    "MRXAudioSeparator": "keras_bandit.models",
    "MaskDecoder": "keras_bandit.layers",
    "MaskSeparator": "keras_bandit.models",
    "OpenUnmixAudioSeparator": "keras_bandit.models",
    "OverlapRecombine": "keras_bandit.layers",
    "ResidualGRUPair": "keras_bandit.layers",
    "ResidualLSTMPair": "keras_bandit.layers",
    "SISNR": "keras_bandit.metrics",
    "SNR": "keras_bandit.metrics",
    "STFT": "keras_bandit.layers",
    "band_layout": "keras_bandit.bands",
    "from_checkpoint": "keras_bandit.convert",
    "list_presets": "keras_bandit.models.presets",
    "plot_bands": "keras_bandit.bands",
}

__all__ = sorted(_HOME)


if not TYPE_CHECKING:  # a checker would take any name for one of these

    def __getattr__(name):
        if name not in _HOME:
            raise AttributeError(
                f"module 'keras_bandit' has no attribute {name!r}"
            )
        value = getattr(importlib.import_module(_HOME[name]), name)
        globals()[name] = value
        return value


def __dir__():
    return sorted({*globals(), *__all__})
