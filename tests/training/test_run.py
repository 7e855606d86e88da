"""Runs: what they keep, and that a killed one ends like any other."""

import csv
import json
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
import tiny

from keras_bandit.losses import L1SNR
from keras_bandit.models import AudioSeparator
from keras_bandit.training import TrainingRun
from keras_bandit.training import run as run_module
from keras_bandit.training.devices import Devices


def state_of(separator):
    """All weights and the optimizer's variables."""
    variables = [*separator.variables, *separator.optimizer.variables]
    return [np.asarray(v.numpy()) for v in variables]


def assert_same_state(separator, other):
    for a, b in zip(state_of(separator), state_of(other), strict=True):
        np.testing.assert_array_equal(a, b)


def rows(directory):
    with open(directory / "history.csv") as file:
        return list(csv.DictReader(file))


# In the middle of an epoch; and when an epoch's checkpoints are written and
# its backup is not.
KILLS = ["2:1", "backup:1"]


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Runs as a kill leaves them, `{kill_at: directory}`.

    One process: it is killed, and before that copies its run.
    """
    runs = tmp_path_factory.mktemp("runs")
    directories = [runs / kill_at.replace(":", "_") for kill_at in KILLS]
    killed, copied = directories
    done = subprocess.run(
        [sys.executable, tiny.__file__, killed, "4", copied],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return dict(zip(KILLS, directories, strict=True))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "whole"
    return directory, tiny.train(directory, epochs=4)


@pytest.mark.parametrize("kill_at", KILLS)
def test_killed_run_ends_with_the_same_weights(killed, uninterrupted, kill_at):
    directory = killed[kill_at]
    assert len(rows(directory)) == 2
    separator = tiny.train(directory, epochs=4)

    whole_directory, whole = uninterrupted
    assert_same_state(separator, whole)
    assert rows(directory) == rows(whole_directory)
    assert [row["epoch"] for row in rows(directory)] == ["0", "1", "2", "3"]
    for name in ("best", "last"):
        ours = AudioSeparator.from_preset(directory / name)
        theirs = AudioSeparator.from_preset(whole_directory / name)
        for a, b in zip(ours.weights, theirs.weights, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
    sessions = json.loads((directory / "config.json").read_text())["sessions"]
    assert len(sessions) == 2


def test_data_differ_between_epochs():
    first = tiny.Epochs(0)[0][0]
    assert np.abs(first - tiny.Epochs(1)[0][0]).max() > 0.01


def test_learning_rate_goes_on_where_it_was(uninterrupted):
    directory, _ = uninterrupted
    rates = [float(row["learning_rate"]) for row in rows(directory)]
    np.testing.assert_allclose(rates, [0.01, 0.01, 0.0098, 0.0098], rtol=1e-6)


def test_presets_say_how_they_were_trained(uninterrupted):
    directory, separator = uninterrupted
    last = AudioSeparator.from_preset(directory / "last")
    for a, b in zip(last.weights, separator.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    training = last.metadata["training"]
    assert training["config"] == tiny.CONFIG
    assert training["logs"]["epoch"] == 3
    # New weights began from nothing.
    assert set(last.metadata) == {"training"}
    assert "keras" in training["sessions"][0]["packages"]
    best = AudioSeparator.from_preset(directory / "best")
    losses = [float(row["val_loss"]) for row in rows(directory)]
    assert best.metadata["training"]["logs"]["epoch"] == np.argmin(losses)
    best.compile(loss=L1SNR())
    # 1e-4 dB: float32, batch statistics in another order.
    loss = best.evaluate(*tiny.batch(99), verbose=0)
    assert loss == pytest.approx(min(losses), abs=1e-4)


def test_presets_say_what_they_began_from(tmp_path):
    """Its scores are not theirs, however often a run begins again."""
    released = {"license": "Apache-2.0", "scores": {"snr": 9.4}}

    def train(directory, metadata, epochs):
        separator = tiny.build(run_eagerly=tiny.EAGERLY)
        separator.metadata = metadata
        run = TrainingRun(directory, {})
        run.fit(separator, tiny.Epochs, epochs=epochs)
        assert separator.metadata == metadata
        return AudioSeparator.from_preset(run.last).metadata

    for epochs in (1, 2):
        first = train(tmp_path / "first", released, epochs)
        assert set(first) == {"initial", "training"}
        assert first["initial"] == released
        assert first["training"]["logs"]["epoch"] == epochs - 1
    second = train(tmp_path / "second", first, 1)
    assert set(second) == {"initial", "training"}
    assert second["initial"] == first


def dense(units=3):
    """A compiled model that no run can save as a preset."""
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(units), keras.layers.Dense(1)]
    )
    model.compile(
        keras.optimizers.Adam(0.1), loss="mse", run_eagerly=tiny.EAGERLY
    )
    return model


class Points(keras.utils.PyDataset):
    def __init__(self, epoch=0):
        super().__init__()

    def __len__(self):
        return 2

    def __getitem__(self, index):
        x = np.random.default_rng(index).normal(size=(4, 2))
        return x.astype("float32"), x[:, :1].astype("float32")


def train_dense(directory, epochs, model=None, **kwargs):
    run = TrainingRun(directory, {})
    model = model or dense()
    run.fit(
        model,
        Points,
        epochs=epochs,
        save=lambda folder: model.save_weights(folder / "model.weights.h5"),
        **kwargs,
    )
    return model


def test_epochs_in_two_starts_equal_those_in_one(tmp_path):
    whole = train_dense(tmp_path / "whole", epochs=4)
    train_dense(tmp_path / "parts", epochs=2)
    assert_same_state(train_dense(tmp_path / "parts", epochs=4), whole)


def test_finished_run_trains_no_more(tmp_path):
    first = train_dense(tmp_path / "run", epochs=1)
    before = (tmp_path / "run" / "history.csv").read_bytes()
    assert_same_state(train_dense(tmp_path / "run", epochs=1), first)
    assert (tmp_path / "run" / "history.csv").read_bytes() == before


def test_the_process_is_tuned(tmp_path, monkeypatch):
    tuned = []
    monkeypatch.setattr(run_module, "tune_process", lambda: tuned.append(1))
    train_dense(tmp_path / "run", epochs=1)
    assert tuned == [1]


class TwoDevices(Devices):
    """Says how validation is to be shared, and leaves it as it is."""

    count = 2

    def share_validation(self, data, batch_size=None):
        self.batch_size = batch_size
        return data


def test_validation_of_several_devices(tmp_path):
    devices = TwoDevices()

    def train(**kwargs):
        run = TrainingRun(tmp_path / "run", {}, devices=devices)
        run.fit(
            dense(),
            Points,
            Points()[0],
            epochs=1,
            save=lambda folder: None,
            **kwargs,
        )

    with pytest.raises(ValueError, match=r"None on several devices.*steps=3"):
        train(validation_steps=3)
    train(validation_batch_size=4)
    assert devices.batch_size == 4


class Worse(keras.callbacks.Callback):
    """The first epoch is the best."""

    def on_epoch_end(self, epoch, logs=None):
        logs["loss"] = float(epoch)


class Spoils(keras.callbacks.Callback):
    """The third epoch gives weights and a loss that are not numbers."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 2:
            kernel = self.model.weights[0]
            kernel.assign(np.full(kernel.shape, np.nan, "float32"))
            logs["loss"] = np.nan


