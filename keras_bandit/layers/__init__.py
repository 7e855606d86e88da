"""Backend-agnostic layers of the band-split models."""

from keras_bandit.layers.apply_mask import ApplyMask
from keras_bandit.layers.band_split import BandSplit
from keras_bandit.layers.batch_norm import BatchNorm
from keras_bandit.layers.magnitude import Magnitude
from keras_bandit.layers.mask_decoder import MaskDecoder
from keras_bandit.layers.overlap_recombine import OverlapRecombine
from keras_bandit.layers.recurrent import (
    LSTM,
    BidirectionalGRU,
    BidirectionalLSTM,
    LSTMStack,
)
from keras_bandit.layers.residual_pair import ResidualGRUPair, ResidualLSTMPair
from keras_bandit.layers.spectral import ISTFT, STFT
from keras_bandit.layers.standardize_spectrogram import StandardizeSpectrogram

__all__ = [
    "ISTFT",
    "LSTM",
    "STFT",
    "ApplyMask",
    "BandSplit",
    "BatchNorm",
    "BidirectionalGRU",
    "BidirectionalLSTM",
    "LSTMStack",
    "Magnitude",
    "MaskDecoder",
    "OverlapRecombine",
    "ResidualGRUPair",
    "ResidualLSTMPair",
    "StandardizeSpectrogram",
]
