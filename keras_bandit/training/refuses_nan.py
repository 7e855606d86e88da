"""An error instead of weights that are not numbers."""

import math

import keras


class RefusesNaN(keras.callbacks.Callback):
    """Ends training after an epoch whose loss is NaN or infinite.

    Before the callbacks that keep what the epoch gave, so that a run goes on
    after the epoch before.

    Raises:
        FloatingPointError: naming epoch and loss.
    """

    def on_epoch_end(self, epoch, logs=None):
        for name in ("loss", "val_loss"):
            value = float((logs or {}).get(name, 0.0))
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"{name} is {value} in epoch {epoch + 1}, of which nothing "
                    "is kept: look for NaN or infinity in the data, or take "
                    "a lower learning rate, and start again"
                )
