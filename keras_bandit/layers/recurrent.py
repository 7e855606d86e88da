"""Bidirectional recurrent layers with PyTorch's equations."""

import keras
from keras import ops

from keras_bandit import backend
from keras_bandit.backend.trainer import recurrence_supports_jit
from keras_bandit.common.checks import check_integer
from keras_bandit.layers.initializers import initializer_for


class _Bidirectional(keras.layers.Layer):
    """Variables that both cells share; a subclass names gates and kernel.

    Input and recurrent bias are separate, as in PyTorch: in sum they are one
    too many, but the released checkpoints have both and Adam moves both.
    """

    num_gates = None

    def __init__(self, units, kernel_initializer=None, **kwargs):
        super().__init__(**kwargs)
        check_integer("units", units, 1)
        self.units = units
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.input_spec = keras.layers.InputSpec(ndim=3)
        # TensorFlow's loop is faster outside XLA, and XLA has no cuDNN RNN.
        self.supports_jit = recurrence_supports_jit()

    def build(self, inputs_shape):
        gates = self.num_gates * self.units

        def add(name, *shape):
            initializer = initializer_for(self.kernel_initializer, self.units)
            return self.add_weight((2, *shape, gates), initializer, name=name)

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

    def compute_output_shape(self, inputs_shape):
        return (*inputs_shape[:-1], 2 * self.units)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
        }


@keras.saving.register_keras_serializable(package="keras_bandit")
class BidirectionalGRU(_Bidirectional):
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

    def call(self, inputs):
        return backend.bidirectional_gru(inputs, *self._variables())


@keras.saving.register_keras_serializable(package="keras_bandit")
class BidirectionalLSTM(_Bidirectional):
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

    def call(self, inputs):
        return backend.bidirectional_lstm(inputs, *self._variables())
