"""What recipes share: their options, and how they end."""

import os
import subprocess
import sys
import types

import numpy as np
import pytest
import recipe
from small import RECIPES

# They import Keras and do nothing with it.
pytestmark = pytest.mark.once

CONFIG = {
    "preset": "p",
    "batch_size": 16,
    "learning_rate": 1e-3,
    "gain_db": 6.0,
    "initial": None,
    "stems": ["speech", "music"],
    "mixed": False,
    "nested": {"a": 1},
}
PATHS = ["--data-dir", "data", "--output", "run"]


def start(*options):
    return recipe.Recipe([*PATHS, *options], "Train.", CONFIG)


def test_what_is_given_replaces_the_defaults():
    options = ["--batch-size", "2", "--learning-rate", "1e-4", "--mixed"]
    options += ["--stems", "music,effects", "--initial", "run/last"]
    started = start(*options)
    assert started.config == {
        **CONFIG,
        "batch_size": 2,
        "learning_rate": 1e-4,
        "mixed": True,
        "stems": ["music", "effects"],
        "initial": "run/last",
    }
    assert str(started.arguments.output) == "run"
    assert started.arguments.seed == 42


def test_none_and_zero():
    config = start("--preset", "none", "--gain-db", "0").config
    assert config["preset"] is None
    assert config["gain_db"] == 0


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--batch-size=0", "--batch-size: must be positive; got 0"),
        ("--batch-size=-1", "--batch-size: must be positive; got -1"),
        ("--batch-size=2.5", "--batch-size: invalid int value: '2.5'"),
        ("--learning-rate=nan", "must be positive; got nan"),
        ("--learning-rate=inf", "must be positive; got inf"),
        ("--learning-rate=-1", "must be positive; got -1"),
        ("--gain-db=-1", "--gain-db: must be at least 0; got -1"),
    ],
)
def test_numbers_out_of_range(option, message, capsys):
    with pytest.raises(SystemExit):
        start(option)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ValueError("loss must be\n one"), 2, "r.py: error: loss must be one"),
        (FileNotFoundError(2, "No such file", "a"), 2, "a: No such file"),
        (ImportError("no module"), 2, "r.py: error: no module"),
        (KeyboardInterrupt(), 130, "the same command goes on"),
    ],
)
def test_mistakes_are_one_line(error, status, line, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["recipes/r.py"])

    def main():
        raise error

    with pytest.raises(SystemExit) as ended:
        recipe.run(main)
    assert ended.value.code == status
    written = capsys.readouterr().err
    assert written.count("\n") == 1
    assert line in written


def test_statuses_and_our_own_mistakes_pass():
    with pytest.raises(SystemExit) as ended:
        recipe.run(lambda: 1)
    assert ended.value.code == 1
    with pytest.raises(KeyError):
        recipe.run(lambda: {}["a"])


def test_recipe_as_a_program(tmp_path):
    """A mistake is one line; TensorFlow's notes are not seen."""
    command = [sys.executable, RECIPES / "bandit_dnr.py"]
    command += ["--data-dir", tmp_path, "--output", tmp_path / "run"]
    environment = dict(os.environ)
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    done = subprocess.run(
        [*command, "--preset", "bandit_demo"],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("bandit_dnr.py: error: no config 'paths' of")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("cooldown", [0, 3])
def test_rate_falls_as_pytorchs(cooldown):
    """Also when a run goes on in the middle."""
    torch = pytest.importorskip("torch")
    settings = {"factor": 0.5, "patience": 2, "cooldown": cooldown}
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **settings)
    model = types.SimpleNamespace(
        optimizer=types.SimpleNamespace(learning_rate=1.0)
    )

    def ours(state=None):
        callback = recipe.PlateauRate(**settings)
        if state is not None:
            callback.set_state(state)
        callback.set_model(model)
        callback.on_train_begin()
        return callback

    callback, rates = ours(), []
    for epoch, loss in enumerate(np.random.default_rng(0).uniform(-1, 1, 60)):
        if epoch == 20:
            callback = ours(callback.get_state())
        callback.on_epoch_end(epoch, {"val_loss": loss})
        theirs.step(loss)
        rates.append(model.optimizer.learning_rate)
        assert rates[-1] == optimizer.param_groups[0]["lr"]
    assert len(set(rates)) > 5
