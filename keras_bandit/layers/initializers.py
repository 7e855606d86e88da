"""PyTorch's default initial weights, from which the authors trained."""

import random

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="keras_bandit")
class FanInUniform(keras.initializers.Initializer):
    """Uniform in ±1 / sqrt(fan_in): PyTorch's default for linear layers.

    Flat variables hold many bands of different width; `fan_in` may then be
    an array that broadcasts against the variable.

    Args:
        fan_in: number or array. Inputs of each unit (for recurrent weights
            the number of units, as PyTorch does).
        seed: int, which every call begins from; or `None` for one that
            `keras.utils.set_random_seed` decides.

    Raises:
        ValueError: if `fan_in` is below 1.
    """

    def __init__(self, fan_in, seed=None):
        self.fan_in = np.asarray(fan_in, "float32")
        if not np.all(self.fan_in >= 1):
            raise ValueError(f"fan_in must be at least 1; got {fan_in}")
        self.seed = seed
        self._generator = None
        if seed is None:
            self._generator = np.random.default_rng(random.getrandbits(64))

    def __call__(self, shape, dtype=None):
        generator = self._generator or np.random.default_rng(self.seed)
        unit = 2.0 * generator.random(shape, "float32") - 1.0
        values = unit / np.sqrt(self.fan_in)
        return ops.cast(values, dtype or keras.config.floatx())

    def get_config(self):
        return {"fan_in": self.fan_in.tolist(), "seed": self.seed}


def initializer_for(initializer, fan_in):
    """Initializer of one variable: the user's, or PyTorch's for `None`.

    Keras's random initializers return the same values whenever they are
    called with the same shape: shared by two variables, one instance would
    make twins of them. So each variable gets a copy, which draws anew unless
    the user gave a seed. `fan_in` is as in `FanInUniform`.
    """
    if initializer is None:
        return FanInUniform(fan_in)
    if isinstance(initializer, keras.initializers.Initializer):
        return initializer.clone()
    return initializer
