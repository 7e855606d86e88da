"""Training data: generated clips, random crops, chunks, augmentation."""

from keras_bandit.data.film_clip import film_clip

__all__ = ["film_clip"]
