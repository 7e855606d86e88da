"""Sizes of a model, read off its tensors' shapes."""

import collections
import dataclasses
import re

import numpy as np

from keras_bandit.bands import band_layout, find_layout

GATES = {3: "gru", 4: "lstm"}
MAX_CHANNELS = 8


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What a model's tensors say about it.

    Attributes:
        widths: tuple of int, values of each band: `channels * bins`.
        embed_dim: int.
        rnn_dim: int.
        rnn_type: `"gru"` or `"lstm"`.
        num_blocks: int, two for each residual pair.
        mlp_dim: int.
        stems: tuple of str, in the checkpoint's order.
    """

    widths: tuple
    embed_dim: int
    rnn_dim: int
    rnn_type: str
    num_blocks: int
    mlp_dim: int
    stems: tuple


def _votes(model, pattern, value):
    """Commonest value over the tensors whose name fits, or an error.

    One misshapen tensor must not decide a size, or the error would blame all
    the others.
    """
    counts = collections.Counter(
        value(array)
        for name, array in model.items()
        if re.fullmatch(pattern, name) and array.ndim == 2
    )
    if not counts:
        raise ValueError(f"checkpoint has no tensor named like {pattern}")
    return counts.most_common(1)[0][0]


def _count(model, pattern):
    """One more than the largest index that `pattern` captures."""
    indices = [
        int(match[1])
        for match in (re.match(pattern, name) for name in model)
        if match
    ]
    if not indices:
        raise ValueError(f"checkpoint has no tensor named like {pattern}…")
    return max(indices) + 1


def _band_width(model, band):
    """Values of a band; its tensors vote."""
    prefix = f"band_split.norm_fc_modules.{band}."
    lengths = collections.Counter(
        model[prefix + name].shape[-1] // 2
        for name in ("norm.weight", "norm.bias", "fc.weight")
        if prefix + name in model and model[prefix + name].ndim
    )
    if not lengths:
        raise ValueError(f"checkpoint has no tensors {prefix}…")
    return lengths.most_common(1)[0][0]


def read_sizes(model):
    """Reads a model's sizes.

    Args:
        model: `{name: array}` under the common naming of `formats`.

    Returns:
        `Sizes`.

    Raises:
        ValueError: if a whole part of the model is missing.
    """
    num_bands = _count(model, r"band_split\.norm_fc_modules\.(\d+)\.")
    rnn = r"tf_model\.seqband\.\d+\.rnn\.weight_hh_l0(_reverse)?"
    rnn_dim = _votes(model, rnn, lambda x: x.shape[1])
    gates = _votes(model, rnn, lambda x: x.shape[0] / x.shape[1])
    if gates not in GATES:
        raise ValueError(
            f"recurrent layers must have 3 (GRU) or 4 (LSTM) gates; got {gates}"
        )
    stems = [
        match[1]
        for match in (re.match(r"mask_estim\.([^.]+)\.", k) for k in model)
        if match
    ]
    return Sizes(
        widths=tuple(_band_width(model, band) for band in range(num_bands)),
        embed_dim=_votes(
            model,
            r"band_split\.norm_fc_modules\.\d+\.fc\.weight",
            lambda x: x.shape[0],
        ),
        rnn_dim=rnn_dim,
        rnn_type=GATES[gates],
        num_blocks=_count(model, r"tf_model\.seqband\.(\d+)\."),
        mlp_dim=_votes(
            model,
            r"mask_estim\.[^.]+\.norm_mlp\.\d+\.hidden\.0\.weight",
            lambda x: x.shape[0],
        ),
        stems=tuple(dict.fromkeys(stems)),
    )


def expected_shapes(sizes):
    """Every tensor that a model of these sizes has, `{name: shape}`."""
    d, h, m = sizes.embed_dim, sizes.rnn_dim, sizes.mlp_dim
    shapes = {}

    def linear(name, inputs, outputs):
        shapes[f"{name}.weight"] = (outputs, inputs)
        shapes[f"{name}.bias"] = (outputs,)

    def norm(name, size):
        shapes[f"{name}.weight"] = (size,)
        shapes[f"{name}.bias"] = (size,)

    for band, width in enumerate(sizes.widths):
        norm(f"band_split.norm_fc_modules.{band}.norm", 2 * width)
        linear(f"band_split.norm_fc_modules.{band}.fc", 2 * width, d)
    gates = {kind: count for count, kind in GATES.items()}[sizes.rnn_type]
    for block in range(sizes.num_blocks):
        prefix = f"tf_model.seqband.{block}"
        norm(f"{prefix}.norm", d)
        for end in ("", "_reverse"):
            shapes[f"{prefix}.rnn.weight_ih_l0{end}"] = (gates * h, d)
            shapes[f"{prefix}.rnn.weight_hh_l0{end}"] = (gates * h, h)
            shapes[f"{prefix}.rnn.bias_ih_l0{end}"] = (gates * h,)
            shapes[f"{prefix}.rnn.bias_hh_l0{end}"] = (gates * h,)
        linear(f"{prefix}.fc", 2 * h, d)
    for stem in sizes.stems:
        for band, width in enumerate(sizes.widths):
            prefix = f"mask_estim.{stem}.norm_mlp.{band}"
            norm(f"{prefix}.norm", d)
            linear(f"{prefix}.hidden.0", d, m)
            linear(f"{prefix}.output.0", m, 4 * width)
    return shapes


def check_shapes(model, sizes, prefix=""):
    """Lists what is missing, unexpected or misshapen.

    Args:
        model: `{name: array}` under the common naming.
        sizes: `Sizes`.
        prefix: str, put before the names in the messages.

    Returns:
        list of str, one message each, empty if all is well.
    """
    expected = expected_shapes(sizes)
    problems = [f"missing: {prefix}{k}" for k in expected if k not in model]
    problems += [f"unexpected: {prefix}{k}" for k in model if k not in expected]
    problems += [
        f"misshapen: {prefix}{name} is {model[name].shape}, not {shape}"
        for name, shape in expected.items()
        if name in model and model[name].shape != shape
    ]
    return problems


def _exact(name, num_bands, sample_rate, weights, n_fft):
    """The layout's name, or its bands with the checkpoint's own weights.

    Weights that were computed in float32 differ between machines in the last
    digits; from 1e-6 on the checkpoint's are kept instead of the layout's.
    """
    if weights is None:
        return name, num_bands, sample_rate
    bands = band_layout(name, num_bands, n_fft, sample_rate)
    pairs = zip(bands, weights, strict=True)
    if all(np.abs(b.weights - w).max() <= 1e-6 for b, w in pairs):
        return name, num_bands, sample_rate
    bands = [
        (band.start, band.stop, w)
        for band, w in zip(bands, weights, strict=True)
    ]
    return bands, None, sample_rate


def find_bands(widths, weights, n_fft, sample_rates):
    """Finds layout, rate and channels that explain the bands' widths.

    Args:
        widths: sequence of int, `channels * bins` of each band.
        weights: list of arrays, recombination weights, or `None`.
        n_fft: int.
        sample_rates: tuple of int, Hz, most likely first.

    Returns:
        `(layout, num_bands, sample_rate, channels)`; `layout` is a name or,
        for neighbouring bands of no known layout, a list of `(start, stop)`.

    Raises:
        ValueError: if nothing explains them.
    """
    bins = n_fft // 2 + 1
    for channels in range(1, MAX_CHANNELS + 1):
        if any(width % channels for width in widths):
            continue
        per_channel = [width // channels for width in widths]
        found = find_layout(per_channel, weights, n_fft, sample_rates)
        if found:
            return *_exact(*found[0], weights, n_fft), channels
        if weights is None and sum(per_channel) == bins:
            bands, start = [], 0
            for width in per_channel:
                bands.append((start, start + width))
                start += width
            return bands, None, sample_rates[0], channels
    raise ValueError(
        f"no band layout at n_fft={n_fft} and {sample_rates} Hz has bands of "
        f"widths {list(widths)}"
        + (" and the checkpoint's weights" if weights is not None else "")
    )
