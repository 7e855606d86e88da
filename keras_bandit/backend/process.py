"""Settings of a whole process: for programs, which own theirs."""

import contextlib
import ctypes
import sys

import keras

from keras_bandit.common.hidden_modules import hidden_module

# Of glibc's <malloc.h>.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def tune_process():
    """Makes this process faster on a CPU, at what models here do.

    - Freed memory is kept for the next call instead of being given back to the
      system (glibc), which would have to clear each page of it again. The
      process's peak memory hardly changes; what it holds in between does.
    - PyTorch, if Keras runs on it and there is no GPU, leaves float32 products
      to oneDNN where a probe shows that nothing is lost: in all layers and
      their gradients, as after `torch.set_float32_matmul_precision("medium")`.

    Both last until the process ends. `TrainingRun.fit`, which is what a recipe
    does in its process, and the command line on Keras call this; other
    functions of this package leave it to the program. Times with and without
    stand in `docs/performance.md`.
    """
    _keep_freed_memory()
    if keras.config.backend() == "torch":
        from keras_bandit.backend.onednn_products import allow_onednn_products

        allow_onednn_products()


def without_tensorflow():
    """A block in which TensorFlow is not imported, as if not installed.

    Unless it has been already, or Keras runs on it. KerasHub (0.32) imports it
    on every backend, and to load any local preset; that takes seconds and half
    a gigabyte, and only presets in TensorFlow's remote file systems need it.
    KerasHub, if first imported here, does without it until the process ends.
    """
    if keras.config.backend() == "tensorflow":
        return contextlib.nullcontext()
    return hidden_module("tensorflow")


def _keep_freed_memory():
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not in musl
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)
