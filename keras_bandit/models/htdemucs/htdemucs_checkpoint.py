"""HTDemucs's files: how they are recognized and where tensors go."""

import re

from keras_bandit.models.checkpoint_format import CheckpointFormat
from keras_bandit.models.htdemucs.htdemucs_audio_separator import (
    HTDemucsAudioSeparator,
)
from keras_bandit.models.hybrid_demucs import hybrid_demucs_checkpoint as v3
from keras_bandit.models.hybrid_demucs.hybrid_demucs_checkpoint import (
    affine_pairs,
)
from keras_bandit.models.torch_checkpoint import assign

TRANSFORMER = "crosstransformer."

# Beside those of v3; sparse attention and other embeddings are not here.
PACKAGE_CONSTANTS = {
    **v3.PACKAGE_CONSTANTS,
    "t_emb": "sin",
    "t_norm_in": True,
    "t_norm_in_group": False,
    "t_group_norm": False,
    "t_norm_first": True,
    "t_norm_out": True,
    "t_max_period": 10000,
    "t_layer_scale": True,
    "t_gelu": True,
    "t_weight_pos_embed": 1,
    "t_sin_random_shift": 0,
    "t_sparse_self_attn": False,
    "t_sparse_cross_attn": False,
    "use_train_segment": True,
}


def _layer_pairs(layer, name):
    kind = "cross_attn" if layer.cross else "self_attn"
    attention = layer.attention
    pairs = [
        (attention.in_kernel, [f"{name}.{kind}.in_proj_weight"]),
        (attention.in_bias, [f"{name}.{kind}.in_proj_bias"]),
        (layer.scale1, [f"{name}.gamma_1.scale"]),
        (layer.scale2, [f"{name}.gamma_2.scale"]),
        *affine_pairs(attention.out, f"{name}.{kind}.out_proj"),
    ]
    for part in ("linear1", "linear2", "norm1", "norm2", "norm3", "norm_out"):
        pairs += affine_pairs(getattr(layer, part), f"{name}.{part}")
    return pairs


def separator_pairs(separator):
    """Pairs of `torch_checkpoint`, under demucs's names."""
    pairs = v3.separator_pairs(separator)
    middle = separator.get_layer("network").middle
    for i, end in enumerate(("", "_t")):
        if middle.bottom_channels:
            pairs += affine_pairs(middle.widen[i], f"channel_upsampler{end}")
            pairs += affine_pairs(middle.narrow[i], f"channel_downsampler{end}")
        pairs += affine_pairs(middle.norms[i], f"{TRANSFORMER}norm_in{end}")
        for k, layer in enumerate(
            (middle.spectrum_layers, middle.steps_layers)[i]
        ):
            pairs += _layer_pairs(layer, f"{TRANSFORMER}layers{end}.{k}")
    return pairs


def transformer_sizes(tensors, package):
    """Arguments of the separator that say what the transformer is."""
    layers = f"{TRANSFORMER}layers."
    found = {name.split(".")[2] for name in tensors if name.startswith(layers)}
    first = f"{layers}0.linear1.weight"
    if first not in tensors:
        raise ValueError(f"checkpoint lacks {first}")
    hidden, size = tensors[first].shape
    bottom = "channel_upsampler.weight" in tensors
    return {
        "torchaudio_norm": False,  # its last time encoder uses its norms
        "bottom_channels": size if bottom else 0,
        "transformer_layers": len(found),
        "transformer_heads": package.get("t_heads", 8),
        "transformer_expansion": hidden / size,
        "transformer_dropout": package.get("t_dropout", 0.0),
        "cross_first": f"{layers}0.cross_attn.in_proj_weight" in tensors,
    }


def build(tensors, sample_rates, stems=None, package=None):
    """A `HTDemucsAudioSeparator`; see the `build` of Hybrid Demucs."""
    package, rate = package or {}, sample_rates[0]
    # Its length in samples is rounded down.
    seconds = int(package.get("segment", 7.8) * rate) / rate
    tensors = {
        # Convolutions of one place are dense layers here.
        name: x[..., 0] if re.match(r"channel_.*weight", name) else x
        for name, x in v3.demucs_names(tensors).items()
    }
    settings = v3.settings_of(tensors, stems, package, PACKAGE_CONSTANTS)
    separator = HTDemucsAudioSeparator(
        sample_rate=rate,
        chunk_seconds=seconds,
        **{**settings, **transformer_sizes(tensors, package)},
    )
    assign(separator_pairs(separator), tensors)
    return separator


HTDEMUCS = CheckpointFormat(
    "htdemucs",
    "HTDemucs (crosstransformer.…)",
    lambda names: any(name.startswith(TRANSFORMER) for name in names),
    (44100,),
    build,
    ("stems", "package"),
)
