"""The authors' checkpoints as Keras models."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import keras

from keras_bandit.common.checks import check_integer
from keras_bandit.convert.checkpoint_file import (
    find_setting,
    read_hparams,
    read_state_dict,
    read_target_folder,
    sha256,
    unwrap,
)
from keras_bandit.convert.demucs_files import (
    package_arguments,
    read_bag,
    read_safetensors,
)
from keras_bandit.models.bandit.bandit_checkpoint import BANDIT_V1, BANDIT_V2
from keras_bandit.models.bsrnn.bsrnn_checkpoint import BSRNN
from keras_bandit.models.htdemucs.htdemucs_checkpoint import HTDEMUCS
from keras_bandit.models.hybrid_demucs.demucs_bag import DemucsBag
from keras_bandit.models.hybrid_demucs.hybrid_demucs_checkpoint import (
    HYBRID_DEMUCS,
)
from keras_bandit.models.mrx.mrx_checkpoint import MRX
from keras_bandit.models.open_unmix.open_unmix_checkpoint import OPEN_UNMIX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from keras_bandit.common.types import AnyPath
    from keras_bandit.models.separator import AudioSeparator


FORMATS = [
    BANDIT_V1,
    BSRNN,
    BANDIT_V2,
    OPEN_UNMIX,
    MRX,
    HTDEMUCS,
    HYBRID_DEMUCS,
]
"""The index of checkpoint formats; the first that recognizes a file has it."""


def detect_format(names):
    """The `CheckpointFormat` of tensors' names; `ValueError` for no known."""
    names = list(names)
    for checkpoint_format in FORMATS:
        if checkpoint_format.recognizes(names):
            return checkpoint_format
    known = ", ".join(f.keys for f in FORMATS)
    raise ValueError(
        f"checkpoint must be one of: {known}; got names such as {names[:3]}"
    )


def _sample_rates(found, hparams, sample_rate):
    """Rates in Hz: the one that is known, or candidates, likely ones first."""
    rate = (
        sample_rate
        or find_setting(hparams, "fs")
        or find_setting(hparams, "sample_rate")
    )
    if isinstance(rate, int) and not isinstance(rate, bool) and rate > 0:
        return (rate,)
    return found.sample_rates


def _settings(found, **settings):
    """Settings that were given, if the format takes them."""
    given = {k: v for k, v in settings.items() if v is not None}
    for name in given:
        if name not in found.settings:
            raise ValueError(
                f"{name} is found from the tensors in the format {found.name}; "
                f"got {name}={given[name]!r}"
            )
    return given


def _package(checkpoint):
    """What a package of Demucs says beside its tensors."""
    package = package_arguments(checkpoint)
    if package is None:
        return {}
    return {"package": package, "sample_rate": package.get("samplerate")}


def _read(path):
    """Tensors, what files beside them say, and metadata."""
    name = os.path.basename(os.path.abspath(os.fspath(path)))
    if os.path.isdir(path):
        tensors, settings, files = read_target_folder(path)
        checksums = {f: sha256(os.path.join(path, f)) for f in files}
        return tensors, settings, {"source": name, "source_sha256": checksums}
    if name.endswith(".safetensors"):
        checkpoint, beside = read_safetensors(path), {}
    else:
        checkpoint, beside = read_state_dict(path), read_hparams(path)
    beside |= _package(checkpoint)
    metadata = {"source": name, "source_sha256": sha256(path)}
    return unwrap(checkpoint), beside, metadata


def _bag(path, sample_rate, stems):
    """A `DemucsBag` of the models that a `.yaml` file names."""
    files, weights, chunk_seconds = read_bag(path)
    members = []
    for i, file in enumerate(files):
        with keras.name_scope(f"member_{i}"):
            members.append(from_checkpoint(file, sample_rate, stems=stems))
    bag = DemucsBag(members, weights, chunk_seconds)
    bag.metadata = {
        **members[0].metadata,
        "format": "demucs_bag",
        "source": os.path.basename(path),
        "source_sha256": {
            m.metadata["source"]: m.metadata["source_sha256"] for m in members
        },
    }
    return bag


def from_checkpoint(
    checkpoint: AnyPath | Mapping[str, Any],
    sample_rate: int | None = None,
    hop_length: int | None = None,
    stems: Sequence[str] | None = None,
) -> AudioSeparator:
    """Makes a separator from a checkpoint of the authors' PyTorch code.

    The format is recognized by the names of the tensors: BandIt v1
    (`karnwatcharasupat/bandit`), as a Lightning checkpoint or a bare state
    dict; BandIt v2 (`kwatcharasupat/bandit-v2`); BSRNN with one model per
    stem, GRU or LSTM, mono or stereo. Layout, sizes and stems come from the
    tensors; the sampling rate from `fs` in an `hparams.yaml` beside the file
    or in its folder's parent, if there is one, else 48 kHz for v2 and
    44.1 kHz where the bands leave it open. Open-Unmix: a folder with a file for
    each target, a target's file alone, or the Lightning checkpoint of BandIt's
    authors. Hybrid Demucs and HTDemucs: a package (`.th`), `.safetensors`, torchaudio's
    state dict, the Lightning checkpoint of BandIt's authors, or a bag
    (`.yaml`, its models beside it).

    Args:
        checkpoint: path of a file written by `torch.save` (read as tensors
            only: a file that carries code is refused) or of a folder of them,
            or a state dict of tensors or arrays, with or without a trainer's
            wrapping.
        sample_rate: int. Hz; or `None`: found as said above. Musical bands
            are the same at every rate, so that nothing tells a wrong one.
        hop_length: int. Samples between frames, for Open-Unmix; `None`: from
            JSON files in the folder, or a quarter of a frame.
        stems: list of str. Names of Open-Unmix's targets: of a file alone, or
            those to take from a folder; `None`: all. Names of Hybrid Demucs's
            and HTDemucs's stems in the file's order; `None`: as in a package,
            or usual.

    Returns:
        `AudioSeparator` of the model's class. Its `metadata` says where it
        came from.

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: for a file from before PyTorch 1.6, without PyTorch.
        ValueError: if the file is no checkpoint or carries code, the format
            or the bands are unknown, or tensors are missing, unexpected or
            misshapen (all are listed).
    """
    if sample_rate is not None:
        sample_rate = check_integer("sample_rate", sample_rate, 1)
    if hop_length is not None:
        hop_length = check_integer("hop_length", hop_length, 1)
    if not isinstance(checkpoint, (str, os.PathLike)):
        beside, metadata = _package(checkpoint), {}
        tensors = unwrap(checkpoint)
    elif os.fspath(checkpoint).endswith((".yaml", ".yml")):
        return _bag(os.fspath(checkpoint), sample_rate, stems)
    else:
        tensors, beside, metadata = _read(checkpoint)
    found = detect_format(tensors)
    if "hop_length" in found.settings and hop_length is None:
        hop_length = beside.get("hop_length")
    settings = _settings(found, hop_length=hop_length, stems=stems)
    if "package" in found.settings:
        settings["package"] = beside.get("package")
    rates = _sample_rates(found, beside, sample_rate)
    separator = found.build(tensors, rates, **settings)
    separator.metadata = {
        "format": found.name,
        "license": "that of the source checkpoint",
        **metadata,
    }
    return separator
