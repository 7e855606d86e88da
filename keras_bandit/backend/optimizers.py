"""Optimizer variables on several devices."""

import contextlib

import keras


def build_optimizer(model):
    """Makes the optimizer's variables, if there are none yet.

    TensorFlow makes variables for several devices only inside the scope of
    the strategy that the model was made in.

    Args:
        model: compiled `keras.Model`, built.
    """
    if model.optimizer is None or model.optimizer.built:
        return
    scope = contextlib.nullcontext()
    if keras.config.backend() == "tensorflow":
        scope = model.distribute_strategy.scope()
    with scope:
        model.optimizer.build(model.trainable_variables)
