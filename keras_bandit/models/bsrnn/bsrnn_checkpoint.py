"""BSRNN checkpoints of BandIt's authors: a network for each stem."""

import re

from keras_bandit.bands import band_layout
from keras_bandit.models.band_split_checkpoint import read_models
from keras_bandit.models.bsrnn.bsrnn_audio_separator import (
    BSRNNAudioSeparator,
    BSRNNBackbone,
)
from keras_bandit.models.checkpoint_format import CheckpointFormat


def split_stems(tensors):
    """Each stem's tensors under the common naming, `{stem: {name: array}}`."""
    models = {}
    for name, value in tensors.items():
        # bsrnn . vocals . mask_estim . norm_mlp.…
        _, stem, rest = (*name.split(".", 2), "", "")[:3]
        rest = rest.replace("mask_estim.", f"mask_estim.{stem}.", 1)
        models.setdefault(stem, {})[rest] = value
    return models


def _layout(model):
    """A layout that needs no number of bands: stems may differ in theirs."""
    if model.num_bands is None:
        return model.layout
    return band_layout(
        model.layout, model.num_bands, model.n_fft, model.sample_rate
    )


def build(tensors, sample_rates):
    """A BSRNN as a `BSRNNAudioSeparator`."""
    models = read_models(tensors, split_stems, sample_rates)
    networks = {
        stem: (model.network(), model.sizes.mlp_dim, model.num_channels)
        for stem, model in models.items()
    }
    network, mlp_dim, num_channels = next(iter(networks.values()))
    if any(n != (network, mlp_dim, num_channels) for n in networks.values()):
        raise ValueError(
            f"the stems' models must have the same sizes; got {networks}"
        )
    backbone = BSRNNBackbone(
        list(models),
        {stem: _layout(model) for stem, model in models.items()},
        num_channels=num_channels,
        **network,
    )
    separator = BSRNNAudioSeparator(backbone, list(models), mlp_dim=mlp_dim)
    for stem, model in models.items():
        decoder = separator.decoders[stem]
        model.fill(backbone.encoders[stem], {stem: decoder})
    return separator


BSRNN = CheckpointFormat(
    "bsrnn",
    "BSRNN (bsrnn.<stem>.band_split.…)",
    lambda names: any(
        re.match(r"bsrnn\.[^.]+\.band_split\.", n) for n in names
    ),
    (44100, 48000),
    build,
)
