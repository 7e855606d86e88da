"""Training data: generated clips, random crops, chunks, augmentation."""

from keras_bandit.data.augmentation import Gain, PolarityInversion, Reverse
from keras_bandit.data.chunks import validation_chunks
from keras_bandit.data.crops import random_crops
from keras_bandit.data.film_clip import film_clip
from keras_bandit.data.film_mixer import mix_film_tracks
from keras_bandit.data.source_activity import Segment, active_segments
from keras_bandit.data.stored_tracks import open_tracks

__all__ = [
    "Gain",
    "PolarityInversion",
    "Reverse",
    "Segment",
    "active_segments",
    "film_clip",
    "mix_film_tracks",
    "open_tracks",
    "random_crops",
    "validation_chunks",
]
