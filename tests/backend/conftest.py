"""What the tests of the backends' functions share."""

import keras
import pytest
from keras import ops


def gradients_of(function, arguments, cotangent):
    """Gradients of sum(function(*arguments) * cotangent), NumPy arrays."""

    def loss(*tensors):
        return ops.sum(function(*tensors) * cotangent)

    if keras.config.backend() == "jax":
        import jax

        every = range(len(arguments))
        result = jax.jit(jax.grad(loss, argnums=every))(*arguments)
    elif keras.config.backend() == "tensorflow":
        import tensorflow as tf

        tensors = [tf.constant(a) for a in arguments]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = loss(*tensors)
        result = tape.gradient(value, tensors)
    else:
        import torch

        cotangent = ops.convert_to_tensor(cotangent)
        tensors = [ops.convert_to_tensor(a).requires_grad_() for a in arguments]
        result = torch.autograd.grad(loss(*tensors), tensors)
    return [ops.convert_to_numpy(gradient) for gradient in result]


@pytest.fixture
def gradients():
    return gradients_of


@pytest.fixture
def gpu():
    """What a GPU is called in the name of a tensor's device; else skips."""
    if keras.config.backend() == "jax":
        import jax

        names = [str(d).lower() for d in jax.devices() if d.platform == "gpu"]
        name = names[0].partition(":")[0] if names else None
    elif keras.config.backend() == "tensorflow":
        import tensorflow as tf

        name = "gpu" if tf.config.list_physical_devices("GPU") else None
    else:
        import torch

        name = "cuda" if torch.cuda.is_available() else None
    if name is None:
        pytest.skip("no GPU")
    return name
