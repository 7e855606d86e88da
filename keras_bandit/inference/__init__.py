"""Separation of recordings and of files: `separate` and `separate_file`.

What is named here is imported on first use: reading the defaults costs nothing.
"""

from importlib import import_module

TYPE_CHECKING = False  # as in `keras_bandit`
if TYPE_CHECKING:
    from keras_bandit.inference.core_separator import (
        CoreSeparator as CoreSeparator,
    )
    from keras_bandit.inference.files import check_file as check_file
    from keras_bandit.inference.files import separate_file as separate_file
    from keras_bandit.inference.separation import separate as separate

DEFAULT_BATCH_SIZE = 2
"""Chunks per call of the model: small enough for a CPU, and a stereo file,
whose two channels are two chunks, wastes none on padding the last batch."""

MAX_BATCH_SIZE = 65_536
"""No array could hold some larger batches."""

CHUNKINGS = {
    "bandit": {"chunk_seconds": 6.0, "hop_seconds": 0.5},
    "bandit_v2": {"chunk_seconds": 8.0, "hop_seconds": 1.0},
    "mdx23": {"chunk_seconds": 3.0, "hop_seconds": 2.5},
    "long": {"chunk_seconds": 12.0, "hop_seconds": 10.0},
}
"""Arguments of `separate`. Authors chose those of BandIt (arXiv:2309.02539),
BandIt v2 and a BSRNN for MDX-23 (slides by Landschoot). `"long"` is ours: 40 %
less work than the default of BandIt's models; docs/inference.md measures it."""

_HOME = {
    "separate": "separation",
    "check_file": "files",
    "separate_file": "files",
    "CoreSeparator": "core_separator",
}

__all__ = sorted(_HOME)


if not TYPE_CHECKING:  # a checker would take any name for one of these

    def __getattr__(name):
        if name in _HOME:
            return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
