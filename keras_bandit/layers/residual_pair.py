"""Residual recurrent blocks over frames and bands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
from keras import ops

from keras_bandit.layers.band_split import EPSILON
from keras_bandit.layers.initializers import initializer_for
from keras_bandit.layers.recurrent import BidirectionalGRU, BidirectionalLSTM

if TYPE_CHECKING:
    from typing import Any

    from keras_bandit.common.types import Config, Shape, Tensor


class _ResidualBlock(keras.layers.Layer):
    """Normalization, recurrence, projection, residual: `(steps, …, embed_dim)`."""

    def __init__(self, recurrent, **kwargs):
        super().__init__(**kwargs)
        self.norm = keras.layers.LayerNormalization(
            epsilon=EPSILON, dtype=self.dtype_policy, name="norm"
        )
        self.recurrent = recurrent

    def build(self, inputs_shape):
        embed_dim = inputs_shape[-1]
        initializer = self.recurrent.kernel_initializer
        fan_in = 2 * self.recurrent.units
        self.projection = keras.layers.Dense(
            embed_dim,
            kernel_initializer=initializer_for(initializer, fan_in),
            bias_initializer=initializer_for(initializer, fan_in),
            dtype=self.dtype_policy,
            name="projection",
        )
        self.norm.build((None, None, embed_dim))
        self.recurrent.build((None, None, embed_dim))
        self.projection.build((None, None, 2 * self.recurrent.units))

    def call(self, inputs):
        shape = ops.shape(inputs)
        x = ops.reshape(self.norm(inputs), (shape[0], -1, shape[-1]))
        x = self.projection(self.recurrent(x))
        return ops.reshape(x, shape) + inputs

    def compute_output_shape(self, inputs_shape):
        return inputs_shape


class _ResidualPair(keras.layers.Layer):
    """What both siblings share; a subclass names the recurrent layer."""

    recurrent_layer = None

    def __init__(
        self, rnn_dim: int, kernel_initializer: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.rnn_dim = rnn_dim
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.input_spec = keras.layers.InputSpec(ndim=4)
        self.over_frames = self._block("over_frames")
        self.over_bands = self._block("over_bands")

    def _block(self, name):
        recurrent = self.recurrent_layer(
            self.rnn_dim,
            kernel_initializer=self.kernel_initializer,
            dtype=self.dtype_policy,
            name="recurrent",
        )
        return _ResidualBlock(recurrent, dtype=self.dtype_policy, name=name)

    def build(self, inputs_shape: Shape) -> None:
        self.over_frames.build(inputs_shape)
        self.over_bands.build(inputs_shape)

    def call(self, inputs: Tensor) -> Tensor:
        x = ops.transpose(inputs, (2, 0, 1, 3))
        x = self.over_frames(x)  # (frames, batch, bands, embed_dim)
        x = ops.transpose(x, (2, 1, 0, 3))
        x = self.over_bands(x)  # (bands, batch, frames, embed_dim)
        return ops.transpose(x, (1, 0, 2, 3))

    def compute_output_shape(self, inputs_shape: Shape) -> Shape:
        return inputs_shape

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "rnn_dim": self.rnn_dim,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
        }


@keras.saving.register_keras_serializable(package="keras_bandit")
class ResidualGRUPair(_ResidualPair):
    """Models time, then frequency, each by a residual bidirectional GRU.

    Two residual blocks of layer normalization over the embedding (where BSRNN
    has group normalization), bidirectional recurrence and dense projection:
    the first runs over frames with the bands as batch, the second over bands
    with the frames as batch (BSRNN, arXiv:2209.15174, Sec. II; BandIt, Sec.
    III-D, which stacks 8 pairs).

    Example:

    ```python
    pair = keras_bandit.ResidualGRUPair(rnn_dim=8)
    features = np.zeros((1, 4, 10, 6), "float32")
    pair(features).shape  # (1, 4, 10, 6)
    ```

    Args:
        rnn_dim: int. Units of each direction.
        kernel_initializer: initializer of the recurrent and dense variables.
            `None`: PyTorch's defaults.

    Call arguments:
        inputs: `(batch, bands, frames, embed_dim)`.

    Returns:
        `(batch, bands, frames, embed_dim)`.

    Raises:
        ValueError: if `rnn_dim` is below 1.
    """

    recurrent_layer = BidirectionalGRU


@keras.saving.register_keras_serializable(package="keras_bandit")
class ResidualLSTMPair(_ResidualPair):
    """Models time, then frequency, each by a residual bidirectional LSTM.

    `ResidualGRUPair` with LSTM units, as in BSRNN (arXiv:2209.15174, Sec. II,
    which stacks 12 pairs); arguments and shapes are the same.

    Example:

    ```python
    pair = keras_bandit.ResidualLSTMPair(rnn_dim=8)
    features = np.zeros((1, 4, 10, 6), "float32")
    pair(features).shape  # (1, 4, 10, 6)
    ```
    """

    recurrent_layer = BidirectionalLSTM
