"""Calls of layers and models that are cheap on every backend."""

import functools

import keras


def called(layer, *inputs):
    """`layer(*inputs)`, of arrays or lists of them.

    JAX compiles it as one function. Otherwise it compiles each operation for
    each shape: a small separator takes five times as long.
    """
    if keras.config.backend() != "jax":
        return layer(*inputs)
    if not layer.built:
        layer(*keras.tree.map_structure(symbolic, inputs))
    return _jitted()(layer, [v.value for v in layer.variables], *inputs)


def compiled(function):
    """The function of arrays; on JAX in one graph, as `called`."""
    if keras.config.backend() != "jax":
        return function
    import jax

    # Not the function itself: what it calls may have been replaced since.
    return jax.jit(lambda *inputs: function(*inputs))


def symbolic(array):
    return keras.KerasTensor(array.shape, str(array.dtype))


@functools.cache
def _jitted():
    import jax

    @functools.partial(jax.jit, static_argnums=0)
    def call(layer, values, *inputs):
        # Values are arguments, not constants of a function that is new each
        # time. What the layer assigns to its variables is dropped.
        mapping = zip(layer.variables, values, strict=True)
        with keras.StatelessScope(state_mapping=list(mapping)):
            return layer(*inputs)

    return call
