"""Demucs's files: packages, their form without pickle, bags of them."""

import fractions
import json
import os
import re

import numpy as np

from keras_bandit.common.one_line import one_line

HERE = (
    "demucs.hdemucs.HDemucs",
    "demucs.htdemucs.HTDemucs",
    "demucs.train.TorchHDemucsWrapper",
)
NOT_HERE = ("demucs.demucs.Demucs",)
PACKAGES = HERE + NOT_HERE
"""Classes that a package may name; none is looked for or called."""


def package_arguments(checkpoint):
    """What a package says of its model: the arguments of its class.

    `checkpoint` is a dict as files are read; `None` is returned if it is no
    package.

    Raises:
        ValueError: if it is a package of another model than Hybrid Demucs and
            HTDemucs, or has quantized weights.
    """
    if not isinstance(checkpoint, dict) or "klass" not in checkpoint:
        return None
    name = checkpoint["klass"]
    if isinstance(name, type):
        name = f"{name.__module__}.{name.__name__}"
    if name not in HERE:
        raise ValueError(
            "a package of Demucs must hold a demucs.hdemucs.HDemucs or a "
            f"demucs.htdemucs.HTDemucs; got {name}, another model"
        )
    state, kwargs = checkpoint.get("state"), checkpoint.get("kwargs")
    if not isinstance(state, dict) or "__quantized" in state:
        raise ValueError(
            "a package of Demucs must hold tensors; this one's weights are "
            "quantized by DiffQ"
        )
    if not isinstance(kwargs, dict) or checkpoint.get("args"):
        raise ValueError("a package of Demucs must name all its arguments")
    return kwargs


def _fraction(value):
    """A fraction of what JSON has of one, or the object as it is."""
    if value.get("_type") != "fraction":
        return value
    return fractions.Fraction(value["numerator"], value["denominator"])


_DTYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "I64": "<i8"}


def read_safetensors(path):
    """Reads a `.safetensors` file: a JSON header, then arrays.

    That is the whole format, so that no library is needed.

    Returns:
        `{"state": {name: array}}`, with `klass` and `kwargs` if the header
        has them, as Demucs 4.1 writes it.

    Raises:
        ValueError: if it is damaged, or has a dtype that is not here.
    """
    with open(path, "rb") as file:
        content = file.read()
    try:
        first = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:first])
        metadata = header.pop("__metadata__", {})
        found = {"state": {}}
        for name, entry in header.items():
            start, stop = (first + offset for offset in entry["data_offsets"])
            array = np.frombuffer(content[start:stop], _DTYPES[entry["dtype"]])
            found["state"][name] = array.reshape(entry["shape"])
        if "structure" in metadata:  # of quantized weights
            found["state"]["__quantized"] = True
        if "klass" in metadata:
            found["klass"] = metadata["klass"]
            found["args"] = json.loads(metadata.get("args", "[]"))
            found["kwargs"] = json.loads(
                metadata["kwargs"], object_hook=_fraction
            )
        return found
    except Exception as error:
        raise ValueError(
            f"{os.fspath(path)!r} is not a .safetensors file, or is damaged: "
            f"{one_line(error)}"
        ) from error


def read_bag(path):
    """Reads a bag's `.yaml`: which models, their weights, chunks.

    Files of the models are those beside it named after their signature:
    `SIGNATURE.safetensors`, `SIGNATURE.th` or `SIGNATURE-<checksum>.th`.

    Returns:
        paths of the models' files; weights, a list for each model of numbers
        for each stem, or `None`; chunks in seconds, or `None`.

    Raises:
        ValueError: if it is no bag, or a model's file is not there.
    """
    import yaml

    with open(path, encoding="utf-8") as file:
        try:
            bag = yaml.safe_load(file)
        except yaml.YAMLError as error:
            raise ValueError(f"{path!r} is not plain YAML: {error}") from error
    if not isinstance(bag, dict) or not isinstance(bag.get("models"), list):
        raise ValueError(f"{path!r} must have models, a list of signatures")
    folder = os.path.dirname(os.path.abspath(path))
    there, files = sorted(os.listdir(folder)), []
    for signature in bag["models"]:
        name = (
            re.escape(str(signature)) + r"(\.safetensors|(-[0-9a-f]{8})?\.th)"
        )
        found = [file for file in there if re.fullmatch(name, file)]
        if not found:
            raise ValueError(
                f"{path!r} needs {signature}.th or {signature}.safetensors "
                "beside it"
            )
        # Without pickle, if there is a choice.
        found.sort(key=lambda file: not file.endswith(".safetensors"))
        files.append(os.path.join(folder, found[0]))
    return files, bag.get("weights"), bag.get("segment")
