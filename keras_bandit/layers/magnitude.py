"""Magnitudes of spectrograms, and spectrograms of magnitudes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import ops

if TYPE_CHECKING:
    from typing import Any

    from keras_bandit.common.types import Config, Shape, Tensor


LEAST_POWER = 1e-30
"""Below that of any audio in float32; its root has a gradient."""


def with_phase_of(mixture, magnitudes):
    """Magnitudes with the phase of the mixture, 0 where that is silent.

    Args:
        mixture: `(…, 2)`.
        magnitudes: `(…)`, more axes in front if need be.

    Returns:
        a pair in the last axis for each magnitude.
    """
    power = ops.sum(ops.square(mixture), axis=-1, keepdims=True)
    level = ops.sqrt(ops.maximum(power, 1e-36))
    silent = ops.convert_to_tensor(np.array([1, 0], "float32"))
    phase = ops.where(level > 1e-18, mixture / level, silent)
    return magnitudes[..., None] * phase


@keras.saving.register_keras_serializable(package="keras_bandit")
class Magnitude(keras.layers.Layer):
    """Magnitudes of a spectrogram, in another scale than that of `STFT`.

    Example:

    ```python
    layer = keras_bandit.layers.Magnitude(scale=1.0)
    layer(np.zeros((1, 2, 10, 65, 2), "float32")).shape  # (1, 2, 10, 65)
    ```

    Args:
        scale: float. Factor; see `stft_scale`.
        num_channels: int. 1: the mean of the channels' magnitudes. `None`: as
            many as come in.

    Call arguments:
        spectrogram: `(batch, channels, frames, bins, 2)`.

    Returns:
        `(batch, num_channels, frames, bins)` float32.
    """

    def __init__(
        self, scale: float, num_channels: int | None = None, **kwargs: Any
    ) -> None:
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.num_channels = num_channels
        self.scale = scale

    def call(self, spectrogram: Tensor) -> Tensor:
        power = ops.sum(ops.square(spectrogram), axis=-1)
        magnitude = self.scale * ops.sqrt(ops.maximum(power, LEAST_POWER))
        if self.num_channels == 1 and magnitude.shape[1] != 1:
            magnitude = ops.mean(magnitude, axis=1, keepdims=True)
        return magnitude

    def compute_output_shape(self, spectrogram_shape: Shape) -> Shape:
        batch, channels, frames, bins, _ = spectrogram_shape
        return (batch, self.num_channels or channels, frames, bins)

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "scale": self.scale,
            "num_channels": self.num_channels,
        }
