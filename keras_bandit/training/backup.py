"""The state of training in one file, from which it goes on exactly."""

import json
import pathlib
import warnings

import h5py
import keras

from keras_bandit.common.files import replace_file

STATE = "keras_bandit_state"


def save_backup(path, model, state):
    """Writes weights, optimizer and a small state into one file.

    Args:
        path: ends in `.weights.h5`. Replaced as a whole: killed at any time,
            it is the former file or the new one.
        model: compiled `keras.Model`.
        state: dict that JSON can express.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)

    def write(partial):
        model.save_weights(partial)
        with h5py.File(partial, "a") as file:
            file.attrs[STATE] = json.dumps(state)

    replace_file(path, write)


def read_state(path):
    """The state in a backup, `None` if there is no backup."""
    if not pathlib.Path(path).exists():
        return None
    with h5py.File(path, "r") as file:
        return json.loads(file.attrs[STATE])


def load_backup(path, model):
    """Gives a model the weights and the optimizer state of a backup.

    Args:
        path: as in `save_backup`.
        model: compiled as the saved one was.

    Returns:
        the state, a dict.

    Raises:
        ValueError: if the model or its optimizer does not fit.
    """
    # An optimizer has no variables to read into before its first step.
    model.optimizer.build(model.trainable_variables)
    try:
        with warnings.catch_warnings():
            # Keras only warns when it skips the optimizer.
            warnings.simplefilter("error", UserWarning)
            model.load_weights(path)
    except (ValueError, UserWarning) as error:
        raise ValueError(
            f"the backup {path} does not fit the model that was built: {error}"
        ) from error
    return read_state(path)


class Backup(keras.callbacks.Callback):
    """Backs up training after each epoch; the last of the callbacks.

    Keras's `BackupAndRestore` writes weights and epoch into two files, so
    that a kill between them loses an epoch's place, and keeps nothing of the
    other callbacks. Here one file holds all: weights, optimizer, next epoch,
    and the state of each callback that has `get_state()` and `set_state()`.

    Args:
        path: of the file, ends in `.weights.h5`.
        callbacks: `{name: callback}` whose states are kept.
    """

    def __init__(self, path, callbacks):
        super().__init__()
        self.path = path
        self.callbacks = callbacks

    def on_epoch_end(self, epoch, logs=None):
        states = {n: c.get_state() for n, c in self.callbacks.items()}
        state = {
            "next_epoch": epoch + 1,
            "stopped": bool(self.model.stop_training),
            "callbacks": states,
        }
        save_backup(self.path, self.model, state)

    def restore(self, model):
        """Gives model and callbacks their state back, if there is a backup.

        Returns:
            `(next_epoch, stopped)`: the epoch to go on with, from 0, and
            whether training had been stopped.
        """
        if not pathlib.Path(self.path).exists():
            return 0, False
        state = load_backup(self.path, model)
        for name, callback in self.callbacks.items():
            if name in state["callbacks"]:
                callback.set_state(state["callbacks"][name])
        return state["next_epoch"], state["stopped"]
