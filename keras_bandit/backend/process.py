"""Settings of a whole process: for programs, which own theirs."""

import ctypes
import importlib
import sys

# Of glibc's <malloc.h>.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def tune_process():
    """Makes this process faster on a CPU, at what models here do.

    - Freed memory is kept for the next call instead of being given back to the
      system (glibc), which would have to clear each page of it again. The
      process's peak memory hardly changes; what it holds in between does.
    - PyTorch, if Keras runs on it, leaves float32 products to oneDNN where a
      probe shows that nothing is lost (see `onednn_products.py`), in all
      layers and their gradients.

    The recipes' `TrainingRun` and the command line call this. A library
    should leave it to the program that uses it. Times with and without stand
    in `docs/performance.md`.
    """
    _keep_freed_memory()
    keras = sys.modules.get("keras")
    if keras is not None and keras.config.backend() == "torch":
        importlib.import_module(
            "keras_bandit.backend.onednn_products"
        ).allow_onednn_products()


def _keep_freed_memory():
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not in musl
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)
