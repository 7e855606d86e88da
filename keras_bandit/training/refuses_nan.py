"""An error instead of weights that are not numbers."""

import math

import keras


class RefusesNaN(keras.callbacks.Callback):
    """Ends training after an epoch with a loss that is NaN or infinite.

    It comes before the callbacks that keep what the epoch gave, so that a run
    goes on after the epoch before. Keras's `TerminateOnNaN` does not look at
    validation, and waits for each step's loss.

    Args:
        monitor: str. What is looked at beside `loss` and `val_loss`.

    Raises:
        FloatingPointError: naming epoch and loss.
    """

    def __init__(self, monitor="val_loss"):
        super().__init__()
        self.names = ("loss", "val_loss", monitor)

    def on_epoch_end(self, epoch, logs=None):
        for name in self.names:
            value = float((logs or {}).get(name, 0.0))
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"{name} is {value} in epoch {epoch + 1}, of which nothing "
                    "is kept: look for NaN or infinity in the data, or take "
                    "a lower learning rate, and start again"
                )
