"""MRX's files: how they are recognized and where tensors go."""

import re

from keras_bandit.models.checkpoint_format import (
    CheckpointFormat,
    check_stem_count,
)
from keras_bandit.models.mrx.mrx_audio_separator import MRXAudioSeparator
from keras_bandit.models.torch_checkpoint import (
    assign,
    batch_norm_pairs,
    dense_pairs,
    lstm_pairs,
)

STEMS = ["music", "speech", "sfx"]
HOP_LENGTH = 256


def separator_pairs(separator):
    """Pairs of `torch_checkpoint`."""
    pairs = []

    def add(part, layers):
        for name, theirs in layers.items():
            layer = separator.get_layer(part).get_layer(name)
            find = batch_norm_pairs if "norm" in name else dense_pairs
            pairs.extend(find(layer, theirs))

    for r in range(len(separator.window_lengths)):
        names = {"input_norm": 0, "dense": 1, "norm": 2}
        names = {k: f"_encoders.{r}.layer.{i}" for k, i in names.items()}
        add(f"encoder_{r}", names)
    for s, stem in enumerate(separator.stems):
        lstm = separator.get_layer(f"lstm_{s}")
        pairs.extend(lstm_pairs(lstm, f"_cross_net.lstm.{s}"))
        for r in range(len(separator.window_lengths)):
            names = {"hidden": 0, "hidden_norm": 1, "mask": 3, "mask_norm": 4}
            names = {
                k: f"_decoders.{s}.{r}.block.{i}" for k, i in names.items()
            }
            add(f"{stem}_mask_{r}", names)
    return pairs


def _count(pattern, tensors):
    """How many places a pattern's group numbers, from 0 on."""
    found = (re.match(pattern, name) for name in tensors)
    return len({match[1] for match in found if match})


def build(tensors, sample_rates, hop_length=None, stems=None):
    """An `MRXAudioSeparator`.

    Args:
        tensors: `{name: float32 array}`.
        sample_rates: see `CheckpointFormat`.
        hop_length: int, or `None`: 256, the authors'.
        stems: list of str, names in the authors' order; `None`: music,
            speech, sfx.

    Raises:
        ValueError: if the tensors do not fit, or have not as many stems.
    """
    count = _count(r"_decoders\.(\d+)\.", tensors)
    stems = list(STEMS if stems is None else stems)
    check_stem_count(stems, count)
    try:
        windows = [
            2 * (len(tensors[f"_encoders.{r}.layer.0.weight"]) - 1)
            for r in range(_count(r"_encoders\.(\d+)\.", tensors))
        ]
        hidden_dim = len(tensors["_encoders.0.layer.1.weight"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"checkpoint lacks or misshapes {error}") from error
    separator = MRXAudioSeparator(
        stems,
        windows,
        hop_length or HOP_LENGTH,
        hidden_dim,
        _count(r"_cross_net\.lstm\.0\.weight_ih_l(\d+)", tensors),
        sample_rate=sample_rates[0],
    )
    assign(separator_pairs(separator), tensors)
    return separator


MRX = CheckpointFormat(
    "mrx",
    "MRX (_encoders.…, _cross_net.lstm.…, _decoders.…)",
    lambda names: any(name.startswith("_cross_net.lstm.") for name in names),
    (44100,),
    build,
    ("hop_length", "stems"),
)
