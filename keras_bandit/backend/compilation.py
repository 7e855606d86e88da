"""What the backend's compiler can and should take."""

import keras


def recurrence_supports_jit():
    """Whether models with recurrent layers should be compiled by XLA.

    Not on TensorFlow: its loops run faster outside XLA, and XLA has no cuDNN
    recurrence.
    """
    return keras.config.backend() != "tensorflow"
