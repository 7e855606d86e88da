"""Separation of recordings and of files: `separate` and `separate_file`.

What is named here is imported on first use: reading the defaults costs nothing.
"""

from importlib import import_module

DEFAULT_BATCH_SIZE = 2
"""Chunks per call of the model: small enough for a CPU, and a stereo file,
whose two channels are two chunks, wastes none on padding the last batch."""

MAX_BATCH_SIZE = 65_536
"""No array could hold some larger batches."""


_HOME = {
    "separate": "separation",
    "check_file": "files",
    "separate_file": "files",
    "CoreSeparator": "core_separator",
}


def __getattr__(name):
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
