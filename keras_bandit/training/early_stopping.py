"""Early stopping that remembers across restarts."""

import math

import keras


class EarlyStopping(keras.callbacks.EarlyStopping):
    """Keras's, for a value that is to be low, with a state that a run keeps.

    Keras's callback forgets at each `fit` which value it has been waiting
    for and how long. After an epoch with a loss that is NaN or infinite this
    one raises an error, before the callbacks behind it keep what the epoch
    gave; Keras's `TerminateOnNaN` does not look at validation.

    Args:
        monitor: str. Key of the logs; lower is better.
        patience: int. Epochs without a new lowest value, or `None`: never
            stop, but know the best (`best`, and its `best_epoch` from 0).

    Raises:
        ValueError: for a patience below 1; after an epoch whose logs have no
            such value.
        FloatingPointError: after an epoch in which the value, `loss` or
            `val_loss` is not finite; names it and the epoch.
    """

    def __init__(self, monitor="val_loss", patience=20):
        if patience is not None and patience < 1:
            raise ValueError(
                f"patience must be at least 1 epoch, or None; got {patience}"
            )
        patience = math.inf if patience is None else patience
        super().__init__(monitor, patience=patience, mode="min")
        self._former = {}

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        vars(self).update(self._former)

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        if self.monitor not in logs:
            raise ValueError(
                f"monitor must be among the logs {sorted(logs)}; got "
                f"{self.monitor!r}"
            )
        for name in ("loss", "val_loss", self.monitor):
            if not math.isfinite(logs.get(name, 0.0)):
                raise FloatingPointError(
                    f"{name} is {logs[name]} in epoch {epoch + 1}, of which "
                    "nothing is kept: look for NaN or infinity in the data, or "
                    "take a lower learning rate, and start again"
                )
        # Keras counts this epoch as well.
        self.wait = epoch - 1 - self.best_epoch
        super().on_epoch_end(epoch, logs)

    def get_state(self):
        return {"best": float(self.best), "best_epoch": self.best_epoch}

    def set_state(self, state):
        self._former = state
