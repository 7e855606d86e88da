"""Import of the authors' released checkpoints."""

from keras_bandit.convert.from_checkpoint import from_checkpoint

__all__ = ["from_checkpoint"]
