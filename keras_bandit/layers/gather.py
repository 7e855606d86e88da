"""Gathers whose gradients are gathers too."""

from keras import ops

from keras_bandit.backend import take


def gather(x, index, inverse, axis):
    """`ops.take(x, index, axis)` where the way back is known.

    The gradient of `ops.take` adds up at arbitrary places, which is slow: on
    TensorFlow it took most of a training step. Here `inverse` says where
    each element of `x` went, and the gradient is taken from there; other
    copies of an element are padding, and get none. `index` and `inverse` are
    int arrays, `axis` is 0 or -1.
    """

    @ops.custom_gradient
    def taken(x):
        def gradient(*args, upstream=None):
            # PyTorch passes the incoming gradient first, the others by name.
            upstream = args[0] if upstream is None else upstream
            return take(upstream, inverse, axis)

        return take(x, index, axis), gradient

    return taken(ops.convert_to_tensor(x))
