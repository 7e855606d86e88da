"""Gathers whose gradients are gathers too."""

from keras import ops

from keras_bandit.backend import take


def gather(x, index, inverse, axis):
    """Takes elements along an axis where the way back is known.

    The gradient of `ops.take` adds up at arbitrary places, which is slow: on
    TensorFlow it took most of a training step. Where every element of `x`
    goes to one known place, the gradient can be taken from there instead.

    Args:
        x: tensor.
        index: `(n,)` int array.
        inverse: `(x.shape[axis],)` int array. Where each element of `x` went;
            other copies of it are padding, and get no gradient.
        axis: int, 0 or -1.

    Returns:
        `ops.take(x, index, axis)`.
    """

    @ops.custom_gradient
    def taken(x):
        def gradient(*args, upstream=None):
            # PyTorch passes the incoming gradient first, the others by name.
            upstream = args[0] if upstream is None else upstream
            return take(upstream, inverse, axis)

        return take(x, index, axis), gradient

    return taken(ops.convert_to_tensor(x))
