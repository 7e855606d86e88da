"""The state of training in one file, from which it goes on exactly."""

import json
import warnings

import h5py
import keras

from keras_bandit.common.files import replace_file

STATE = "keras_bandit_state"


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

        Returns:
            `(next_epoch, stopped)`: the epoch to go on with, from 0, and
            whether training had been stopped.

        Raises:
            ValueError: if the model or its optimizer does not fit.
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
