"""Functions of tensors whose fastest form depends on the Keras backend.

Each has one signature, and tries the version written for the backend in use, if
there is one. For what that cannot take it raises `NotImplementedError`, and the
version in `keras.ops` computes it.
"""

import importlib

import keras

from keras_bandit.backend import generic

_SPECIALIZED = ("tensorflow", "jax", "torch")


def _native():
    """Module written for the backend in use, or the generic one."""
    name = keras.config.backend()
    if name not in _SPECIALIZED:
        return generic
    return importlib.import_module(f"keras_bandit.backend.{name}")


def _fastest(name, *args):
    """Calls the backend's own function of this name, or the generic one."""
    native = getattr(_native(), name, None)
    if native is not None:
        try:
            return native(*args)
        except NotImplementedError:
            pass
    return getattr(generic, name)(*args)


def bidirectional_gru(inputs, kernel, recurrent_kernel, bias, recurrent_bias):
    """Runs a GRU forwards and backwards in time over the same inputs.

    With `r`, `z` (sigmoid) the reset and update gates, each step is

        n = tanh(W_n x + b_n + r * (U_n h + c_n))
        h = (1 - z) * n + z * h

    from a zero state: the equations of `torch.nn.GRU` (Cho et al. 2014,
    arXiv:1406.1078, with the reset gate after the product). The gates lie
    in the order reset, update, new.

    Reversing the inputs in time and exchanging the two directions'
    weights reverses the outputs and exchanges their halves.

    Args:
        inputs: `(steps, batch, features)`, time first.
        kernel: `(2, features, 3 * units)`; forward, then backward.
        recurrent_kernel: `(2, units, 3 * units)`.
        bias: `(2, 3 * units)`, added to the product with `kernel`.
        recurrent_bias: `(2, 3 * units)`, added to the product with
            `recurrent_kernel`.
            All five share one floating dtype.

    Returns:
        `(steps, batch, 2 * units)`, the forward and backward states of
        each step side by side, in the dtype of `inputs`.
    """
    weights = (kernel, recurrent_kernel, bias, recurrent_bias)
    return _fastest("bidirectional_gru", inputs, *weights)


def bidirectional_lstm(inputs, kernel, recurrent_kernel, bias, recurrent_bias):
    """Runs an LSTM forwards and backwards in time over the same inputs.

    With `i`, `f`, `o` (sigmoid) and `g` (tanh) each step is

        c = f * c + i * g
        h = o * tanh(c)

    from zero states: the equations of `torch.nn.LSTM` (Hochreiter and
    Schmidhuber 1997). Both biases are added. Arguments and result are as in
    `bidirectional_gru`, with four gates in the order i, f, g, o; the result
    are the states `h`.
    """
    weights = (kernel, recurrent_kernel, bias, recurrent_bias)
    return _fastest("bidirectional_lstm", inputs, *weights)


def lstm(inputs, kernel, recurrent_kernel, bias, recurrent_bias):
    """Runs an LSTM forwards in time.

    Equations as in `bidirectional_lstm`.

    Args:
        inputs: `(steps, batch, features)`, time first.
        kernel: `(features, 4 * units)`.
        recurrent_kernel: `(units, 4 * units)`.
        bias: `(4 * units,)`.
        recurrent_bias: `(4 * units,)`.
            All five share one floating dtype.

    Returns:
        `(steps, batch, units)`, the state `h` of each step.
    """
    weights = (kernel, recurrent_kernel, bias, recurrent_bias)
    return _fastest("lstm", inputs, *weights)


def split(x, sizes):
    """Cuts the first axis into parts of given sizes.

    Not by slices: PyTorch's gradient of each slice is an array of zeros as
    large as `x`. `(n, …)` to a list of `(size, …)`; sizes add up to `n`.
    """
    return _fastest("split", x, sizes)


def lay_out_kernel(variable):
    """Lays a convolution's kernel out in memory as `convolution` reads it.

    Values and shape stay; later assignments keep the layout. Otherwise PyTorch
    copies the kernel at each call. `variable` is the `kernel` of a built Keras
    layer.
    """
    _fastest("lay_out_kernel", variable)


def convolution(layer, inputs, call):
    """What `call(inputs)` of a built Keras convolution returns.

    `layer` is a `Conv1D`, `Conv2D` or one of their transposes, channels last,
    with a bias and no activation.
    """
    return _fastest("convolution", layer, inputs, call)


def group_norm(layer, inputs, call):
    """What `call(inputs)` of a `GroupNormalization` returns, channels last."""
    return _fastest("group_norm", layer, inputs, call)


def take(x, index, axis):
    """`keras.ops.take`, fast where many elements lie in a row.

    `index` is a NumPy int array `(n,)`, each at least 0 and below
    `x.shape[axis]`; `axis` is 0 or -1.
    """
    return _fastest("take", x, index, axis)


def complex_product(x, y):
    """Product of complex numbers `(…, 2)`, pairs of floats, of one shape."""
    return _fastest("complex_product", x, y)


def rfft(x):
    """Fourier transform along the last axis, with pairs of floats.

    `(…, n)` float32, `n` even, to `(…, n // 2 + 1, 2)`.
    """
    return _fastest("rfft", x)


def irfft(x):
    """Inverse of `rfft`: `(…, bins, 2)` float32 to `(…, 2 * bins - 2)`.

    The imaginary parts of the first and the last bin are ignored.
    """
    return _fastest("irfft", x)
