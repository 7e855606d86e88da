"""Checkpoints of band-split models, as BandIt's authors write them.

BandIt and BSRNN have their tensors under one naming, that of the authors'
first release (`karnwatcharasupat/bandit` at 735a57c), without the leading
`bsrnn.`:

    band_split.norm_fc_modules.{b}.{norm,fc}.{weight,bias}
    tf_model.seqband.{i}.{norm,rnn,fc}.…
    mask_estim.{stem}.norm_mlp.{b}.{norm,hidden.0,output.0}.{weight,bias}
    mask_estim.{stem}.freq_weights/{b}          recombination weights, or none

From PyTorch's tensors to the flat variables of our layers:

    ours                      PyTorch, per band, block or direction
    gamma, beta               LayerNorm weight, bias
    kernel                    Linear weight, transposed
    recurrent (2, in, gates)  weight_ih and weight_hh, transposed; the gate
                              order is PyTorch's
"""

import collections
import dataclasses
import re

import numpy as np

from keras_bandit.bands import band_layout, find_layout

GATES = {3: "gru", 4: "lstm"}
MAX_CHANNELS = 8
MAX_LISTED = 20
DIRECTIONS = ("", "_reverse")
FREQUENCY_WEIGHTS = re.compile(r"mask_estim\.[^.]+\.freq_weights/(\d+)")


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


@dataclasses.dataclass(frozen=True)
class Model:
    """One network of a checkpoint.

    Attributes:
        tensors: `{name: array}` under the common naming, without
            recombination weights.
        sizes: `Sizes`.
        layout: name of a band layout, or a list of bands.
        num_bands: int, or `None`.
        sample_rate: int, Hz.
        num_channels: int.
    """

    tensors: dict
    sizes: Sizes
    layout: str | list
    num_bands: int | None
    sample_rate: int
    num_channels: int

    def network(self):
        """Arguments that both backbones take, but for the bands."""
        return {
            "embed_dim": self.sizes.embed_dim,
            "rnn_dim": self.sizes.rnn_dim,
            "num_pairs": self.sizes.num_blocks // 2,
            "rnn_type": self.sizes.rnn_type,
            "sample_rate": self.sample_rate,
        }


def take_frequency_weights(tensors):
    """Takes the recombination weights out of a model's tensors.

    Args:
        tensors: `{name: array}` under the common naming; loses these entries.

    Returns:
        `{band: array}` of the first stem that has them, empty without.

    Raises:
        ValueError: if two stems have different ones.
    """
    found = {}
    for name in list(tensors):
        match = FREQUENCY_WEIGHTS.fullmatch(name)
        if not match:
            continue
        value = tensors.pop(name)
        known = found.setdefault(int(match[1]), value)
        if known.shape != value.shape or np.abs(known - value).max() > 1e-6:
            raise ValueError(f"{name} differs from that of another stem")
    return found


def read_models(models, n_fft, sample_rates):
    """Reads sizes and bands of networks, and checks all their tensors.

    Args:
        models: `{stem: {name: array}}` under the common naming; the stem is
            `None` for a network of all stems.
        n_fft: int.
        sample_rates: tuple of int, Hz, most likely first.

    Returns:
        `{stem: Model}`.

    Raises:
        ValueError: if tensors are missing, unexpected or misshapen (all are
            listed), or no layout has these bands.
    """
    described, problems = {}, []
    for stem, tensors in models.items():
        weights = take_frequency_weights(tensors)
        sizes = read_sizes(tensors)
        prefix = f"{stem}: " if stem else ""
        problems += check_shapes(tensors, sizes, prefix)
        if weights:
            missing = [b for b in range(len(sizes.widths)) if b not in weights]
            problems += [f"missing: {prefix}freq_weights/{b}" for b in missing]
            weights = [weights.get(b) for b in range(len(sizes.widths))]
        described[stem] = (tensors, sizes, weights or None)
    if problems:
        rest = len(problems) - MAX_LISTED
        listed = "\n  ".join(problems[:MAX_LISTED])
        more = f"\n  … and {rest} more" if rest > 0 else ""
        raise ValueError(
            f"checkpoint does not fit its own sizes:\n  {listed}{more}"
        )
    return {
        stem: Model(
            tensors,
            sizes,
            *find_bands(sizes.widths, weights, n_fft, sample_rates),
        )
        for stem, (tensors, sizes, weights) in described.items()
    }


