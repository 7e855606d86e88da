"""When an optimizer makes its variables."""


def build_optimizer(model):
    """Makes the optimizer's variables, if there are none yet.

    Args:
        model: `keras.Model`, compiled and built.
    """
    if model.optimizer is not None and not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
