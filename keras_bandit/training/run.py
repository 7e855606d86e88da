"""A training run: a directory from which it can be repeated or go on."""

from __future__ import annotations

import functools
import json
import pathlib
import platform
import sys
import time
from typing import TYPE_CHECKING

import keras

from keras_bandit.backend.process import tune_process
from keras_bandit.common.files import (
    read_json,
    recover_directory,
    write_json,
)
from keras_bandit.common.settings import check_same_settings
from keras_bandit.common.versions import versions
from keras_bandit.training.callbacks import (
    Backup,
    Checkpoints,
    EarlyStopping,
    HistoryFile,
    Progress,
    read_history,
)
from keras_bandit.training.devices import Devices
from keras_bandit.training.event_log import EventLog
from keras_bandit.training.feature_learner import separator_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    import numpy as np

    from keras_bandit.common.types import AnyPath, Config


PACKAGES = ("keras-bandit", "keras", "keras-hub", "tensorflow", "jax", "torch")
PACKAGES += ("numpy", "grain", "soundfile", "soxr")


def _describe_session():
    """The command, machine and versions of this process, for the record."""
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": list(sys.argv),
        "backend": keras.config.backend(),
        "dtype_policy": keras.config.dtype_policy().name,
        "platform": platform.platform(),
        "packages": versions(*PACKAGES),
    }


