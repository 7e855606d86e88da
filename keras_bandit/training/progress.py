"""Keras's lines for each epoch, and the time that is left."""

import time

import keras
import tqdm


class Progress(keras.callbacks.ProgbarLogger):
    """Prints, after Keras's line of an epoch, the time so far and to come.

    The time so far includes former starts of a run. Time to come is that of
    the epochs left at the mean pace of this process, without its first epoch,
    which compiles; early stopping may end sooner.
    """

    seconds_before = 0.0

    def _elapsed(self):
        return self.seconds_before + self._ends[-1] - self._ends[0]

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self._ends = [time.monotonic()]

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        self._ends.append(time.monotonic())
        first, *others = self._ends[1:] if self._ends[2:] else self._ends
        pace = (others[-1] - first) / len(others)
        so_far, left = map(
            tqdm.tqdm.format_interval,
            (self._elapsed(), pace * (self.epochs - epoch - 1)),
        )
        print(f"elapsed {so_far}  left {left}", flush=True)

    def get_state(self):
        return {"seconds": self._elapsed()}

    def set_state(self, state):
        self.seconds_before = state["seconds"]
