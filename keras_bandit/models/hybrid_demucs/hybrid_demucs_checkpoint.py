"""Hybrid Demucs's files: how they are recognized and where tensors go.

Names are those of `facebookresearch/demucs`; torchaudio's port has others and
two tensors more, which nothing uses.
"""

import re

from keras_bandit.models.checkpoint_format import CheckpointFormat
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
DNR_STEMS = ["speech", "music", "effects"]

# Arguments of packages as ours; what is not here follows from the tensors.
PACKAGE_ARGUMENTS = {
    "hybrid_old": "hybrid_old",
    "norm_groups": "norm_groups",
    "freq_emb": "embedding",
    "dconv_init": "dconv_scale",
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


def _affine(layer, name):
    return [
        (layer.kernel, [f"{name}.weight"]),
        (layer.bias, [f"{name}.bias"]),
    ]


def _norm(layer, name):
    return [(layer.gamma, [f"{name}.weight"]), (layer.beta, [f"{name}.bias"])]


def dconv_pairs(dconv, name):
    """Pairs of `torch_checkpoint` for a `DConv`."""
    parts = {layer.name: layer for layer in dconv.parts}
    pairs = []
    for d in range(dconv.depth):
        at = f"{name}.layers.{d}"
        pairs += _affine(parts[f"squeeze_{d}"], f"{at}.0")
        pairs += _norm(parts[f"norm_{d}"], f"{at}.1")
        place = 3  # after the activation
        if dconv.lstm:
            layer = parts[f"lstm_{d}"]
            pairs += lstm_pairs(layer.lstm, f"{at}.{place}.lstm")
            pairs += _affine(layer.linear, f"{at}.{place}.linear")
            place += 1
        if dconv.attention:
            layer = parts[f"attention_{d}"]
            for key in ("content", "query", "key", "query_decay", "proj"):
                pairs += _affine(getattr(layer, key), f"{at}.{place}.{key}")
            place += 1
        pairs += _affine(parts[f"expand_{d}"], f"{at}.{place}")
        pairs += _norm(parts[f"expand_norm_{d}"], f"{at}.{place + 1}")
        pairs += [(dconv.scales[d], [f"{at}.{place + 3}.scale"])]
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
            for part in ("conv", "conv_tr", "rewrite"):
                if hasattr(layer, part):
                    at = f"{kind}.{i}.{part}"
                    pairs += _affine(getattr(layer, part), at)
            for part in ("norm1", "norm2"):
                if hasattr(layer, part):
                    pairs += _norm(getattr(layer, part), f"{kind}.{i}.{part}")
            if hasattr(layer, "dconv"):
                pairs += dconv_pairs(layer.dconv, f"{kind}.{i}.dconv")
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


def _indices(pattern, tensors):
    """What a pattern's group numbers, sorted."""
    found = (re.match(pattern, name) for name in tensors)
    return sorted({int(match[1]) for match in found if match})


def sizes_of(tensors):
    """Arguments of the separator that the tensors' shapes say."""

    def shape(name):
        if name not in tensors:
            raise ValueError(f"checkpoint lacks {name}")
        return tensors[name].shape

    depth = len(_indices(r"encoder\.(\d+)\.", tensors))

    def first(pattern):
        return ([*_indices(pattern, tensors), depth])[0]

    rows, channels = shape("freq_emb.embedding.weight")
    num_channels = shape("tencoder.0.conv.weight")[1]
    squeezed = shape("encoder.0.dconv.layers.0.0.weight")[0]
    last = _indices(r"tdecoder\.(\d+)\.", tensors)[-1]
    outputs = shape(f"tdecoder.{last}.conv_tr.bias")[0]
    in_decoder = any(re.match(r"decoder\.\d+\.dconv\.", n) for n in tensors)
    return outputs // num_channels, {
        "num_channels": num_channels,
        "n_fft": 8 * rows,
        "channels": channels,
        "growth": shape("encoder.1.conv.weight")[0] // channels,
        "depth": depth,
        "complex_as_channels": shape("encoder.0.conv.weight")[1]
        == 2 * num_channels,
        "norm_starts": first(r"encoder\.(\d+)\.norm1\."),
        "dconv_mode": 3 if in_decoder else 1,
        "dconv_depth": len(
            _indices(r"encoder\.0\.dconv\.layers\.(\d+)\.", tensors)
        ),
        "dconv_compression": channels // squeezed,
        "dconv_lstm": first(r"encoder\.(\d+)\.dconv\..*\.lstm\."),
        "dconv_attention": first(r"encoder\.(\d+)\.dconv\..*\.query\."),
    }


def build(tensors, sample_rates, stems=None, package=None):
    """A `HybridDemucsAudioSeparator`.

    Args:
        tensors: `{name: float32 array}`.
        sample_rates: see `CheckpointFormat`.
        stems: list of str, names in the file's order; `None`: those of the
            package, or the released models'.
        package: dict, the arguments that a package holds, or `None`.

    Raises:
        ValueError: if the tensors do not fit, or the network is of a kind
            that is not here.
    """
    package = package or {}
    # BandIt's authors separate with their own chunks.
    options = {"chunk_seconds": float(package.get("segment", 10))}
    if any(name.startswith("demucs.") for name in tensors):
        options = {
            "chunk_seconds": 6.0,
            "crossfade": "hann",
            "standardize_recording": False,
        }
    tensors = demucs_names(tensors)
    if any(".layers." in n and ".dconv." not in n for n in tensors):
        raise ValueError("multi_freqs, layers of several bands, is not here")
    for name, value in PACKAGE_CONSTANTS.items():
        if package.get(name, value) != value:
            raise ValueError(
                f"{name} must be {value!r} in a package; got {package[name]!r}"
            )
    count, sizes = sizes_of(tensors)
    if stems is None:
        stems = package.get("sources") or {4: MUSDB_STEMS, 3: DNR_STEMS}.get(
            count
        )
    if stems is None or len(stems) != count:
        raise ValueError(
            f"the checkpoint has {count} stems: stems (--stems) must name as "
            f"many; got {stems}"
        )
    for name, ours in PACKAGE_ARGUMENTS.items():
        if name in package:
            sizes[ours] = package[name]
    separator = HybridDemucsAudioSeparator(
        list(stems),
        **sizes,
        **options,
        sample_rate=package.get("samplerate") or sample_rates[0],
    )
    unused = f"tencoder.{len(separator.get_layer('network').time_encoder) - 1}"
    unused = [f"{unused}.norm1.weight", f"{unused}.norm1.bias"]
    assign(separator_pairs(separator), tensors, unused)
    return separator


HYBRID_DEMUCS = CheckpointFormat(
    "hybrid_demucs",
    "Hybrid Demucs (encoder.0.dconv.…, freq_emb.embedding.weight)",
    lambda names: any(n.endswith("freq_emb.embedding.weight") for n in names),
    (44100,),
    build,
    ("stems", "package"),
)
