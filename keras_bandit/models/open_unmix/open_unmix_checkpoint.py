"""Open-Unmix's files: how they are recognized and where tensors go."""

import re

from keras_bandit.models.checkpoint_format import CheckpointFormat
from keras_bandit.models.open_unmix.open_unmix_audio_separator import (
    OpenUnmixAudioSeparator,
)
from keras_bandit.models.torch_checkpoint import (
    assign,
    batch_norm_pairs,
    dense_pairs,
    lstm_pairs,
)

TARGET = re.compile(r"target_models\.([^.]+)\.(.+)")
BUFFERS = ("sample_rate", "stft.window", "transform.0.window")
"""Of files from before version 1.1."""

BANDIT_BUFFERS = ("stft.window", "istft.window", "encoder.0.window")


def network_pairs(network, prefix=""):
    """Pairs of `torch_checkpoint` for one stem's network."""
    layer = network.get_layer
    scaling = {"input": "input_scaling", "output": "output_scaling"}
    return [
        *(
            (getattr(layer(name), kind), [f"{prefix}{side}_{kind}"])
            for side, name in scaling.items()
            for kind in ("mean", "scale")
        ),
        *(
            pair
            for name in ("fc1", "fc2", "fc3")
            for pair in dense_pairs(layer(name), prefix + name)
        ),
        *(
            pair
            for name in ("bn1", "bn2", "bn3")
            for pair in batch_norm_pairs(layer(name), prefix + name)
        ),
        *lstm_pairs(layer("lstm"), prefix + "lstm"),
    ]


def separator_pairs(separator):
    """Pairs of `torch_checkpoint` for all stems."""
    return [
        pair
        for stem, network in separator.decoders.items()
        for pair in network_pairs(network, f"target_models.{stem}.")
    ]


def sizes_of(tensors):
    """Arguments of the separator that one network's shapes say."""
    try:
        hidden_dim = len(tensors["fc1.weight"])
        num_bins = len(tensors["output_scale"])
        return {
            "num_channels": len(tensors["fc3.weight"]) // num_bins,
            "n_fft": 2 * (num_bins - 1),
            "num_input_bins": len(tensors["input_mean"]),
            "hidden_dim": hidden_dim,
            "bidirectional": "lstm.weight_ih_l0_reverse" in tensors,
        }
    except (KeyError, TypeError) as error:
        raise ValueError(f"checkpoint lacks or misshapes {error}") from error


def build(tensors, sample_rates, hop_length=None, stems=None):
    """An `OpenUnmixAudioSeparator`.

    Args:
        tensors: those of one network, or of several under
            `target_models.<stem>.`.
        sample_rates: see `CheckpointFormat`.
        hop_length: int, or `None`: a quarter of a frame, or half of one in
            files of the released model of speech, which say their rate.
        stems: list of str. The name of the one network's stem, or the
            networks to take, in their order; `None`: all.
    """
    bandit = any(name in tensors for name in BANDIT_BUFFERS) and any(
        TARGET.match(name) for name in tensors
    )
    if not any(TARGET.match(name) for name in tensors):
        if stems is None or len(stems) != 1:
            raise ValueError(
                "an Open-Unmix file does not say which stem it is of: "
                f"stems (--stems) must name it; got {stems}"
            )
        tensors = {f"target_models.{stems[0]}.{k}": tensors[k] for k in tensors}
    networks = {}
    for name, value in tensors.items():
        target = TARGET.fullmatch(name)
        if target:
            networks.setdefault(target[1], {})[target[2]] = value
    stems = list(networks) if stems is None else list(stems)
    unknown = [stem for stem in stems if stem not in networks]
    if unknown:
        raise ValueError(f"stems must be among {list(networks)}; got {unknown}")
    sizes = {stem: sizes_of(networks[stem]) for stem in stems}
    size = sizes[stems[0]]
    if any(other != size for other in sizes.values()):
        raise ValueError(f"the stems must have the same sizes; got {sizes}")
    sample_rate, parts = sample_rates[0], 4
    buffer = networks[stems[0]].get("sample_rate", tensors.get("sample_rate"))
    if len(sample_rates) > 1 and buffer is not None:
        sample_rate = int(buffer)
        if (sample_rate, size["n_fft"]) == (16000, 1024):
            parts = 2  # the released model of speech
    hop_length = hop_length or size["n_fft"] // parts
    whole_frames = size["n_fft"] % (2 * hop_length) == 0
    separator = OpenUnmixAudioSeparator(
        stems,
        **size,
        hop_length=hop_length,
        sample_rate=sample_rate,
        niter=0 if bandit or len(stems) == 1 else 1,
        centred_training=bandit or not whole_frames,
        **({"chunk_seconds": 6.0, "crossfade": "hann"} if bandit else {}),
    )
    unused = ["sample_rate", *BANDIT_BUFFERS] if bandit else []
    for stem, network in networks.items():
        names = BUFFERS if stem in stems else network
        unused += [f"target_models.{stem}.{name}" for name in names]
    assign(separator_pairs(separator), tensors, unused)
    return separator


OPEN_UNMIX = CheckpointFormat(
    "open_unmix",
    "Open-Unmix (fc1.weight, input_mean, … of each target)",
    lambda names: any(
        re.fullmatch(r"(target_models\.[^.]+\.)?input_mean", name)
        for name in names
    ),
    (44100, 16000),
    build,
    ("hop_length", "stems"),
)
