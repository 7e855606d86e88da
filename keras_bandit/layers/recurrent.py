"""Recurrent layers with PyTorch's equations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
from keras import ops

from keras_bandit import backend
from keras_bandit.backend.trainer import recurrence_supports_jit
from keras_bandit.common.checks import check_integer
from keras_bandit.layers.initializers import initializer_for

if TYPE_CHECKING:
    from typing import Any

    from keras_bandit.common.types import Config, Shape, Tensor


class _Recurrent(keras.layers.Layer):
    """Variables that all cells share; a subclass names gates and kernel.

    Input and recurrent bias are separate, as in PyTorch: in sum they are one
    too many, but the released checkpoints have both and Adam moves both.
    """

    num_gates = None
    directions = (2,)

    def __init__(
        self, units: int, kernel_initializer: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_integer("units", units, 1)
        self.units = units
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.input_spec = keras.layers.InputSpec(ndim=3)
        # TensorFlow's loop is faster outside XLA, and XLA has no cuDNN RNN.
        self.supports_jit = recurrence_supports_jit()

    def build(self, inputs_shape: Shape) -> None:
        gates = self.num_gates * self.units

        def add(name, *shape):
            initializer = initializer_for(self.kernel_initializer, self.units)
            shape = (*self.directions, *shape, gates)
            return self.add_weight(shape, initializer, name=name)

        self.kernel = add("kernel", inputs_shape[-1])
        self.recurrent_kernel = add("recurrent_kernel", self.units)
        self.bias = add("bias")
        self.recurrent_bias = add("recurrent_bias")

    def _variables(self):
        variables = (
            self.kernel,
            self.recurrent_kernel,
            self.bias,
            self.recurrent_bias,
        )
        return [ops.cast(v, self.compute_dtype) for v in variables]

    def compute_output_shape(self, inputs_shape: Shape) -> Shape:
        return (*inputs_shape[:-1], sum(self.directions or (1,)) * self.units)

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "units": self.units,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
        }


@keras.saving.register_keras_serializable(package="keras_bandit")
class BidirectionalGRU(_Recurrent):
    """Gated recurrent units over the first axis, in both directions.

    Equations, gate order (reset, update, new) and initial weights are those
    of `torch.nn.GRU`. Variables hold both directions, forward first: `kernel
    (2, features, 3 * units)`, `recurrent_kernel (2, units, 3 * units)`,
    `bias` and `recurrent_bias` `(2, 3 * units)`.

    Example:

    ```python
    layer = keras_bandit.layers.BidirectionalGRU(units=4)
    layer(np.zeros((10, 2, 3), "float32")).shape  # (10, 2, 8)
    ```

    Args:
        units: int. Size of each direction's state.
        kernel_initializer: initializer of all variables. `None`: uniform in
            ±1 / sqrt(units).

    Call arguments:
        inputs: `(steps, batch, features)`, time-major.

    Returns:
        `(steps, batch, 2 * units)`: forward, then backward state.

    Raises:
        ValueError: if `units` is below 1.
    """

    num_gates = 3

    def call(self, inputs: Tensor) -> Tensor:
        return backend.bidirectional_gru(inputs, *self._variables())


@keras.saving.register_keras_serializable(package="keras_bandit")
class BidirectionalLSTM(_Recurrent):
    """Long short-term memory over the first axis, in both directions.

    Equations, gate order (input, forget, cell, output) and initial weights
    are those of `torch.nn.LSTM`. Variables have four gates; all else is as in
    `BidirectionalGRU`.

    Example:

    ```python
    layer = keras_bandit.layers.BidirectionalLSTM(units=4)
    layer(np.zeros((10, 2, 3), "float32")).shape  # (10, 2, 8)
    ```
    """

    num_gates = 4

    def call(self, inputs: Tensor) -> Tensor:
        return backend.bidirectional_lstm(inputs, *self._variables())


@keras.saving.register_keras_serializable(package="keras_bandit")
class LSTM(_Recurrent):
    """Long short-term memory over the first axis, forwards alone.

    As `BidirectionalLSTM`, without the axis of directions in variables.

    Example:

    ```python
    layer = keras_bandit.layers.LSTM(units=4)
    layer(np.zeros((10, 2, 3), "float32")).shape  # (10, 2, 4)
    ```

    Args:
        units: int. Size of the state.
        kernel_initializer: initializer of all variables. `None`: uniform in
            ±1 / sqrt(units).

    Call arguments:
        inputs: `(steps, batch, features)`, time-major.

    Returns:
        `(steps, batch, units)`.

    Raises:
        ValueError: if `units` is below 1.
    """

    num_gates = 4
    directions = ()

    def call(self, inputs: Tensor) -> Tensor:
        return backend.lstm(inputs, *self._variables())


@keras.saving.register_keras_serializable(package="keras_bandit")
class LSTMStack(keras.layers.Layer):
    """LSTM layers one after the other, as `torch.nn.LSTM(num_layers=…)`.

    Example:

    ```python
    layer = keras_bandit.layers.LSTMStack(output_dim=4, num_layers=2)
    layer(np.zeros((2, 10, 3), "float32")).shape  # (2, 10, 4)
    ```

    Args:
        output_dim: int. Size of the output; each direction has half of it.
        num_layers: int.
        bidirectional: bool.
        dropout: float. Share of each layer's outputs that training drops,
            but for the last layer.

    Call arguments:
        inputs: `(…, steps, features)`.

    Returns:
        `(…, steps, output_dim)`.

    Raises:
        ValueError: if a size is below 1, or `output_dim` is odd with two
            directions.
    """

    def __init__(
        self,
        output_dim: int,
        num_layers: int = 3,
        bidirectional: bool = True,
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_integer("output_dim", output_dim, 1)
        check_integer("num_layers", num_layers, 1)
        if bidirectional and output_dim % 2:
            raise ValueError(
                f"output_dim must be even with two directions; got {output_dim}"
            )
        self.output_dim = output_dim
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.input_spec = keras.layers.InputSpec(min_ndim=3)
        layer, units = LSTM, output_dim
        if bidirectional:
            layer, units = BidirectionalLSTM, output_dim // 2
        self.recurrent = [
            layer(units, dtype=self.dtype_policy, name=f"layer_{i}")
            for i in range(num_layers)
        ]
        self.drop = keras.layers.Dropout(dropout, dtype=self.dtype_policy)

    def build(self, inputs_shape: Shape) -> None:
        features = inputs_shape[-1]
        for layer in self.recurrent:
            layer.build((None, None, features))
            features = self.output_dim

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        shape = ops.shape(inputs)
        x = ops.reshape(inputs, (-1, *shape[-2:]))
        x = ops.transpose(x, (1, 0, 2))  # (steps, batch, features)
        for i, layer in enumerate(self.recurrent):
            if i:
                x = self.drop(x, training=training)
            x = layer(x)
        x = ops.transpose(x, (1, 0, 2))
        return ops.reshape(x, (*shape[:-1], self.output_dim))

    def compute_output_shape(self, inputs_shape: Shape) -> Shape:
        return (*inputs_shape[:-1], self.output_dim)

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "output_dim": self.output_dim,
            "num_layers": self.num_layers,
            "bidirectional": self.bidirectional,
            "dropout": self.dropout,
        }
