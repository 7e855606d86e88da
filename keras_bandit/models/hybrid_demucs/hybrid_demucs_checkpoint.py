"""Hybrid Demucs's files: how they are recognized and where tensors go.

Names are those of `facebookresearch/demucs`; torchaudio's port has others and
two tensors more, which nothing uses.
"""

import re

from keras_bandit.models.checkpoint_format import (
    CheckpointFormat,
    check_stem_count,
)
from keras_bandit.models.hybrid_demucs.hybrid_demucs_audio_separator import (
    HybridDemucsAudioSeparator,
)
from keras_bandit.models.torch_checkpoint import assign, lstm_pairs

TORCHAUDIO_NAMES = {
    "freq_encoder.": "encoder.",
    "time_encoder.": "tencoder.",
    "freq_decoder.": "decoder.",
    "time_decoder.": "tdecoder.",
}
PREFIXES = ("demucs.", "torch_hdemucs.")
MUSDB_STEMS = ["drums", "bass", "other", "vocals"]
USUAL_STEMS = {
    3: ["speech", "music", "effects"],
    4: MUSDB_STEMS,
    6: [*MUSDB_STEMS, "guitar", "piano"],
}

# Arguments of packages as ours; what is not here follows from the tensors.
PACKAGE_ARGUMENTS = {
    "hybrid_old": "hybrid_old",
    "norm_groups": "norm_groups",
    "freq_emb": "embedding",
    "dconv_init": "dconv_scale",
    "dconv_comp": "dconv_compression",
    "growth": "growth",
    "multi_freqs": "band_ratios",
}
# BandIt's authors separate with their own chunks.
BANDIT_SEPARATION = {
    "chunk_seconds": 6.0,
    "crossfade": "hann",
    "standardize_recording": False,
}
# What ours always is; another value would be another network.
PACKAGE_CONSTANTS = {
    "channels_time": None,
    "wiener_iters": 0,
    "end_iters": 0,
    "rewrite": True,
    "hybrid": True,
    "emb_scale": 10,
    "kernel_size": 8,
    "stride": 4,
    "time_stride": 2,
    "context": 1,
    "context_enc": 0,
}


def affine_pairs(layer, name):
    """Of a convolution, a `Dense` or a normalization, or `None`."""
    if layer is None:
        return []
    kernel = layer.kernel if hasattr(layer, "kernel") else layer.gamma
    bias = layer.bias if hasattr(layer, "kernel") else layer.beta
    return [(kernel, [f"{name}.weight"]), (bias, [f"{name}.bias"])]


def _branch_pairs(branch, name):
    pairs = affine_pairs(branch.squeeze, f"{name}.0")
    pairs += affine_pairs(branch.norm, f"{name}.1")
    place = 3  # after the activation
    if branch.lstm is not None:
        pairs += lstm_pairs(branch.lstm.lstm, f"{name}.{place}.lstm")
        pairs += affine_pairs(branch.lstm.linear, f"{name}.{place}.linear")
        place += 1
    if branch.attention is not None:
        for key in ("content", "query", "key", "query_decay", "proj"):
            layer = getattr(branch.attention, key)
            pairs += affine_pairs(layer, f"{name}.{place}.{key}")
        place += 1
    pairs += affine_pairs(branch.expand, f"{name}.{place}")
    pairs += affine_pairs(branch.expand_norm, f"{name}.{place + 1}")
    return [*pairs, (branch.scale, [f"{name}.{place + 3}.scale"])]


def _layer_pairs(layer, name):
    pairs = []
    for b, band in enumerate(getattr(layer, "bands", [])):
        pairs += _layer_pairs(band, f"{name}.layers.{b}")
    for part in ("conv", "conv_tr", "rewrite", "norm1", "norm2"):
        pairs += affine_pairs(getattr(layer, part, None), f"{name}.{part}")
    for d, branch in enumerate(getattr(layer, "residual", [])):
        pairs += _branch_pairs(branch, f"{name}.dconv.layers.{d}")
    return pairs


def separator_pairs(separator):
    """Pairs of `torch_checkpoint`, under demucs's names."""
    network = separator.get_layer("network")
    pairs = [(network.freq_embedding, ["freq_emb.embedding.weight"])]
    for kind, layers in {
        "encoder": network.encoder,
        "tencoder": network.time_encoder,
        "decoder": network.decoder,
        "tdecoder": network.time_decoder,
    }.items():
        for i, layer in enumerate(layers):
            pairs += _layer_pairs(layer, f"{kind}.{i}")
    if network.torchaudio_norm:
        last = len(network.time_encoder) - 1
        pairs += affine_pairs(network.unused_norm, f"tencoder.{last}.norm1")
    return pairs


