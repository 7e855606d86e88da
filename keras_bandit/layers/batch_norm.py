"""Batch normalization as PyTorch has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
from keras import ops

if TYPE_CHECKING:
    from typing import Any

    from keras_bandit.common.types import Config, Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_bandit")
class BatchNorm(keras.layers.Layer):
    """Normalizes each feature over all other axes: `torch.nn.BatchNorm1d`.

    Not Keras's layer: there ε is 1e-3, and the running variance takes up the
    biased variance of a batch, here the unbiased one. Both are float32
    whatever the dtype policy.

    Example:

    ```python
    layer = keras_bandit.layers.BatchNorm()
    layer(np.ones((2, 10, 3), "float32"), training=True)  # zeros
    ```

    Args:
        momentum: float. How much of the running mean and variance each
            training step keeps (PyTorch's momentum is 1 minus this).
        epsilon: float. Added to the variance.

    Call arguments:
        inputs: `(…, features)`.
        training: bool. `True`: with the batch's statistics, unless the layer
            is frozen.

    Returns:
        the inputs' shape, float32.
    """

    def __init__(
        self, momentum: float = 0.9, epsilon: float = 1e-5, **kwargs: Any
    ) -> None:
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon

    def build(self, inputs_shape: Shape) -> None:
        def add(name, initializer, trainable=True):
            shape = (inputs_shape[-1],)
            return self.add_weight(
                shape, initializer, name=name, trainable=trainable
            )

        self.gamma = add("gamma", "ones")
        self.beta = add("beta", "zeros")
        self.moving_mean = add("moving_mean", "zeros", trainable=False)
        self.moving_variance = add("moving_variance", "ones", trainable=False)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        mean, variance = self.moving_mean, self.moving_variance
        if training and self.trainable:
            # Not `ops.moments`: it subtracts squares on some backends.
            axes = tuple(range(len(inputs.shape) - 1))
            mean = ops.mean(inputs, axis=axes)
            variance = ops.mean(ops.square(inputs - mean), axis=axes)
            self._move(inputs, mean, variance)
        scale = self.gamma * ops.rsqrt(variance + self.epsilon)
        return (inputs - mean) * scale + self.beta

    def _move(self, inputs, mean, variance):
        count = ops.size(inputs) // inputs.shape[-1]
        unbiased = ops.cast(count, "float32") / ops.cast(
            ops.maximum(count - 1, 1), "float32"
        )
        kept = self.momentum
        for moving, new in (
            (self.moving_mean, mean),
            (self.moving_variance, variance * unbiased),
        ):
            moving.assign(moving * kept + ops.stop_gradient(new) * (1 - kept))

    def compute_output_shape(self, inputs_shape: Shape) -> Shape:
        return inputs_shape

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
        }
