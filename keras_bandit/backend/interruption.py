"""What an error inside `fit`, `evaluate` or `predict` leaves behind."""

import contextlib

import keras


@contextlib.contextmanager
def keeps_variables(model):
    """Inside, an error costs the model neither its values nor its use.

    Keras's JAX trainer takes the values out of the variables while it runs
    and puts back what the last finished step returned: after an error in the
    first step, such as a missing target, nothing. On TensorFlow the next call
    would use the broken trace again, and fail if that makes variables, such
    as those of Keras's metrics (both Keras 3.15). If the model is compiled,
    its optimizer must be built.
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
