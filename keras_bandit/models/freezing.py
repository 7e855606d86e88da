"""Encoders through which no gradient passes while they are frozen."""

import keras
from keras import ops


class StopsGradientWhenFrozen:
    """Mixin for a functional model: frozen, it is a constant to the loss.

    Without it TensorFlow would still walk back through a frozen encoder.
    """

    def __init__(self, *args, trainable=True, **kwargs):
        super().__init__(*args, **kwargs)
        # Given to Keras's constructor it would reach no layer: they are
        # attached only after it is set (Keras 3.15).
        self.trainable = trainable

    def call(self, inputs, training=None, mask=None):
        outputs = super().call(inputs, training=training, mask=mask)
        if self.trainable:
            return outputs
        return keras.tree.map_structure(ops.stop_gradient, outputs)
