"""What Keras's `Trainer` lacks, by backend."""

import contextlib

import keras

# TensorFlow traces a function before it first runs it. `bandit_demo`, two
# chunks of 6 s: 4.9 and then 0.8 s a call, or 2.0 and then 1.3 s untraced.
_CALLS_THAT_PAY_FOR_TRACING = 4


def tracing_pays_off(model, calls):
    """Whether `predict_on_batch` is faster than calling the model.

    TensorFlow traces the model in the first call of it, which takes longer
    than a few untraced calls. On the other backends, and where the model was
    traced before, nothing is lost by it. `calls` of one shape are to come.
    """
    return (
        keras.config.backend() != "tensorflow"
        or model.predict_function is not None
        or calls >= _CALLS_THAT_PAY_FOR_TRACING
    )


@contextlib.contextmanager
def keeps_variables(model):
    """After an error inside, the model has its values and can be used again.

    Keras's JAX trainer takes the values out of the variables while it runs
    and puts back what the last finished step returned: after an error in the
    first step, such as a missing target, nothing. On TensorFlow the next call
    would use the broken trace again, and fail if that makes variables, such
    as those of Keras's metrics (both Keras 3.15). The model, and if it is
    compiled its optimizer, are built.
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
    """Makes the variables of a built model's optimizer, if there are none."""
    if model.optimizer is not None and not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)


def recurrence_supports_jit():
    """Whether XLA should compile recurrences: not TensorFlow's loops."""
    return keras.config.backend() != "tensorflow"
