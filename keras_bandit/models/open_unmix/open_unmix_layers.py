"""Layers of Open-Unmix: what stands around its dense layers and LSTMs.

Facts are those of `sigsep/open-unmix-pytorch` at fb672c9.
"""

import keras
from keras import ops

from keras_bandit.layers.magnitude import LEAST_POWER


@keras.saving.register_keras_serializable(package="keras_bandit")
class InputScaling(keras.layers.Layer):
    """The lowest bins, standardized, channels side by side.

    The variables are *minus* the mean and *one over* the standard deviation
    of the training data, for each bin; training goes on changing them.

    Args:
        num_bins: int. Bins that the network reads.

    Call arguments:
        magnitude: `(batch, channels, frames, bins)`.

    Returns:
        `(batch, frames, channels * num_bins)`.
    """

    def __init__(self, num_bins, **kwargs):
        super().__init__(**kwargs)
        self.num_bins = num_bins

    def build(self, magnitude_shape):
        self.mean = self.add_weight((self.num_bins,), "zeros", name="mean")
        self.scale = self.add_weight((self.num_bins,), "ones", name="scale")

    def call(self, magnitude):
        x = (magnitude[..., : self.num_bins] + self.mean) * self.scale
        batch, channels, frames, bins = ops.shape(x)
        x = ops.transpose(x, (0, 2, 1, 3))
        return ops.reshape(x, (batch, frames, channels * bins))

    def compute_output_shape(self, magnitude_shape):
        batch, channels, frames, _ = magnitude_shape
        return (batch, frames, channels * self.num_bins)


@keras.saving.register_keras_serializable(package="keras_bandit")
class OutputScaling(keras.layers.Layer):
    """Undoes the order of `InputScaling`, scales each bin and rectifies.

    Args:
        num_channels: int.

    Call arguments:
        inputs: `(batch, frames, channels * bins)`.

    Returns:
        `(batch, channels, frames, bins)` float32, zero or more: the mask.
    """

    def __init__(self, num_channels, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.num_channels = num_channels

    def build(self, inputs_shape):
        bins = inputs_shape[-1] // self.num_channels
        self.scale = self.add_weight((bins,), "ones", name="scale")
        self.mean = self.add_weight((bins,), "ones", name="mean")

    def call(self, inputs):
        batch, frames, _ = ops.shape(inputs)
        shape = (batch, frames, self.num_channels, -1)
        x = ops.transpose(ops.reshape(inputs, shape), (0, 2, 1, 3))
        return ops.relu(x * self.scale + self.mean)

    def compute_output_shape(self, inputs_shape):
        batch, frames, features = inputs_shape
        channels = self.num_channels
        return (batch, channels, frames, features // channels)


@keras.saving.register_keras_serializable(package="keras_bandit")
class RealMask(keras.layers.Layer):
    """A mask of magnitudes as a complex one.

    Args:
        shared: bool. Whether the mask is that of the channels' mean magnitude:
            every channel gets the masked mean with its own phase.

    Call arguments:
        magnitude_mask: `(batch, channels, frames, bins)`, one channel if it
            is shared.
        spectrogram: `(batch, channels, frames, bins, 2)`.

    Returns:
        the spectrogram's shape.
    """

    def __init__(self, shared=False, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.shared = shared

    def call(self, magnitude_mask, spectrogram):
        real = magnitude_mask
        if self.shared and spectrogram.shape[1] != 1:
            power = ops.sum(ops.square(spectrogram), axis=-1)
            level = ops.sqrt(ops.maximum(power, LEAST_POWER))
            real = real * ops.mean(level, axis=1, keepdims=True) / level
        return ops.stack([real, ops.zeros_like(real)], axis=-1)

    def compute_output_shape(self, magnitude_mask_shape, spectrogram_shape):
        return spectrogram_shape


@keras.saving.register_keras_serializable(package="keras_bandit")
class InnerFrames(keras.layers.Layer):
    """Leaves out the frames that reach over the waveform's ends.

    What stays is an STFT that is not centred, on which Open-Unmix is trained.

    Args:
        margin: int. Frames at each end.
        only_in_training: bool. Whether inference keeps all frames.

    Call arguments:
        frames: `(batch, channels, frames, bins)`.

    Returns:
        the same with `2 * margin` frames less.
    """

    def __init__(self, margin, only_in_training=False, **kwargs):
        super().__init__(**kwargs)
        self.margin = margin
        self.only_in_training = only_in_training

    def call(self, frames, training=None):
        if self.only_in_training and not training:
            return frames
        return frames[:, :, self.margin : ops.shape(frames)[2] - self.margin]

    def compute_output_shape(self, frames_shape):
        batch, channels, _, bins = frames_shape
        return (batch, channels, None, bins)


@keras.saving.register_keras_serializable(package="keras_bandit")
class OuterFrames(keras.layers.Layer):
    """Puts zeros where `InnerFrames` left out frames in training.

    Args:
        margin: int. Frames at each end.

    Call arguments, returned value: as `InnerFrames`, the other way round.
    """

    def __init__(self, margin, **kwargs):
        super().__init__(**kwargs)
        self.margin = margin

    def call(self, frames, training=None):
        if not training:
            return frames
        ends = [self.margin, self.margin]
        return ops.pad(frames, [[0, 0], [0, 0], ends, [0, 0]])

    def compute_output_shape(self, frames_shape):
        batch, channels, _, bins = frames_shape
        return (batch, channels, None, bins)
