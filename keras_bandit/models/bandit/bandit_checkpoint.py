"""BandIt's released checkpoints: how they are recognized and where they go."""

import re

import numpy as np

from keras_bandit.models.band_split_checkpoint import (
    assign_decoder,
    assign_encoder,
    drop_buffers,
    n_fft_of,
    read_models,
)
from keras_bandit.models.bandit.bandit_audio_separator import (
    BanditAudioSeparator,
    BanditBackbone,
)
from keras_bandit.models.checkpoint_format import CheckpointFormat

# Names of BandIt v2 in those of v1, tried in order.
V2_PATTERNS = [
    (r"(band_split\.norm_fc_modules\.\d+)\.combined\.0\.(.*)", r"\1.norm.\2"),
    (r"(band_split\.norm_fc_modules\.\d+)\.combined\.1\.(.*)", r"\1.fc.\2"),
]
# Where v2 has the same tensor a second time.
V2_DUPLICATES = [
    (r"(mask_estim\..*)\.combined\.0\.(.*)", r"\1.norm.\2"),
    (r"(mask_estim\..*)\.combined\.1\.0\.(.*)", r"\1.hidden.0.\2"),
    (r"(mask_estim\..*)\.combined\.2\.0\.(.*)", r"\1.output.0.\2"),
]


def v1_names(tensors):
    """BandIt v1's tensors under the common naming."""
    return {k.removeprefix("bsrnn."): v for k, v in tensors.items()}


def v2_names(tensors):
    """BandIt v2's: other names, duplicates, interleaved features."""
    renamed, duplicates = {}, {}
    for name, value in tensors.items():
        for pattern, target in V2_PATTERNS:
            name = re.sub(f"^{pattern}$", target, name)
        name = re.sub(
            # odd entries of v2's stack are transposes without weights
            r"^tf_model\.seqband\.(\d+)\.",
            lambda match: f"tf_model.seqband.{int(match[1]) / 2:g}.",
            name,
        )
        for pattern, target in V2_DUPLICATES:
            if re.fullmatch(pattern, name):
                duplicates[re.sub(f"^{pattern}$", target, name)] = value
                break
        else:
            renamed[name] = value
    merged = {**duplicates, **renamed}
    return {name: separate_parts(name, v) for name, v in merged.items()}


def separate_parts(name, value):
    """From v2's (bin, part) order to v1's (part, bin) in the band split."""
    if not re.match(r"band_split\..*(\.norm\.|\.fc\.weight)", name):
        return value
    return np.concatenate([value[..., 0::2], value[..., 1::2]], axis=-1)


def _build(tensors, sample_rates, common_names, **separator):
    n_fft = n_fft_of(tensors)
    named = common_names(drop_buffers(tensors))
    model = read_models({None: named}, n_fft, sample_rates)[None]
    if model.num_channels != 1:
        raise ValueError(
            "BandIt has one input channel; this checkpoint has "
            f"{model.num_channels}"
        )
    sizes = model.sizes
    backbone = BanditBackbone(
        model.layout, model.num_bands, n_fft, **model.network()
    )
    separator = BanditAudioSeparator(
        backbone, list(sizes.stems), mlp_dim=sizes.mlp_dim, **separator
    )
    assign_encoder(backbone, model.tensors, sizes)
    for stem, decoder in separator.decoders.items():
        assign_decoder(decoder, model.tensors, stem, sizes)
    return separator


def build_v1(tensors, sample_rates):
    """A BandIt v1 as a `BanditAudioSeparator`."""
    return _build(tensors, sample_rates, v1_names)


def build_v2(tensors, sample_rates):
    """A BandIt v2; its authors separate chunks of 8 s."""
    return _build(
        tensors, sample_rates, v2_names, pad_mode="reflect", chunk_seconds=8.0
    )


BANDIT_V1 = CheckpointFormat(
    "bandit_v1",
    "BandIt v1 (bsrnn.band_split.…)",
    lambda names: any(n.startswith("bsrnn.band_split.") for n in names),
    (44100, 48000),
    build_v1,
)

BANDIT_V2 = CheckpointFormat(
    "bandit_v2",
    "BandIt v2 (band_split.….combined.…)",
    lambda names: any(
        re.match(r"band_split\..*\.combined\.", n) for n in names
    ),
    (48000, 44100),
    build_v2,
)
