"""`separator.json`: what an exported model is."""

import os

from keras_bandit.common.files import check_replaceable, read_json

DESCRIPTION_FILE = "separator.json"

# Format → the file or, of a SavedModel, the directory that a runtime opens.
MODEL_FILES = {
    "onnx": "core.onnx",
    "openvino": "core.xml",
    "saved_model": ".",
    "litert": "separator.tflite",
}

VERSION = 1
"""Of `separator.json` and of how cores are written."""

# Key → type of what a core's description must hold.
_KEYS = {
    "version": int,
    "format": str,
    "stems": list,
    "sample_rate": int,
    "num_channels": (int, type(None)),
    "chunk_seconds": (int, float),
    "min_samples": int,
    "silent_in_silent_out": bool,
    "metadata": dict,
    "stft": dict,
}
_STFT_KEYS = {"n_fft": int, "hop_length": int, "pad_mode": str}


def is_exported_core(path):
    """Whether a directory holds an export."""
    return os.path.isfile(os.path.join(path, DESCRIPTION_FILE))


def check_export_replaceable(directory, overwrite):
    """`check_replaceable`, for an export."""
    kind = f"an export (no {DESCRIPTION_FILE})"
    check_replaceable(directory, overwrite, kind, is_exported_core)


def read_description(folder):
    """Reads the description of an exported core, a dict: `docs/export.md`.

    `ValueError` if it is damaged, of another version, or of a whole model.
    """
    path = os.path.join(folder, DESCRIPTION_FILE)
    description = read_json(path)
    _check(path, description, {"version": int, "format": str})
    if description["version"] != VERSION:
        raise ValueError(
            f"{path} must have version {VERSION}; got {description['version']}"
        )
    if description["format"] not in ("onnx", "openvino"):
        raise ValueError(
            f"{path} must be of a core, format onnx or openvino; got "
            f"{description['format']!r}"
        )
    _check(path, description, _KEYS)
    _check(path, description["stft"], _STFT_KEYS)
    return description


def _check(path, content, keys):
    for key, kind in keys.items():
        if not isinstance(content.get(key), kind):
            raise ValueError(f"{path} has no valid {key!r}")
