"""Early stopping that remembers across restarts."""

import keras


class EarlyStopping(keras.callbacks.Callback):
    """Stops training when a value has not fallen for some epochs.

    Keras's callback of this name forgets at each `fit` how long it has been
    waiting and for what; this one has a state that a run keeps.

    Args:
        monitor: str. Key of the logs; lower is better.
        patience: int. Epochs without a new lowest value, or `None`: never
            stop, but know the best.

    Attributes:
        best: float. Lowest value so far, `None` before the first.
        best_epoch: int. Its epoch, from 0, `None` before the first.

    Raises:
        ValueError: for a patience below 1; after an epoch whose logs have no
            such value.
    """

    def __init__(self, monitor="val_loss", patience=20):
        super().__init__()
        if patience is not None and patience < 1:
            raise ValueError(
                f"patience must be at least 1 epoch, or None; got {patience}"
            )
        self.monitor = monitor
        self.patience = patience
        self.best = None
        self.best_epoch = None

    def is_best(self, epoch):
        """Whether this epoch's value is the lowest so far."""
        return self.best_epoch == epoch

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        if self.monitor not in logs:
            raise ValueError(
                f"monitor must be among the logs {sorted(logs)}; got "
                f"{self.monitor!r}"
            )
        value = float(logs[self.monitor])
        # NaN is no best: every comparison with it is false.
        if value < (float("inf") if self.best is None else self.best):
            self.best, self.best_epoch = value, epoch
        since = -1 if self.best_epoch is None else self.best_epoch
        if self.patience is not None and epoch - since >= self.patience:
            self.model.stop_training = True

    def get_state(self):
        return {"best": self.best, "best_epoch": self.best_epoch}

    def set_state(self, state):
        self.best = state["best"]
        self.best_epoch = state["best_epoch"]
