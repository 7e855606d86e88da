"""Keras's backend: chosen in time, and imported quietly."""

import importlib
import os
import sys
import types

import pytest

from keras_bandit.cli.backend import choose_backend, import_keras
from keras_bandit.cli.console import CommandError


def test_backend_is_set_before_keras(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    choose_backend("jax")
    assert os.environ["KERAS_BACKEND"] == "jax"
    choose_backend(None)
    assert os.environ["KERAS_BACKEND"] == "jax"


@pytest.mark.parametrize("level", [None, "0"])
def test_tensorflow_starts_quietly_unless_the_user_has_set_its_level(
    monkeypatch, capfd, level
):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "")  # put back afterwards
    del os.environ["TF_CPP_MIN_LOG_LEVEL"]
    if level:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = level

    monkeypatch.setattr(
        importlib, "import_module", lambda name: os.write(2, b"no GPU\n")
    )
    import_keras()
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == (level or "3")
    assert capfd.readouterr().err == ("no GPU\n" if level else "")


def test_backend_that_is_missing_or_too_late(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    with pytest.raises(CommandError, match=r"keras-bandit\[jax\]"):
        choose_backend("jax")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(CommandError, match=r"keras-bandit\[jax\]"):
        import_keras()
    monkeypatch.setenv("KERAS_BACKEND", "foo")
    with pytest.raises(CommandError, match=r"one of .*torch; got 'foo'"):
        import_keras()
    running = types.SimpleNamespace(
        backend=types.SimpleNamespace(backend=lambda: "torch")
    )
    monkeypatch.setitem(sys.modules, "keras", running)
    with pytest.raises(CommandError, match="already runs on torch"):
        choose_backend("jax")
