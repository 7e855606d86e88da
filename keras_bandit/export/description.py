"""`separator.json`: what an exported model is."""

import os

from keras_bandit.common.checks import (
    check_choice,
    check_integer,
    check_seconds,
    check_stem_names,
)
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
}
_STFT_KEYS = {"n_fft": int, "hop_length": int, "pad_mode": str}

HOW_TO_SEPARATE = {
    "linked_channels": False,
    "crossfade": "hann",
    "target_lufs": None,
    "normalize_recording": None,
    "standardize_recording": False,
    "transition_power": 1.0,
}
"""Attributes of `AudioSeparator` that `separate` asks for; defaults are left
out of a description."""


def is_exported_core(path):
    """Whether a directory holds an export."""
    return os.path.isfile(os.path.join(path, DESCRIPTION_FILE))


def check_export_replaceable(directory, overwrite):
    """`check_replaceable`, for an export."""
    from keras_bandit.models.presets import is_preset_directory  # with NumPy

    check_replaceable(
        directory,
        overwrite,
        f"an export ({DESCRIPTION_FILE} without a preset)",
        lambda path: is_exported_core(path) and not is_preset_directory(path),
    )


class DamagedExportError(ValueError):
    """An export whose files are not as they were written."""


def read_description(folder):
    """Reads the description of an exported core, a dict: `docs/export.md`.

    `DamagedExportError` if it is damaged, of another version, or of a whole
    model.
    """
    try:
        return _read_description(folder)
    except ValueError as error:
        raise DamagedExportError(str(error)) from error


def _read_description(folder):
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
    from keras_bandit.models.core_transforms import (  # with NumPy
        TRANSFORMS,
        make_transforms,
    )

    kinds = TRANSFORMS.keys() & description.keys()
    _check(path, description, dict.fromkeys(kinds, dict))
    if "stft" in kinds:
        _check(path, description["stft"], _STFT_KEYS)
    try:
        _check_values(**description)
        make_transforms(description["stems"], description)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    return description


def _check_values(
    stems,
    sample_rate,
    num_channels,
    chunk_seconds,
    min_samples,
    stft=None,
    normalize_recording=None,
    **_,
):
    check_stem_names(stems)
    check_integer("sample_rate", sample_rate, 1)
    check_integer("min_samples", min_samples, 1)
    if num_channels is not None:
        check_integer("num_channels", num_channels, 1)
    check_seconds("chunk_seconds", chunk_seconds)
    if normalize_recording is not None:
        from keras_bandit.common.loudness import LEVELS  # with NumPy

        check_choice("normalize_recording", normalize_recording, LEVELS)
    if stft is None:
        return
    hop_length = check_integer("hop_length", stft["hop_length"], 1)
    if check_integer("n_fft", stft["n_fft"], 2 * hop_length) % 2:
        raise ValueError(f"n_fft must be even; got {stft['n_fft']}")
    check_choice("pad_mode", stft["pad_mode"], ("constant", "reflect"))
    if set(stft) - {*_STFT_KEYS, "extra_frame"}:
        raise ValueError(f"stft has other keys than {[*_STFT_KEYS]}")


def _check(path, content, keys):
    for key, kind in keys.items():
        if not isinstance(content.get(key), kind):
            raise ValueError(f"{path} has no valid {key!r}")
