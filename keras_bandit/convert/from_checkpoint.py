"""The authors' checkpoints as Keras models."""

import os

from keras_bandit.common.checks import check_integer
from keras_bandit.convert.checkpoint_file import (
    find_setting,
    read_hparams,
    read_state_dict,
    sha256,
    unwrap,
)
from keras_bandit.models.bandit.bandit_checkpoint import BANDIT_V1, BANDIT_V2
from keras_bandit.models.bsrnn.bsrnn_checkpoint import BSRNN

FORMATS = [BANDIT_V1, BSRNN, BANDIT_V2]
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


def from_checkpoint(checkpoint, sample_rate=None):
    """Makes a separator from a checkpoint of the authors' PyTorch code.

    The format is recognized by the names of the tensors: BandIt v1
    (`karnwatcharasupat/bandit`), as a Lightning checkpoint or a bare state
    dict; BandIt v2 (`kwatcharasupat/bandit-v2`); BSRNN with one model per
    stem, GRU or LSTM, mono or stereo. Layout, sizes and stems come from the
    tensors; the sampling rate from `fs` in an `hparams.yaml` beside the file
    or in its folder's parent, if there is one, else 48 kHz for v2 and
    44.1 kHz where the bands leave it open.

    Args:
        checkpoint: path of a file written by `torch.save` (read as tensors
            only: a file that carries code is refused), or a state dict of
            tensors or arrays, with or without a trainer's wrapping.
        sample_rate: int. Hz; or `None`: found as said above. Musical bands
            are the same at every rate, so that nothing tells a wrong one.

    Returns:
        `BanditAudioSeparator` or `BSRNNAudioSeparator`. Its `metadata` says
        where it came from.

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: for a file, without PyTorch.
        ValueError: if the file is no checkpoint or carries code, the format
            or the bands are unknown, or tensors are missing, unexpected or
            misshapen (all are listed).
    """
    if sample_rate is not None:
        sample_rate = check_integer("sample_rate", sample_rate, 1)
    metadata, hparams = {}, {}
    if isinstance(checkpoint, (str, os.PathLike)):
        path, checkpoint = checkpoint, read_state_dict(checkpoint)
        hparams = read_hparams(path)
        metadata = {
            "source": os.path.basename(os.fspath(path)),
            "source_sha256": sha256(path),
        }
    tensors = unwrap(checkpoint)
    found = detect_format(tensors)
    separator = found.build(tensors, _sample_rates(found, hparams, sample_rate))
    separator.metadata = {
        "format": found.name,
        "license": "that of the source checkpoint",
        **metadata,
    }
    return separator
