"""BandIt takes every channel as an item of its own."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_bandit")
class FoldChannels(keras.layers.Layer):
    """`(batch, channels, …)` to `(batch * channels, 1, …)`, a spectrogram."""

    def __init__(self, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)

    def call(self, spectrogram):
        return ops.reshape(spectrogram, (-1, 1, *ops.shape(spectrogram)[2:]))

    def compute_output_shape(self, spectrogram_shape):
        batch, channels = spectrogram_shape[:2]
        known = batch is not None and channels is not None
        items = batch * channels if known else None
        return (items, 1, *spectrogram_shape[2:])


@keras.saving.register_keras_serializable(package="keras_bandit")
class UnfoldChannels(keras.layers.Layer):
    """Undoes `FoldChannels` for a mask: it takes the spectrogram's shape."""

    def __init__(self, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)

    def call(self, folded, spectrogram):
        return ops.reshape(folded, ops.shape(spectrogram))

    def compute_output_shape(self, folded_shape, spectrogram_shape):
        return spectrogram_shape
