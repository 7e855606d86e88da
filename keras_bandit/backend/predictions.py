"""Predictions of single batches: on several devices, or a few of them."""

import keras
import numpy as np

# TensorFlow traces a function before it first runs it. `bandit_demo`, two
# chunks of 6 s: 4.9 and then 0.8 s a call, or 2.0 and then 1.3 s untraced.
_CALLS_THAT_PAY_FOR_TRACING = 4


def _count_devices(model):
    """How many devices in this process share a model's batches."""
    if keras.config.backend() == "tensorflow":
        return model.distribute_strategy.num_replicas_in_sync
    distribution = keras.distribution.distribution()
    if distribution is None:
        return 1
    mesh = distribution.device_mesh
    return mesh.shape[mesh.axis_names.index(distribution.batch_dim_name)]


def _split(model, batch, count):
    """An array of which each device holds its part."""
    if keras.config.backend() == "jax":
        layout = keras.distribution.distribution().get_data_layout(batch.shape)
        return keras.distribution.distribute_tensor(batch, layout)
    import tensorflow as tf

    parts = np.split(batch, count)
    strategy = model.distribute_strategy
    return strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(parts[context.replica_id_in_sync_group])
    )


def predict_untraced(model, x):
    """`model.predict_on_batch` without a function for later calls.

    Args:
        model: `keras.Model`, on TensorFlow.
        x: array, batch first.

    Returns:
        structure of the outputs, NumPy arrays.
    """
    outputs = model(x, training=False)
    return keras.tree.map_structure(keras.ops.convert_to_numpy, outputs)


def tracing_pays_off(model, calls):
    """Whether `predict_on_batch` is faster than `predict_untraced`.

    TensorFlow traces the model in the first call of `predict_on_batch`, which
    takes longer than a few untraced calls. On the other backends, and where
    the model was traced before, nothing is lost by it.

    Args:
        model: `keras.Model`.
        calls: int. Number of calls to come, all with one shape.

    Returns:
        bool.
    """
    return (
        keras.config.backend() != "tensorflow"
        or model.predict_function is not None
        or calls >= _CALLS_THAT_PAY_FOR_TRACING
        or _count_devices(model) > 1
    )


def predict_on_batch(model, x):
    """`keras.Model.predict_on_batch`, of any size and on any devices.

    Keras 3.15 gives the whole batch to each of several devices, and on
    TensorFlow joins all their answers. Here each computes its part.

    Args:
        model: `keras.Model`.
        x: array, or a structure of arrays, batch first.

    Returns:
        what one device would: NumPy arrays, in the structure of the outputs,
        whose first axes are the batch or multiples of it.
    """
    predict = keras.Model.predict_on_batch
    count = _count_devices(model)
    if count == 1:
        return predict(model, x)
    size = keras.tree.flatten(x)[0].shape[0]
    padded = -(-size // count) * count
    # The first item again, as often as it takes.
    items = np.arange(padded) * (np.arange(padded) < size)
    x = keras.tree.map_structure(
        lambda a: _split(model, keras.ops.convert_to_numpy(a)[items], count),
        x,
    )
    return keras.tree.map_structure(
        lambda y: np.asarray(y)[: len(y) * size // padded], predict(model, x)
    )
