"""Keras's backend: chosen before Keras is imported, and a quiet import."""

import contextlib
import importlib
import importlib.util
import os
import sys

from keras_bandit.cli.console import CommandError
from keras_bandit.common.hidden_modules import hidden_module
from keras_bandit.common.quiet import quiet_tensorflow

BACKENDS = ("tensorflow", "jax", "torch")


def choose_backend(backend):
    """Sets Keras's backend before Keras is imported; `None` leaves the choice.

    `CommandError` if it isn't installed, or Keras already runs on another one.
    """
    if backend is None:
        return
    if "keras" in sys.modules:
        running = sys.modules["keras"].backend.backend()
        if running != backend:
            raise CommandError(
                f"Keras already runs on {running} in this process; got "
                f"--backend {backend}"
            )
    _check_installed(backend)
    os.environ["KERAS_BACKEND"] = backend


def _check_installed(backend):
    if importlib.util.find_spec(backend) is None:
        raise CommandError(
            f"the backend {backend} is not installed: "
            f"pip install 'keras-bandit[{backend}]'"
        )


def import_keras():
    """Imports Keras and KerasHub without TensorFlow's start messages.

    Where `KERAS_BACKEND` names another backend, JAX is not imported either:
    Keras (3.15) and TensorFlow's converter would, for most of a second.

    `CommandError` if it names none, or one that isn't installed.
    """
    named = os.environ.get("KERAS_BACKEND")
    if named and "keras" not in sys.modules:
        if named not in BACKENDS:
            raise CommandError(
                f"KERAS_BACKEND must be one of {', '.join(BACKENDS)}; got "
                f"{named!r}"
            )
        _check_installed(named)
    without_jax = contextlib.nullcontext()
    if os.environ.get("KERAS_BACKEND", "jax") != "jax":
        without_jax = hidden_module("jax")
    with quiet_tensorflow(), without_jax:
        from keras_bandit.backend.process import without_tensorflow

        with without_tensorflow():
            importlib.import_module("keras_hub")
