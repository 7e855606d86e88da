"""Band-split source separation in Keras 3.

Names are imported on first use, so that `keras_bandit.bands` costs NumPy
alone and `keras-bandit --help` neither NumPy nor Keras.
"""

import importlib

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


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module 'keras_bandit' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
