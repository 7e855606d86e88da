"""Separators, their encoders, and presets."""

from keras_bandit.models.audio_separator import AudioSeparator
from keras_bandit.models.bandit.bandit_audio_separator import (
    BanditAudioSeparator,
)
from keras_bandit.models.bandit.bandit_backbone import BanditBackbone
from keras_bandit.models.bsrnn.bsrnn_audio_separator import BSRNNAudioSeparator
from keras_bandit.models.bsrnn.bsrnn_backbone import BSRNNBackbone

__all__ = [
    "AudioSeparator",
    "BSRNNAudioSeparator",
    "BSRNNBackbone",
    "BanditAudioSeparator",
    "BanditBackbone",
]
