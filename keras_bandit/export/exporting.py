"""The function that writes every format."""

from __future__ import annotations

import hashlib
import pathlib
from typing import TYPE_CHECKING

import numpy as np
from keras import ops

from keras_bandit.common.checks import check_choice, check_chunk
from keras_bandit.common.files import (
    replace_directory,
    replace_file,
    write_json,
)
from keras_bandit.common.hidden_modules import import_openvino
from keras_bandit.export import FORMATS, UnsupportedModelError
from keras_bandit.export.description import (
    DESCRIPTION_FILE,
    HOW_TO_SEPARATE,
    MODEL_FILES,
    VERSION,
    check_export_replaceable,
)
from keras_bandit.models.core_transforms import make_transforms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keras_bandit.common.types import AnyPath, Config
    from keras_bandit.models.separator import AudioSeparator


def export_core(
    separator: AudioSeparator,
    directory: AnyPath,
    format: str = "onnx",
    *,
    stems: Sequence[str] | None = None,
    chunk_seconds: float | None = None,
    overwrite: bool = False,
) -> None:
    """Writes a separator for engines without Keras.

    `"onnx"` and `"openvino"` hold the core, what lies between a model's
    transforms, of any batch and length; the transforms are left to the
    program that runs it. `"saved_model"` and `"litert"` hold the whole of any model,
    waveform `(1, channels, samples)` to `{stem: waveform}`, for one length.

    Args:
        separator: `AudioSeparator`.
        directory: path of the directory that is made. It appears complete or
            not at all.
        format: `"onnx"`; `"openvino"` (needs the package of that name);
            `"saved_model"` or `"litert"` (both need the TensorFlow backend).
        stems: list of str, those to export; `None`: all.
        chunk_seconds: float. Length of the chunks in seconds, fixed in a
            whole model, advice in a core. `None`: the separator's own.
        overwrite: bool. Whether an export that is there is replaced.

    Raises:
        ValueError: for an unknown format or stem, or a chunk shorter than the
            model can take.
        UnsupportedModelError: if the format cannot hold the model.
        FileExistsError: if the directory is there and not empty, unless it is
            an export and `overwrite` is true.
        ImportError: if a package that the format needs is not installed.
    """
    check_choice("format", format, FORMATS)
    directory = pathlib.Path(directory)
    check_export_replaceable(directory, overwrite)
    refuse_preprocessor(separator, format)
    if stems is not None and list(stems) != list(separator.stems):
        separator = separator.with_stems(stems)
    if chunk_seconds is None:
        chunk_seconds = separator.chunk_seconds
    samples = check_chunk(
        chunk_seconds, separator.sample_rate, separator.min_samples
    )
    if format in ("onnx", "openvino"):
        core = core_bytes(separator, format)
    else:
        from keras_bandit.export.whole_model import (
            check_whole_model,
            write_whole_model,
        )

        check_whole_model(format)
    description = {
        **describe(separator, format),
        "chunk_seconds": chunk_seconds,
    }
    if format in ("saved_model", "litert"):
        description["chunk_samples"] = samples

    def write(folder):
        path = folder / MODEL_FILES[format]
        if format == "onnx":
            replace_file(path, lambda partial: partial.write_bytes(core))
        elif format == "openvino":
            openvino = import_openvino()
            model = openvino.Core().read_model(core)
            try:
                openvino.save_model(model, path, compress_to_fp16=False)
            except RuntimeError as error:  # "basic_ios::clear: iostream error"
                raise OSError(
                    f"{path}: writing broke off; is the disk full?"
                ) from error
        else:
            write_whole_model(separator, path, format, samples)
        write_json(folder / DESCRIPTION_FILE, description)

    replace_directory(directory, write)


def describe(separator: AudioSeparator, format: str) -> Config:
    """What `separator.json` says of an `AudioSeparator`: `docs/export.md`."""
    description = {
        "version": VERSION,
        "format": format,
        "model": type(separator).__name__,
        "stems": list(separator.stems),
        "sample_rate": separator.sample_rate,
        "num_channels": separator.num_channels,
        "chunk_seconds": separator.chunk_seconds,
        "min_samples": separator.min_samples,
        "silent_in_silent_out": separator.silent_in_silent_out,
        "weights_sha256": weights_checksum(separator),
        "metadata": separator.metadata,
    }
    for name, default in HOW_TO_SEPARATE.items():
        if getattr(separator, name) != default:
            description[name] = getattr(separator, name)
    if format in ("onnx", "openvino"):
        description |= separator.core_transforms()
    return description


def core_bytes(separator, format="onnx"):
    """An `AudioSeparator`'s core as the content of an ONNX file.

    Raises:
        UnsupportedModelError: as `onnx_core`, or if the model has no core.
        ImportError: if ONNX is not installed.
    """
    refuse_preprocessor(separator, format)
    try:
        from keras_bandit.export.onnx_core import onnx_core
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise ImportError(
            "onnx is not installed: pip install 'keras-bandit[export]'"
        ) from error
    try:
        core = separator.core_model()
    except ValueError as error:
        raise UnsupportedModelError(
            f"format {format} holds cores: {error}"
        ) from error
    transforms = make_transforms(separator.stems, separator.core_transforms())
    return onnx_core(core, transforms).SerializeToString()


def refuse_preprocessor(separator, format):
    """Raises `UnsupportedModelError` if Keras would change the waveform."""
    if separator.preprocessor is not None:
        raise UnsupportedModelError(
            f"format {format} holds models without a preprocessor; got "
            f"preprocessor {type(separator.preprocessor).__name__}"
        )


def weights_checksum(separator):
    """SHA-256 of a separator's weights, in their order, as hexadecimal str."""
    digest = hashlib.sha256()
    for weight in separator.weights:
        array = np.ascontiguousarray(ops.convert_to_numpy(weight))
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(array)
    return digest.hexdigest()
