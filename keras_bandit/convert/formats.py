"""Checkpoint formats, recognized by their keys and brought to one naming.

The common naming is that of the authors' first release (`karnwatcharasupat/
bandit` at 735a57c), without the leading `bsrnn.`:

    band_split.norm_fc_modules.{b}.{norm,fc}.{weight,bias}
    tf_model.seqband.{i}.{norm,rnn,fc}.…
    mask_estim.{stem}.norm_mlp.{b}.{norm,hidden.0,output.0}.{weight,bias}
"""

import re

import numpy as np

# Buffers: windows, and the fader's that inference attaches.
IGNORED = re.compile(r"(stft|istft)\.window|fader\..*")
FREQUENCY_WEIGHTS = re.compile(r"mask_estim\.[^.]+\.freq_weights/(\d+)")

BANDIT_V1 = "bandit_v1"
BANDIT_V2 = "bandit_v2"
BSRNN = "bsrnn"

# Names of Bandit v2 in those of v1, tried in order.
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


def detect_format(names):
    """Which of the formats a checkpoint's names belong to.

    Args:
        names: iterable of str, without the prefix `model.`.

    Returns:
        `"bandit_v1"`, `"bandit_v2"` or `"bsrnn"`.

    Raises:
        ValueError: if it is none of them.
    """
    names = list(names)
    if any(name.startswith("bsrnn.band_split.") for name in names):
        return BANDIT_V1
    if any(re.match(r"bsrnn\.[^.]+\.band_split\.", name) for name in names):
        return BSRNN
    if any(re.match(r"band_split\..*\.combined\.", name) for name in names):
        return BANDIT_V2
    raise ValueError(
        "checkpoint must be of BandIt v1 (bsrnn.band_split.…), BandIt v2 "
        "(band_split.….combined.…) or BSRNN (bsrnn.<stem>.band_split.…); got "
        f"names such as {names[:3]}"
    )


def drop_buffers(tensors):
    """Without windows and fader."""
    return {k: v for k, v in tensors.items() if not IGNORED.fullmatch(k)}


def v1_models(tensors):
    """BandIt v1: one model for all stems."""
    return {None: {k.removeprefix("bsrnn."): v for k, v in tensors.items()}}


def bsrnn_models(tensors):
    """BSRNN: one model per stem, its decoder named like BandIt's."""
    models = {}
    for name, value in tensors.items():
        # bsrnn . vocals . mask_estim . norm_mlp.…
        _, stem, rest = (*name.split(".", 2), "", "")[:3]
        rest = rest.replace("mask_estim.", f"mask_estim.{stem}.", 1)
        models.setdefault(stem, {})[rest] = value
    return models


def v2_models(tensors):
    """BandIt v2: other names, duplicates, interleaved features."""
    renamed = {}
    duplicates = {}
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
    return {None: {k: separate_parts(k, v) for k, v in merged.items()}}


def separate_parts(name, value):
    """From v2's (bin, part) order to v1's (part, bin) in the band split."""
    if not re.match(r"band_split\..*(\.norm\.|\.fc\.weight)", name):
        return value
    return np.concatenate([value[..., 0::2], value[..., 1::2]], axis=-1)


MODELS = {BANDIT_V1: v1_models, BANDIT_V2: v2_models, BSRNN: bsrnn_models}


def split_models(tensors):
    """Sorts a checkpoint's tensors into models under the common naming.

    Args:
        tensors: `{name: array}` without the prefix `model.`.

    Returns:
        `(format, {stem: {name: array}})`; for BandIt the only key is `None`.

    Raises:
        ValueError: if the format is unknown.
    """
    found = detect_format(tensors)
    return found, MODELS[found](drop_buffers(tensors))


def frequency_weights(model):
    """Takes the recombination weights out of a model's tensors.

    Args:
        model: `{name: array}` under the common naming; loses these entries.

    Returns:
        `{band: array}` of the first stem that has them, empty without.

    Raises:
        ValueError: if two stems have different ones.
    """
    found = {}
    for name in list(model):
        match = FREQUENCY_WEIGHTS.fullmatch(name)
        if not match:
            continue
        value = model.pop(name)
        known = found.setdefault(int(match[1]), value)
        if known.shape != value.shape or np.abs(known - value).max() > 1e-6:
            raise ValueError(f"{name} differs from that of another stem")
    return found