def n_fft_of(tensors):
    """Frame length: that of the window, 2048 (the authors') without one."""
    window = tensors.get("stft.window", np.zeros(2048))
    if window.ndim != 1:
        raise ValueError(
            f"stft.window must have one axis; got shape {window.shape}"
        )
    return len(window)


def drop_buffers(tensors):
    """Without windows, and the fader's that inference attaches."""
    buffer = re.compile(r"(stft|istft)\.window|fader\..*")
    return {k: v for k, v in tensors.items() if not buffer.fullmatch(k)}


def band_split_weights(model, num_bands):
    """Variables of `BandSplit`, `{name: array}`."""
    prefix = "band_split.norm_fc_modules"

    def each(name):
        return [model[f"{prefix}.{band}.{name}"] for band in range(num_bands)]

    return {
        "gamma": np.concatenate(each("norm.weight")),
        "beta": np.concatenate(each("norm.bias")),
        "kernel": np.concatenate([w.T for w in each("fc.weight")]),
        "bias": np.stack(each("fc.bias")),
    }


def block_weights(model, block):
    """Variables of one residual block, `{sublayer: {name: array}}`."""
    prefix = f"tf_model.seqband.{block}"

    def both(name, transpose=False):
        arrays = [model[f"{prefix}.rnn.{name}_l0{end}"] for end in DIRECTIONS]
        return np.stack([a.T if transpose else a for a in arrays])

    return {
        "norm": {
            "gamma": model[f"{prefix}.norm.weight"],
            "beta": model[f"{prefix}.norm.bias"],
        },
        "recurrent": {
            "kernel": both("weight_ih", transpose=True),
            "recurrent_kernel": both("weight_hh", transpose=True),
            "bias": both("bias_ih"),
            "recurrent_bias": both("bias_hh"),
        },
        "projection": {
            "kernel": model[f"{prefix}.fc.weight"].T,
            "bias": model[f"{prefix}.fc.bias"],
        },
    }


def mask_decoder_weights(model, stem, num_bands):
    """Variables of `MaskDecoder`, `{name: array}`."""
    prefix = f"mask_estim.{stem}.norm_mlp"

    def each(name):
        return [model[f"{prefix}.{band}.{name}"] for band in range(num_bands)]

    return {
        "gamma": np.stack(each("norm.weight")),
        "beta": np.stack(each("norm.bias")),
        "hidden_kernel": np.stack([w.T for w in each("hidden.0.weight")]),
        "hidden_bias": np.stack(each("hidden.0.bias")),
        "output_kernel": np.concatenate(each("output.0.weight")),
        "output_bias": np.concatenate(each("output.0.bias")),
    }


def assign(layer, arrays):
    """Assigns arrays to a layer's variables of the same names."""
    for name, array in arrays.items():
        getattr(layer, name).assign(array)


def assign_encoder(encoder, model, sizes):
    """Fills an encoder (a `BanditBackbone` or one of BSRNN's)."""
    assign(
        encoder.get_layer("band_split"),
        band_split_weights(model, len(sizes.widths)),
    )
    for block in range(sizes.num_blocks):
        pair = encoder.get_layer(f"pair_{block // 2}")
        residual = pair.over_bands if block % 2 else pair.over_frames
        for name, arrays in block_weights(model, block).items():
            assign(getattr(residual, name), arrays)


def assign_decoder(decoder, model, stem, sizes):
    """Fills a stem's decoder."""
    assign(
        decoder.get_layer("mask_decoder"),
        mask_decoder_weights(model, stem, len(sizes.widths)),
    )
