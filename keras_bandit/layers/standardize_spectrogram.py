"""Spectrograms of one mean and deviation, whatever the recording's level."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
from keras import ops

from keras_bandit.layers.magnitude import LEAST_POWER

if TYPE_CHECKING:
    from typing import Any

    from keras_bandit.common.types import Config, Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_bandit")
class StandardizeSpectrogram(keras.layers.Layer):
    """Takes a spectrogram's mean away and divides by its deviation.

    The "standardization [of] each STFT chunk" of refined BSRNN (Akbarzadeh,
    Sec. II-A): over frames and bins, of complex values. Mean of real and of
    imaginary parts become 0, the mean squared magnitude 1. Silence stays
    silence.

    Example:

    ```python
    layer = keras_bandit.layers.StandardizeSpectrogram()
    layer(np.ones((1, 2, 10, 65, 2), "float32")).shape  # (1, 2, 10, 65, 2)
    ```

    Args:
        linked_channels: bool. One deviation for all channels, which keeps
            their levels to each other; `False`: one for each, alone.

    Call arguments:
        spectrogram: `(batch, channels, frames, bins, 2)`.

    Returns:
        float32 of the same shape.
    """

    def __init__(self, linked_channels: bool = False, **kwargs: Any) -> None:
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.linked_channels = linked_channels
        self.input_spec = keras.layers.InputSpec(ndim=5, axes={4: 2})

    @property
    def axes(self) -> tuple[int, ...]:
        """Axes that a deviation is taken over: `(channels,) frames, bins`."""
        return (1, 2, 3) if self.linked_channels else (2, 3)

    def call(self, spectrogram: Tensor) -> Tensor:
        mean = ops.mean(spectrogram, axis=self.axes, keepdims=True)
        x = spectrogram - mean
        power = ops.sum(ops.square(x), axis=-1, keepdims=True)
        power = ops.mean(power, axis=self.axes, keepdims=True)
        return x / ops.sqrt(ops.maximum(power, LEAST_POWER))

    def compute_output_shape(self, spectrogram_shape: Shape) -> Shape:
        return spectrogram_shape

    def get_config(self) -> Config:
        return {**super().get_config(), "linked_channels": self.linked_channels}
