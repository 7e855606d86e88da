"""When an optimizer makes its variables."""


def build_optimizer(model):
    """Makes the variables of a built model's optimizer, if there are none."""
    if model.optimizer is not None and not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
