"""What an error inside `fit`, `evaluate` or `predict` leaves behind."""

import contextlib

import keras


@contextlib.contextmanager
def keeps_variables(model):
    """Inside, an error costs the model neither its values nor its use.

    Keras's JAX trainer takes the values out of the variables while it runs
    and puts back what the last finished step returned: after an error in the
    first step, such as a missing target, nothing. On TensorFlow the next call
    takes up the broken trace again, and fails where that makes variables
    (both Keras 3.15).

    Args:
        model: a built `keras.Model`, compiled or not.
    """
    try:
        with _keeps_values(model):
            yield
    except BaseException:
        model.train_function = None
        model.test_function = None
        model.predict_function = None
        raise


@contextlib.contextmanager
def _keeps_values(model):
    if keras.config.backend() != "jax":
        yield
        return
    optimizer = getattr(model, "optimizer", None)
    variables = list(model.variables)
    if optimizer is not None:
        # `fit` would do it after the values are read here.
        if not optimizer.built:
            optimizer.build(model.trainable_variables)
        variables += optimizer.variables
    values = [variable.value for variable in variables]
    try:
        yield
    except BaseException:
        model.jax_state_sync()
        for variable, value in zip(variables, values, strict=True):
            # A step that ran has deleted what it was given.
            if variable._value is None and not value.is_deleted():
                variable.assign(value)
        raise
