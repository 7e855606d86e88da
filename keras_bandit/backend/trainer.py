"""What Keras's `Trainer` lacks, per backend, in training and prediction."""

import contextlib

import keras
import numpy as np

# TensorFlow traces a function before it first runs it. `bandit_demo`, two
# chunks of 6 s: 4.9 and then 0.8 s a call, or 2.0 and then 1.3 s untraced.
_CALLS_THAT_PAY_FOR_TRACING = 4


def predict_untraced(model, x):
    """`model.predict_on_batch` without a function for later calls."""
    outputs = model(x, training=False)
    return keras.tree.map_structure(keras.ops.convert_to_numpy, outputs)


def tracing_pays_off(model, calls):
    """Whether `predict_on_batch` is faster than `predict_untraced`.

    TensorFlow traces the model in the first call of `predict_on_batch`, which
    takes longer than a few untraced calls. On the other backends, and where
    the model was traced before, nothing is lost by it. `calls` of one shape
    are to come.
    """
    return (
        keras.config.backend() != "tensorflow"
        or model.predict_function is not None
        or calls >= _CALLS_THAT_PAY_FOR_TRACING
    )


def predict_on_batch(model, x):
    """`keras.Model.predict_on_batch`, which several JAX devices share.

    In the scope of a `keras.distribution`, Keras 3.15 has each device compute
    the whole batch. Here each computes its part, of a batch of any size. The
    first axes of outputs must be the batch or multiples of it.
    """
    predict = keras.Model.predict_on_batch
    distribution = keras.distribution.distribution()
    if distribution is None:
        return predict(model, x)
    mesh = distribution.device_mesh
    count = mesh.shape[mesh.axis_names.index(distribution.batch_dim_name)]
    size = keras.tree.flatten(x)[0].shape[0]
    padded = -(-size // count) * count
    items = np.minimum(np.arange(padded), size - 1)  # repeats the last one

    def deal(array):
        array = np.asarray(array)[items]
        layout = distribution.get_data_layout(array.shape)
        return keras.distribution.distribute_tensor(array, layout)

    return keras.tree.map_structure(
        lambda y: y[: len(y) * size // padded],
        predict(model, keras.tree.map_structure(deal, x)),
    )


@contextlib.contextmanager
def keeps_variables(model):
    """After an error inside, the model has its values and can be used again.

    Keras's JAX trainer takes the values out of the variables while it runs
    and puts back what the last finished step returned: after an error in the
    first step, such as a missing target, nothing. On TensorFlow the next call
    would use the broken trace again, and fail if that makes variables, such
    as those of Keras's metrics (both Keras 3.15).

    Args:
        model: a built `keras.Model`, compiled or not; its optimizer is built.
    """
    variables = [*model.variables, *model.metrics_variables]
    if getattr(model, "optimizer", None) is not None:
        variables += model.optimizer.variables
    values = [variable.value for variable in variables]
    try:
        yield
    except BaseException:
        model.train_function = None
        model.test_function = None
        model.predict_function = None
        if keras.config.backend() == "jax":
            model.jax_state_sync()
            for variable, value in zip(variables, values, strict=True):
                # A step that ran has deleted what it was given.
                if variable._value is None and not value.is_deleted():
                    variable.assign(value)
        raise


def build_optimizer(model):
    """Makes the optimizer's variables, if there are none yet.

    Args:
        model: `keras.Model`, compiled and built.
    """
    if model.optimizer is not None and not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)


def recurrence_supports_jit():
    """Whether models with recurrent layers should be compiled by XLA.

    Not on TensorFlow: its loops run faster outside XLA, and XLA has no cuDNN
    recurrence.
    """
    return keras.config.backend() != "tensorflow"
