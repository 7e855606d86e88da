"""Reading PyTorch checkpoints as plain arrays."""

import hashlib
import os
import re

import numpy as np

from keras_bandit.common.extras import require
from keras_bandit.common.files import read_json
from keras_bandit.common.one_line import one_line
from keras_bandit.convert.demucs_files import PACKAGES
from keras_bandit.convert.torch_file import is_zip, read_torch_file

WRAPPERS = ("state_dict", "model_state_dict", "state")


def to_array(name, value):
    """A PyTorch tensor or array of real numbers as a float32 NumPy array."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value
        if value.is_sparse:
            raise ValueError(f"checkpoint entries must be dense; {name} is not")
        value = value.numpy()
    if not isinstance(value, np.ndarray):
        raise ValueError(
            f"checkpoint entries must be tensors; {name} is a "
            f"{type(value).__name__}"
        )
    if value.dtype.kind not in "fiu":
        raise ValueError(
            f"checkpoint entries must be real numbers; {name} has dtype "
            f"{value.dtype}"
        )
    if not np.isfinite(value).all():
        raise ValueError(
            f"checkpoint entries must not be NaN or infinity; {name} has some"
        )
    return value.astype("float32")


def read_state_dict(path):
    """Reads a file of `torch.save` without running code from it.

    PyTorch is needed only for files as it wrote them before 1.6, which are no
    zip archives. Returns and raises what `from_checkpoint` takes and raises.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no checkpoint file at {path!r}")
    if is_zip(path):
        return read_torch_file(path, PACKAGES)
    with open(path, "rb") as file:
        if file.read(1) != b"\x80":  # how a pickle begins
            raise ValueError(f"{path!r} is not a PyTorch checkpoint")
    torch = require("torch", "torch", f"{path!r}, saved as before PyTorch 1.6,")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # Damaged files end in errors of any kind (IndexError, TypeError, …).
        # PyTorch goes on with advice to allow what it refuses.
        found = re.search(r"GLOBAL (\S+)", str(error))
        if found:
            raise ValueError(
                "checkpoint is refused: it carries code or objects beside "
                f"tensors ({found[1].rstrip('.,')})"
            ) from error
        raise ValueError(
            f"{path!r} is not a PyTorch checkpoint, or is damaged: "
            f"{one_line(error)}"
        ) from error


def unwrap(checkpoint):
    """Takes the state dict, `{name: float32 array}`, out of a trainer's.

    Where names have the prefix `model.` (PyTorch Lightning) only those are
    kept, without it. `ValueError` if it is not a dict of tensors.
    """
    for wrapper in WRAPPERS:
        inner = isinstance(checkpoint, dict) and checkpoint.get(wrapper)
        checkpoint = inner if isinstance(inner, dict) else checkpoint
    if not isinstance(checkpoint, dict):
        raise ValueError(
            "a checkpoint must be a dict of tensors; got "
            f"{type(checkpoint).__name__}"
        )
    if not checkpoint:
        raise ValueError("a checkpoint must hold tensors; got an empty dict")
    for name in checkpoint:
        if not isinstance(name, str):
            raise ValueError(
                f"checkpoint entries must have names; got {name!r}"
            )
    lightning = [name for name in checkpoint if name.startswith("model.")]
    return {
        name.removeprefix("model."): to_array(name, checkpoint[name])
        for name in lightning or checkpoint
    }


# Open-Unmix's: vocals-b62c91ce.pth, speech_f5e0d9f9.pth, drums.pth
_TARGET_FILE = re.compile(r"(.+?)([-_][0-9a-f]{8})?\.(pth|chkpnt)")

# The order of released folders; files have none.
_TARGET_ORDER = ["vocals", "drums", "bass", "other", "speech", "music"]


def read_target_folder(folder):
    """Reads a folder with a file for each target, as Open-Unmix writes it.

    Args:
        folder: path. `separator.json` and `<target>.json` may be there too.

    Returns:
        `{"target_models.<target>.<name>": float32 array}`, what the JSON
        files say (`hop_length`, `sample_rate`), and the files' names.

    Raises:
        ValueError: if there is no such file, two of one target, or one that
            cannot be read.
    """
    found = {}
    for name in sorted(os.listdir(folder), reverse=True):  # .pth, .chkpnt
        match = _TARGET_FILE.fullmatch(name)
        if not match:
            continue
        target = match[1]
        if target in found and name.endswith(".pth"):
            raise ValueError(
                f"{os.fspath(folder)!r} must have one file for each target; "
                f"got {found[target]} and {name}"
            )
        found.setdefault(target, name)
    if not found:
        raise ValueError(
            f"{os.fspath(folder)!r} has no file <target>.pth, as folders of "
            "Open-Unmix do"
        )

    def order(target):
        if target in _TARGET_ORDER:
            return (_TARGET_ORDER.index(target), target)
        return (len(_TARGET_ORDER), target)

    tensors = {}
    for target in sorted(found, key=order):
        path = os.path.join(folder, found[target])
        for name, value in unwrap(read_state_dict(path)).items():
            tensors[f"target_models.{target}.{name}"] = value
    files = ["separator.json", *(f"{target}.json" for target in found)]
    settings = {}
    for name in files:
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            content = read_json(path)
            content = content.get("args", content)
            for ours, theirs in _JSON_SETTINGS.items():
                value = content.get(theirs)
                if isinstance(value, (int, float)) and value >= 1:
                    settings.setdefault(ours, int(value))
    return tensors, settings, list(found.values())


_JSON_SETTINGS = {"hop_length": "nhop", "sample_rate": "sample_rate"}


def sha256(path):
    """Checksum of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_hparams(path):
    """Reads `hparams.yaml` beside a checkpoint or in its folder's parent.

    A dict, empty if there is none; `ValueError` if it is not plain YAML.
    """
    import yaml

    folder = os.path.dirname(os.path.abspath(os.fspath(path)))
    for candidate in (folder, os.path.dirname(folder)):
        hparams = os.path.join(candidate, "hparams.yaml")
        if not os.path.isfile(hparams):
            continue
        with open(hparams, encoding="utf-8") as file:
            try:
                found = yaml.safe_load(file)
            except yaml.YAMLError as error:
                raise ValueError(
                    f"{hparams!r} is not plain YAML: {error}"
                ) from error
        return found if isinstance(found, dict) else {}
    return {}


def find_setting(hparams, name):
    """First value of a key in nested dicts, depth first, or `None`."""
    if not isinstance(hparams, dict):
        return None
    if hparams.get(name) is not None and not isinstance(hparams[name], dict):
        return hparams[name]
    for value in hparams.values():
        found = find_setting(value, name)
        if found is not None:
            return found
    return None