def test_nothing_is_kept_of_an_epoch_that_gave_nan(tmp_path):
    whole = train_dense(tmp_path / "whole", 4)
    with pytest.raises(FloatingPointError, match="loss is nan in epoch 3, of"):
        train_dense(tmp_path / "run", 4, callbacks=[Spoils()])
    assert len(rows(tmp_path / "run")) == 2
    assert_same_state(train_dense(tmp_path / "run", 4), whole)
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")


def test_nan_in_validation_alone(tmp_path):
    x, y = Points()[0]
    with pytest.raises(FloatingPointError, match="val_loss is nan in epoch 1"):
        train_dense(tmp_path / "run", 4, validation=(x, y * np.nan))


def begin(directory, config):
    """A run that has written something."""
    TrainingRun(directory, config)
    (directory / "logs").mkdir()


@pytest.mark.parametrize("content", ["", "[]", '{"config": {}}'])
def test_a_damaged_record_is_named(tmp_path, content):
    begin(tmp_path / "run", {})
    (tmp_path / "run/config.json").write_text(content)
    with pytest.raises(ValueError, match=r"run/config\.json is damaged"):
        TrainingRun(tmp_path / "run", {})


def test_patience_counts_over_restarts(tmp_path):
    def epochs_after(epochs):
        kwargs = {"callbacks": [Worse()], "patience": 3}
        train_dense(tmp_path / "run", epochs, **kwargs)
        return len(rows(tmp_path / "run"))

    assert epochs_after(2) == 2
    assert epochs_after(9) == 4  # epochs 1, 2, 3 were no better than epoch 0
    assert epochs_after(9) == 4  # stopped is stopped