def demucs_names(tensors):
    """Tensors of any of the forms under demucs's names."""
    renamed = {}
    for name, value in tensors.items():
        for prefix in PREFIXES:
            name = name.removeprefix(prefix)
        for theirs, ours in TORCHAUDIO_NAMES.items():
            if name.startswith(theirs):
                name = ours + name.removeprefix(theirs)
        renamed[name] = value
    return renamed


def sizes_of(tensors):
    """How many stems, and arguments of the separator, that shapes say."""

    def shape(pattern):
        for name, tensor in tensors.items():
            if re.fullmatch(pattern, name):
                return tensor.shape
        raise ValueError(f"checkpoint lacks {pattern}")

    def indices(pattern):
        found = (re.match(pattern, name) for name in tensors)
        return sorted({int(match[1]) for match in found if match})

    depth = len(indices(r"encoder\.(\d+)\."))

    def first(pattern):
        return [*indices(rf"encoder\.(\d+)\.{pattern}"), depth][0]

    rows, channels = shape(r"freq_emb\.embedding\.weight")
    num_channels = shape(r"tencoder\.0\.conv\.weight")[1]
    features = shape(r"encoder\.0\.(layers\.0\.)?conv\.weight")[1]
    last = indices(r"tdecoder\.(\d+)\.")[-1]
    outputs = shape(rf"tdecoder\.{last}\.conv_tr\.bias")[0]
    # Of the deepest layer, where the quotient is rounded least.
    inner, outer, _ = shape(
        rf"encoder\.{depth - 1}\.dconv\.layers\.0\.0\.weight"
    )
    in_decoder = indices(r"t?decoder\.(\d+)\.dconv\.")
    return outputs // num_channels, {
        "num_channels": num_channels,
        "n_fft": 8 * rows,
        "channels": channels,
        "growth": shape(r"tencoder\.1\.conv\.weight")[0] / channels,
        "depth": depth,
        "complex_as_channels": features == 2 * num_channels,
        "norm_starts": first(r"norm1\."),
        "dconv_mode": 3 if in_decoder else 1,
        "dconv_depth": len(indices(r"tencoder\.0\.dconv\.layers\.(\d+)\.")),
        "dconv_compression": round(outer / inner),
        "dconv_lstm": first(r"dconv\..*\.lstm\."),
        "dconv_attention": first(r"dconv\..*\.query\."),
        "banded_depth": len(indices(r"encoder\.(\d+)\.layers\.")),
        "torchaudio_norm": f"tencoder.{last}.norm1.weight" in tensors,
    }


def settings_of(tensors, stems, package, constants=PACKAGE_CONSTANTS):
    """Arguments of the separator, from tensors under demucs's names.

    Args:
        tensors: `{name: float32 array}`.
        stems: list of str, names in the file's order; `None`: those of the
            package, or the released models'.
        package: dict, the arguments that a package holds, maybe none.
        constants: dict, what they must be where they are there.

    Raises:
        ValueError: if the network is of a kind that is not here.
    """
    for name, value in constants.items():
        if package.get(name, value) != value:
            raise ValueError(
                f"{name} must be {value!r} in a package; got {package[name]!r}"
            )
    count, sizes = sizes_of(tensors)
    if sizes["banded_depth"] and not package.get("multi_freqs"):
        raise ValueError(
            "multi_freqs, where the bands of rows end, must be in a package"
        )
    if stems is None:
        stems = package.get("sources", USUAL_STEMS.get(count))
    check_stem_count(stems, count)
    for theirs, ours in PACKAGE_ARGUMENTS.items():
        if package.get(theirs) is not None:
            sizes[ours] = package[theirs]
    return {"stems": list(stems), **sizes}


def build(tensors, sample_rates, stems=None, package=None):
    """See `CheckpointFormat` and `settings_of`."""
    package = package or {}
    options = {"chunk_seconds": float(package.get("segment", 10))}
    if any(name.startswith("demucs.") for name in tensors):
        options = BANDIT_SEPARATION
    tensors = demucs_names(tensors)
    settings = settings_of(tensors, stems, package)
    separator = HybridDemucsAudioSeparator(
        sample_rate=sample_rates[0], **settings, **options
    )
    assign(separator_pairs(separator), tensors)
    return separator


HYBRID_DEMUCS = CheckpointFormat(
    "hybrid_demucs",
    "Hybrid Demucs (encoder.0.dconv.…, freq_emb.embedding.weight)",
    lambda names: any(n.endswith("freq_emb.embedding.weight") for n in names),
    (44100,),
    build,
    ("stems", "package"),
)
