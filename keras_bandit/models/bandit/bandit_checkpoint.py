"""BandIt's released checkpoints: how they are recognized and where they go."""

import functools
import re

import numpy as np

from keras_bandit.models.band_split_checkpoint import read_models
from keras_bandit.models.bandit.bandit_audio_separator import (
    BanditAudioSeparator,
    BanditBackbone,
)
from keras_bandit.models.checkpoint_format import CheckpointFormat

# Names of BandIt v2 in those of v1.
V2_PATTERNS = {
    r"^(band_split\..*)\.combined\.0\.": r"\1.norm.",
    r"^(band_split\..*)\.combined\.1\.": r"\1.fc.",
}
# Where v2 has the same tensor a second time.
V2_DUPLICATES = {
    r"^(mask_estim\..*)\.combined\.0\.": r"\1.norm.",
    r"^(mask_estim\..*)\.combined\.1\.0\.": r"\1.hidden.0.",
    r"^(mask_estim\..*)\.combined\.2\.0\.": r"\1.output.0.",
}


def v1_names(tensors):
    """BandIt v1's tensors under the common naming."""
    return {k.removeprefix("bsrnn."): v for k, v in tensors.items()}


def v2_names(tensors):
    """BandIt v2's: other names, duplicates, interleaved features."""
    originals, duplicates = {}, {}
    for name, value in tensors.items():
        for pattern, target in V2_PATTERNS.items():
            name = re.sub(pattern, target, name)
        name = re.sub(
            # odd entries of v2's stack are transposes without weights
            r"^tf_model\.seqband\.(\d+)\.",
            lambda match: f"tf_model.seqband.{int(match[1]) / 2:g}.",
            name,
        )
        if re.match(r"band_split\..*(\.norm\.|\.fc\.weight)", name):
            # From v2's (bin, part) order to v1's (part, bin).
            parts = [value[..., 0::2], value[..., 1::2]]
            value = np.concatenate(parts, axis=-1)
        original = name
        for pattern, target in V2_DUPLICATES.items():
            original = re.sub(pattern, target, original)
        found = originals if original == name else duplicates
        found[original] = value
    return {**duplicates, **originals}


def _build(tensors, sample_rates, names, **arguments):
    """A `BanditAudioSeparator` of tensors that `names` renames."""
    models = read_models(tensors, lambda x: {None: names(x)}, sample_rates)
    model = models[None]
    if model.num_channels != 1:
        raise ValueError(
            "BandIt has one input channel; this checkpoint has "
            f"{model.num_channels}"
        )
    backbone = BanditBackbone(model.layout, model.num_bands, **model.network())
    arguments["mlp_dim"] = model.sizes.mlp_dim
    stems = list(model.sizes.stems)
    separator = BanditAudioSeparator(backbone, stems, **arguments)
    model.fill(backbone, separator.decoders)
    return separator


BANDIT_V1 = CheckpointFormat(
    "bandit_v1",
    "BandIt v1 (bsrnn.band_split.…)",
    lambda names: any(n.startswith("bsrnn.band_split.") for n in names),
    (44100, 48000),
    functools.partial(_build, names=v1_names),
)

BANDIT_V2 = CheckpointFormat(
    "bandit_v2",
    "BandIt v2 (band_split.….combined.…)",
    lambda names: any(
        re.match(r"band_split\..*\.combined\.", n) for n in names
    ),
    (48000, 44100),
    functools.partial(
        _build, names=v2_names, pad_mode="reflect", chunk_seconds=8.0
    ),
)