class Counter(keras.callbacks.Callback):
    """Counts epochs, and keeps the count."""

    count = 0

    def on_epoch_end(self, epoch, logs=None):
        self.count += 1

    def get_state(self):
        return {"count": self.count}

    def set_state(self, state):
        self.count = state["count"]


def test_states_of_callbacks_are_kept(tmp_path):
    train_dense(tmp_path / "run", 2, callbacks=[Counter()])
    counter = Counter()
    train_dense(tmp_path / "run", 3, callbacks=[counter])
    assert counter.count == 3
    with pytest.raises(ValueError, match="Counter twice"):
        train_dense(tmp_path / "run", 4, callbacks=[Counter(), Counter()])


def test_nothing_but_its_own_configuration(tmp_path):
    begin(tmp_path / "run", {"bands": 4, "data": {"crop": 6.0}})
    with pytest.raises(ValueError, match=r"data\.crop: 6\.0 before, 3\.0"):
        TrainingRun(tmp_path / "run", {"bands": 4, "data": {"crop": 3.0}})
    with pytest.raises(ValueError, match="seed: 0 before, 1 now"):
        TrainingRun(
            tmp_path / "run", {"bands": 4, "data": {"crop": 6.0}}, seed=1
        )
    with pytest.raises(ValueError, match="extra: absent before, 1 now"):
        TrainingRun(
            tmp_path / "run", {"bands": 4, "data": {"crop": 6.0}, "extra": 1}
        )


def test_an_empty_run_takes_any_configuration(tmp_path):
    # A wrong option has ended it.
    TrainingRun(tmp_path / "run", {"loss": "L3"})
    run = TrainingRun(tmp_path / "run", {"loss": "L1"}, seed=1)
    assert run.config == {"loss": "L1"}
    assert len(run.sessions) == 1
    (tmp_path / "run/logs").mkdir()
    with pytest.raises(ValueError, match="loss: 'L1' before, 'L2' now"):
        TrainingRun(tmp_path / "run", {"loss": "L2"}, seed=1)


def test_named_values_may_change(tmp_path):
    begin(tmp_path / "run", {"epochs": 4})
    with pytest.raises(ValueError, match="epochs"):
        TrainingRun(tmp_path / "run", {"epochs": 5})
    run = TrainingRun(tmp_path / "run", {"epochs": 5}, may_change=["epochs"])
    assert run.config == {"epochs": 5}


def test_tuples_are_lists(tmp_path):
    TrainingRun(tmp_path / "run", {"range": (1, 2)})
    assert TrainingRun(tmp_path / "run", {"range": [1, 2]}).config == {
        "range": [1, 2]
    }


def test_values_that_json_does_not_know_are_refused(tmp_path):
    with pytest.raises(ValueError, match="config must be a dict of numbers"):
        TrainingRun(tmp_path / "run", {"path": tmp_path})
    assert not (tmp_path / "run").exists()


def test_a_directory_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("…")
    with pytest.raises(ValueError, match="holds files"):
        TrainingRun(tmp_path, {})
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_another_model_does_not_fit_the_backup(tmp_path):
    train_dense(tmp_path / "run", epochs=1)
    with pytest.raises(ValueError, match="does not fit"):
        train_dense(tmp_path / "run", epochs=2, model=dense(units=4))
    # The same weights, and an optimizer that has others.
    model = dense()
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    with pytest.raises(ValueError, match="does not fit"):
        train_dense(tmp_path / "run", epochs=2, model=model)


def test_own_save_function(tmp_path):
    train_dense(tmp_path / "run", epochs=1)
    for name in ("best", "last"):
        files = {p.name for p in (tmp_path / "run" / name).iterdir()}
        assert files == {"model.weights.h5", "training.json"}
    record = json.loads((tmp_path / "run" / "best/training.json").read_text())
    assert record["logs"]["epoch"] == 0
    assert record["backend"] == keras.config.backend()
