"""The authors' checkpoints as Keras models."""

import os

import numpy as np

from keras_bandit.bands import band_layout
from keras_bandit.common.checks import check_integer
from keras_bandit.convert.checkpoint_file import (
    find_setting,
    read_hparams,
    read_state_dict,
    sha256,
    unwrap,
)
from keras_bandit.convert.formats import (
    BANDIT_V2,
    BSRNN,
    frequency_weights,
    split_models,
)
from keras_bandit.convert.sizes import check_shapes, find_bands, read_sizes
from keras_bandit.convert.weights import assign_decoder, assign_encoder
from keras_bandit.models import (
    BanditAudioSeparator,
    BanditBackbone,
    BSRNNAudioSeparator,
    BSRNNBackbone,
)

MAX_LISTED = 20


def _n_fft(tensors):
    """Frame length: that of the window, 2048 (the authors') without one."""
    window = tensors.get("stft.window", np.zeros(2048))
    return len(window)


def _sample_rates(found, hparams, sample_rate):
    """Candidate rates in Hz, most likely first."""
    rate = (
        sample_rate
        or find_setting(hparams, "fs")
        or find_setting(hparams, "sample_rate")
    )
    if isinstance(rate, int) and rate > 0:
        return (rate,)
    return (48000, 44100) if found == BANDIT_V2 else (44100, 48000)


def _describe(models):
    """Sizes and bands of each model, `{stem: (model, sizes, weights)}`."""
    described, problems = {}, []
    for stem, model in models.items():
        weights = frequency_weights(model)
        sizes = read_sizes(model)
        prefix = f"{stem}: " if stem else ""
        problems += check_shapes(model, sizes, prefix)
        if weights:
            missing = [b for b in range(len(sizes.widths)) if b not in weights]
            problems += [f"missing: {prefix}freq_weights/{b}" for b in missing]
            weights = [weights.get(b) for b in range(len(sizes.widths))]
        described[stem] = (model, sizes, weights or None)
    if problems:
        rest = len(problems) - MAX_LISTED
        listed = "\n  ".join(problems[:MAX_LISTED])
        more = f"\n  … and {rest} more" if rest > 0 else ""
        raise ValueError(
            f"checkpoint does not fit its own sizes:\n  {listed}{more}"
        )
    return described


def _bandit(described, n_fft, sample_rates, pad_mode):
    model, sizes, weights = described[None]
    layout, num_bands, sample_rate, channels = find_bands(
        sizes.widths, weights, n_fft, sample_rates
    )
    if channels != 1:
        raise ValueError(
            f"BandIt has one input channel; this checkpoint has {channels}"
        )
    backbone = BanditBackbone(
        band_layout=layout,
        num_bands=num_bands,
        n_fft=n_fft,
        sample_rate=sample_rate,
        **_network(sizes),
    )
    separator = BanditAudioSeparator(
        backbone, list(sizes.stems), mlp_dim=sizes.mlp_dim, pad_mode=pad_mode
    )
    assign_encoder(backbone, model, sizes)
    for stem in sizes.stems:
        assign_decoder(separator.decoders[stem], model, stem, sizes)
    return separator


def _bsrnn(described, n_fft, sample_rates):
    found = {
        stem: find_bands(sizes.widths, weights, n_fft, sample_rates)
        for stem, (_, sizes, weights) in described.items()
    }
    networks = {
        stem: (_network(sizes), sizes.mlp_dim, found[stem][2:])
        for stem, (_, sizes, _) in described.items()
    }
    network, mlp_dim, (sample_rate, channels) = next(iter(networks.values()))
    if any(
        n != (network, mlp_dim, (sample_rate, channels))
        for n in networks.values()
    ):
        raise ValueError(
            f"the stems' models must have the same sizes; got {networks}"
        )
    stems = list(described)
    backbone = BSRNNBackbone(
        stems,
        band_layout={
            stem: _layout(*found[stem][:2], n_fft, sample_rate)
            for stem in stems
        },
        num_channels=channels,
        n_fft=n_fft,
        sample_rate=sample_rate,
        **network,
    )
    separator = BSRNNAudioSeparator(backbone, stems, mlp_dim=mlp_dim)
    for stem, (model, sizes, _) in described.items():
        assign_encoder(backbone.encoders[stem], model, sizes)
        assign_decoder(separator.decoders[stem], model, stem, sizes)
    return separator


def _layout(layout, num_bands, n_fft, sample_rate):
    """A layout that needs no number of bands: stems may differ in theirs."""
    if num_bands is None:
        return layout
    return band_layout(layout, num_bands, n_fft, sample_rate)


def _network(sizes):
    return {
        "embed_dim": sizes.embed_dim,
        "rnn_dim": sizes.rnn_dim,
        "num_pairs": sizes.num_blocks // 2,
        "rnn_type": sizes.rnn_type,
    }


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
    found, models = split_models(tensors)
    described = _describe(models)
    n_fft = _n_fft(tensors)
    rates = _sample_rates(found, hparams, sample_rate)
    if found == BSRNN:
        separator = _bsrnn(described, n_fft, rates)
    else:
        pad_mode = "reflect" if found == BANDIT_V2 else "constant"
        separator = _bandit(described, n_fft, rates, pad_mode)
    separator.metadata = {
        "format": found,
        "license": "that of the source checkpoint",
        **metadata,
    }
    return separator
