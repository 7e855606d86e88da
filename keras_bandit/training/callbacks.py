"""What a run adds to Keras's callbacks: above all, memory across restarts."""

import csv
import functools
import io
import json
import math
import time
import warnings

import h5py
import keras
import tqdm

from keras_bandit.common.files import (
    replace_directory,
    replace_file,
    write_text,
)

STATE = "keras_bandit_state"


class EarlyStopping(keras.callbacks.EarlyStopping):
    """Keras's, for a loss, with a state that a run keeps.

    Keras's callback forgets at each `fit` which value it has been waiting
    for and how long. After an epoch with a loss that is NaN or infinite this
    one raises `FloatingPointError`, before the callbacks behind it keep what
    the epoch gave; Keras's `TerminateOnNaN` does not look at validation.
    With a patience of `None` it never stops, but knows the `best_epoch`.
    """

    def __init__(self, monitor, patience):
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
        for name in ("loss", "val_loss"):
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


class HistoryFile(keras.callbacks.Callback):
    """Writes the logs of each epoch to a CSV file.

    Unlike Keras's `CSVLogger`, each epoch has one row however often a run was
    interrupted, and the file is complete at any time. Rows from `start` on
    are dropped, since they will be made again.
    """

    def __init__(self, path, start):
        super().__init__()
        self.path = path
        rows = read_history(path)
        self.rows = [row for row in rows if int(row["epoch"]) < start]

    def on_epoch_end(self, epoch, logs=None):
        logs = {name: float(value) for name, value in (logs or {}).items()}
        self.rows.append({"epoch": epoch, **logs})
        # Columns that appear late are empty in earlier rows.
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.path, text.getvalue())


def read_history(path):
    """Rows of a history file, `[{column: text}]`; none if there is no file."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class Checkpoints(keras.callbacks.Callback):
    """Saves the last weights after each epoch, and the best.

    `save(directory, logs)` fills a directory.
    """

    def __init__(self, best, last, stopping, save):
        super().__init__()
        self.best, self.last = best, last
        self.stopping, self.save = stopping, save

    def on_epoch_end(self, epoch, logs=None):
        logs = {n: float(v) for n, v in (logs or {}).items()}
        write = functools.partial(self.save, logs={"epoch": epoch, **logs})
        replace_directory(self.last, write)
        if self.stopping.best_epoch == epoch:
            replace_directory(self.best, write)


class Backup(keras.callbacks.Callback):
    """Backs up training after each epoch; the last of the callbacks.

    Keras's `BackupAndRestore` writes weights and epoch into two files, so
    that a kill between them loses an epoch's place, and keeps nothing of the
    other callbacks. Here one file holds all: weights, optimizer, next epoch,
    and the state of each callback that has `get_state()` and `set_state()`,
    by the name of its class.
    """

    def __init__(self, path, callbacks):
        super().__init__()
        self.path, self.callbacks = path, {}
        for callback in callbacks:
            name = type(callback).__name__
            if name in self.callbacks:
                raise ValueError(
                    "callbacks with a state must be of different classes; got "
                    f"{name} twice"
                )
            if hasattr(callback, "get_state"):
                self.callbacks[name] = callback

    def on_epoch_end(self, epoch, logs=None):
        state = {
            "next_epoch": epoch + 1,
            "stopped": bool(self.model.stop_training),
            "callbacks": {n: c.get_state() for n, c in self.callbacks.items()},
        }

        def write(partial):
            self.model.save_weights(partial)
            with h5py.File(partial, "a") as file:
                file.attrs[STATE] = json.dumps(state)

        self.path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(self.path, write)

    def restore(self, model):
        """Gives model and callbacks their state back, if there is a backup.

        Returns the epoch to go on with, from 0, and whether training had been
        stopped; `ValueError` if the model or its optimizer does not fit.
        """
        if not self.path.exists():
            return 0, False
        # An optimizer has no variables to read into before its first step.
        model.optimizer.build(model.trainable_variables)
        try:
            with warnings.catch_warnings():
                # Keras only warns when it skips the optimizer.
                warnings.simplefilter("error", UserWarning)
                model.load_weights(self.path)
        except (ValueError, UserWarning) as error:
            raise ValueError(
                f"the backup {self.path} does not fit the model that was "
                f"built: {error}"
            ) from error
        with h5py.File(self.path, "r") as file:
            state = json.loads(file.attrs[STATE])
        for name, callback in self.callbacks.items():
            if name in state["callbacks"]:
                callback.set_state(state["callbacks"][name])
        return state["next_epoch"], state["stopped"]