def _as_json(config):
    """A configuration as it comes back from a file: lists for tuples."""
    try:
        return json.loads(json.dumps(config, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(
            "config must be a dict of numbers, strings, booleans, None, lists "
            f"and dicts; got {config!r}: {error}"
        ) from error


def _training_metadata(initial, record):
    """Metadata of trained weights, apart from those of the weights before."""
    return {**({"initial": initial} if initial else {}), "training": record}


class TrainingRun:
    """A directory with all that belongs to one training run.

    ```
    config.json    configuration; seed; each start's command and versions
    history.csv    one row per epoch
    logs/          TensorBoard: losses, scores, a clip's sound and picture
    best/, last/   presets, of the lowest `val_loss` and of the last epoch
    backup/        what the next start goes on from
    ```

    The metadata of `best` and `last` have the run under `"training"`, and
    those of the preset that training began from, if any, under `"initial"`.
    A run that was killed goes on after its last complete epoch, and ends with
    the weights of a run that was not, if the data of an epoch depend on
    nothing but the seed and the epoch.

    Args:
        directory: path, made if it does not exist.
        config: dict. The exact configuration, of values that JSON knows.
        seed: int. Given to Keras, NumPy and Python when the run is opened,
            for initial weights; make the separator after the run.
        may_change: names in `config` that may differ when the run is opened
            again, such as the number of epochs.
        devices: `Devices` from `open_devices`, or `None`: one.

    Raises:
        ValueError: if the run was begun with another configuration, seed or
            backend, or `directory` holds files and no run.

    Example:

    ```python
    from keras_bandit.training import TrainingRun, paper_optimizer

    run = TrainingRun("my_run", {"units": 1}, seed=0)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(paper_optimizer(), loss="mse")
    x = np.ones((8, 1), "float32")
    save = lambda folder: model.save_weights(folder / "model.weights.h5")
    run.fit(model, x, y=x, epochs=2, save=save)
    len(run.history)  # 2
    ```
    """

    def __init__(
        self,
        directory: AnyPath,
        config: Config,
        seed: int = 0,
        may_change: Sequence[str] = (),
        devices: Devices | None = None,
    ) -> None:
        self.directory = pathlib.Path(directory)
        self.config = _as_json(config)
        self.seed = seed
        self.may_change = may_change
        self.devices = devices or Devices()
        self.best = self.directory / "best"
        self.last = self.directory / "last"
        self._backup = self.directory / "backup" / "latest.weights.h5"
        self._writes = self.devices.process_index == 0
        self.sessions = [_describe_session()]
        if self._writes:
            self._open()
        # Wait until process 0 has made the directory.
        self.devices.barrier()
        keras.utils.set_random_seed(seed)

    def _record(self):
        """What `config.json` holds."""
        return {
            "config": self.config,
            "seed": self.seed,
            "backend": keras.config.backend(),
            "sessions": self.sessions,
        }

    def _open(self):
        """Checks a former record, and writes the new one."""
        path = self.directory / "config.json"
        if path.exists():
            try:
                former = json.loads(path.read_text(encoding="utf-8"))
                # A run that holds nothing else yet, such as one that a wrong
                # option ended, has nothing that would not fit.
                if list(self.directory.iterdir()) != [path]:
                    check_same_settings(
                        self._fixed(former),
                        self._fixed(self._record()),
                        f"the run {self.directory}",
                        "choose a new directory, or the former values",
                    )
                    self.sessions = [*former["sessions"], *self.sessions]
            except (KeyError, TypeError, json.JSONDecodeError) as error:
                raise ValueError(
                    f"{path} is damaged, and the run cannot go on without "
                    f"it: {error!r}"
                ) from error
        elif self.directory.exists() and any(self.directory.iterdir()):
            raise ValueError(
                "directory must be a run's, empty or new; got "
                f"{str(self.directory)!r}, which holds files and no config.json"
            )
        self.directory.mkdir(parents=True, exist_ok=True)
        recover_directory(self.best)
        recover_directory(self.last)
        write_json(path, self._record())

    def _fixed(self, record):
        """What a run must be opened again with."""
        config = dict(record["config"])
        for name in self.may_change:
            config.pop(name, None)
        return {"config": config, **{k: record[k] for k in ("seed", "backend")}}

    @property
    def history(self) -> list[dict[str, str]]:
        """The epochs so far: a list of dicts, text by column."""
        return read_history(self.directory / "history.csv")

    def describe_best(self, initial: Config) -> Config:
        """Metadata of a preset that got the weights in `best`, a dict.

        For a run whose `fit` was given `save`; else `best` is such a preset.
        `initial` are the metadata of the preset that training began from.
        """
        record = read_json(self.best / "training.json")
        return _training_metadata(initial, record)

    def _save(self, directory, logs, model, save):
        """Fills a directory with an epoch's weights and how they were made."""
        record = {**self._record(), "sessions": self.sessions[-1:]}
        if hasattr(model, "stems"):
            # Other decoders of its separator stay as they were.
            record["stems"] = list(model.stems)
        record["logs"] = logs
        if save is not None:
            save(directory)
            write_json(directory / "training.json", record)
            return
        separator = separator_of(model)
        former = separator.metadata
        separator.metadata = _training_metadata(former, record)
        try:
            separator.save_to_preset(directory)
        finally:
            separator.metadata = former

    def fit(
        self,
        model: keras.Model,
        train: Any,
        validation: Any = None,
        *,
        epochs: int,
        patience: int | None = 20,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        save: Callable[[pathlib.Path], Any] | None = None,
        clip: tuple[np.ndarray, Mapping[str, np.ndarray]] | None = None,
        **kwargs: Any,
    ) -> list[dict[str, str]]:
        """Trains, or goes on training, for `epochs` or until it stops early.

        Calls `keras_bandit.backend.process.tune_process`.

        Args:
            model: compiled `AudioSeparator` or `FeatureLearner`, or any
                compiled `keras.Model` if `save` is given.
            train: a dataset that `fit` takes (on several devices see
                `open_devices`), the same in every epoch and not shuffled; or
                a function of the epoch to start with, from 0, to one.
            validation: as `fit`'s `validation_data`, or `None`. On several
                devices arrays, or a dataset with a length.
            epochs: int. Epochs in all, those of former starts included.
            patience: int. Training stops after so many epochs without a new
                lowest `val_loss`, or `loss` without `validation`; `None`:
                never.
            callbacks: Keras callbacks, such as `paper_schedule()`. The state
                of those with `get_state` and `set_state` is kept, by class.
            save: function that saves the model in the empty directory that
                it is given. `None`: `model.save_to_preset`.
            clip: `(mixture, {stem: target})`, `(channels, samples)` each,
                whose estimates TensorBoard shows every ten epochs, or `None`.
            **kwargs: for the model's `fit`: `steps_per_epoch`,
                `validation_steps` (on one device), …
                `validation_batch_size` is, on several devices, that of each.

        Returns:
            `history`, of all starts.

        Raises:
            ValueError: if the backup does not fit the model, or with
                `validation_steps` on several devices.
            FloatingPointError: after an epoch whose loss is not a finite
                number, of which nothing is kept.
        """
        if self.devices.count > 1 and kwargs.get("validation_steps"):
            # Batches of validation are joined, so that it would count others.
            raise ValueError(
                "validation_steps must be None on several devices, which use "
                "all of validation (take a part of the data instead); got "
                f"validation_steps={kwargs['validation_steps']}"
            )
        monitor = "loss" if validation is None else "val_loss"
        stopping, progress = EarlyStopping(monitor, patience), Progress()
        backup = Backup(self._backup, [stopping, progress, *callbacks])
        start, stopped = backup.restore(model)
        if stopped or start >= epochs:
            return self.history
        self.devices.prepare(model)
        tune_process()
        own = [stopping]
        if self._writes:
            write = functools.partial(self._save, model=model, save=save)
            # What is written of an epoch comes before its backup: killed in
            # between, the epoch is repeated and written again.
            own += [
                HistoryFile(self.directory / "history.csv", start),
                EventLog(self.directory / "logs", start, clip),
                Checkpoints(self.best, self.last, stopping, write),
                progress,
                backup,
            ]
        if validation is not None:
            validation = self.devices.share_validation(
                validation, kwargs.get("validation_batch_size")
            )
        share_logs = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: self.devices.share_logs(logs)
        )
        model.fit(
            self.devices.share_training(
                train(start) if callable(train) else train
            ),
            validation_data=validation,
            initial_epoch=start,
            epochs=epochs,
            # Callbacks such as `AlternatingStems` read logs and write their
            # own. Means of means are the same.
            callbacks=[share_logs, *callbacks, share_logs, *own],
            verbose=(2 - sys.stdout.isatty()) if self._writes else 0,
            # Keras would shuffle by a global generator, another way after a
            # restart.
            shuffle=False,
            **kwargs,
        )
        # Wait until process 0 has written the last epoch.
        self.devices.barrier()
        return self.history
