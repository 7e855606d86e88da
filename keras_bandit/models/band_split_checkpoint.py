"""Checkpoints of band-split models, as BandIt's authors write them.

BandIt and BSRNN have their tensors under one naming, that of the authors'
first release (`karnwatcharasupat/bandit` at 735a57c), without the leading
`bsrnn.`:

    band_split.norm_fc_modules.{b}.{norm,fc}.{weight,bias}
    tf_model.seqband.{i}.{norm,rnn,fc}.…
    mask_estim.{stem}.norm_mlp.{b}.{norm,hidden.0,output.0}.{weight,bias}
    mask_estim.{stem}.freq_weights/{b}          recombination weights, or none

The tables below say where they go in our layers.
"""

import collections
import dataclasses
import itertools
import operator
import re

import numpy as np

from keras_bandit.bands import band_layout, find_layout
from keras_bandit.models.band_split_sizes import GATES

MAX_CHANNELS = 8
MAX_LISTED = 20
BUFFERS = re.compile(r"(stft|istft)\.window|fader\..*")
FREQUENCY_WEIGHTS = re.compile(r"mask_estim\.[^.]+\.freq_weights/(\d+)")


def _transposed(join):
    return lambda arrays: join([array.T for array in arrays])


# Our variable: PyTorch's name, its shape, how those of all bands (or of both
# directions) become one. An axis of a shape is a letter of `_dimensions`.
BAND_SPLIT = {
    "gamma": ("norm.weight", "i", np.concatenate),
    "beta": ("norm.bias", "i", np.concatenate),
    "kernel": ("fc.weight", "di", _transposed(np.concatenate)),
    "bias": ("fc.bias", "d", np.stack),
}
BLOCK = {
    "norm.gamma": ("norm.weight", "d", np.concatenate),
    "norm.beta": ("norm.bias", "d", np.concatenate),
    "projection.kernel": ("fc.weight", "dh", _transposed(np.concatenate)),
    "projection.bias": ("fc.bias", "d", np.concatenate),
}
RECURRENT = {
    "kernel": ("weight_ih", "gd", _transposed(np.stack)),
    "recurrent_kernel": ("weight_hh", "gu", _transposed(np.stack)),
    "bias": ("bias_ih", "g", np.stack),
    "recurrent_bias": ("bias_hh", "g", np.stack),
}
MASK_DECODER = {
    "gamma": ("norm.weight", "d", np.stack),
    "beta": ("norm.bias", "d", np.stack),
    "hidden_kernel": ("hidden.0.weight", "md", _transposed(np.stack)),
    "hidden_bias": ("hidden.0.bias", "m", np.stack),
    "output_kernel": ("output.0.weight", "om", np.concatenate),
    "output_bias": ("output.0.bias", "o", np.concatenate),
}


@dataclasses.dataclass(frozen=True)
class TensorSizes:
    """What a model's tensors say about it."""

    widths: tuple  # values of each band, channels * bins
    embed_dim: int
    rnn_dim: int
    rnn_type: str
    num_blocks: int  # two for each residual pair
    mlp_dim: int
    stems: tuple  # in the checkpoint's order


def _dimensions(sizes, width=0):
    """Sizes of axes by letter; those of a band for its width."""
    return {
        "d": sizes.embed_dim,
        "u": sizes.rnn_dim,
        "h": 2 * sizes.rnn_dim,  # both directions
        "g": GATES[sizes.rnn_type] * sizes.rnn_dim,
        "m": sizes.mlp_dim,
        "i": 2 * width,  # real and imaginary parts
        "o": 4 * width,  # and their gates
    }


def _rows(table, layer, prefix, places):
    """Rows `(layer, variable, {tensor: shape}, join)` of a table.

    `prefix` goes before the variables of our layer; `places` are `{pattern of
    PyTorch's names: _dimensions(…)}`.
    """
    for variable, (name, axes, join) in table.items():
        tensors = {
            pattern.format(name): tuple(dims[axis] for axis in axes)
            for pattern, dims in places.items()
        }
        yield layer, prefix + variable, tensors, join


def encoder_rows(sizes):
    """Where an encoder's tensors go; see `_rows`."""
    places = {
        f"band_split.norm_fc_modules.{band}.{{}}": _dimensions(sizes, width)
        for band, width in enumerate(sizes.widths)
    }
    yield from _rows(BAND_SPLIT, "band_split", "", places)
    dims = _dimensions(sizes)
    for i in range(sizes.num_blocks):
        block = f"tf_model.seqband.{i}"
        layer = f"pair_{i // 2}"
        prefix = "over_bands." if i % 2 else "over_frames."
        yield from _rows(BLOCK, layer, prefix, {f"{block}.{{}}": dims})
        directions = {
            f"{block}.rnn.{{}}_l0": dims,
            f"{block}.rnn.{{}}_l0_reverse": dims,
        }
        prefix += "recurrent."
        yield from _rows(RECURRENT, layer, prefix, directions)


def decoder_rows(sizes, stem):
    """Where a decoder's tensors go; see `_rows`."""
    places = {
        f"mask_estim.{stem}.norm_mlp.{band}.{{}}": _dimensions(sizes, width)
        for band, width in enumerate(sizes.widths)
    }
    return _rows(MASK_DECODER, "mask_decoder", "", places)


def expected_shapes(sizes):
    """Every tensor that a model of these sizes has, `{name: shape}`."""
    parts = [encoder_rows(sizes)]
    parts += [decoder_rows(sizes, stem) for stem in sizes.stems]
    rows = itertools.chain(*parts)
    return {k: v for _, _, tensors, _ in rows for k, v in tensors.items()}


def variables(model, rows, tensors):
    """Yields the variables of an encoder or decoder, and their values.

    `rows` are its `encoder_rows` or `decoder_rows`.
    """
    for layer, variable, names, join in rows:
        found = operator.attrgetter(variable)(model.get_layer(layer))
        yield found, join([tensors[name] for name in names])


def _vote(tensors, pattern, size):
    """Commonest size of the tensors whose names fit.

    One misshapen tensor must not decide a size, or the error would blame all
    the others.
    """
    counts = collections.Counter(
        size(array.shape)
        for name, array in tensors.items()
        if array.ndim and re.fullmatch(pattern, name)
    )
    if not counts:
        raise ValueError(f"checkpoint has no tensor named like {pattern}")
    return counts.most_common(1)[0][0]


def _found(tensors, pattern):
    """What a pattern captures in the names, in their order."""
    matches = (re.match(pattern, name) for name in tensors)
    found = dict.fromkeys(match[1] for match in matches if match)
    if not found:
        raise ValueError(f"checkpoint has no tensor named like {pattern}…")
    return list(found)


def read_sizes(tensors):
    """Reads `TensorSizes`, or raises `ValueError` if a part is missing."""
    first, last = operator.itemgetter(0), operator.itemgetter(-1)
    split = r"band_split\.norm_fc_modules\."
    num_bands = 1 + max(map(int, _found(tensors, rf"{split}(\d+)\.")))
    rnn = r"tf_model\.seqband\.\d+\.rnn\.weight_hh_l0(_reverse)?"
    gates = _vote(tensors, rnn, lambda x: x[0] / max(1, x[-1]))
    kinds = [kind for kind, count in GATES.items() if count == gates]
    if not kinds:
        raise ValueError(
            f"recurrent layers must have 3 (GRU) or 4 (LSTM) gates; got {gates}"
        )
    hidden = r"mask_estim\.[^.]+\.norm_mlp\.\d+\.hidden\.0\.weight"
    blocks = _found(tensors, r"tf_model\.seqband\.(\d+)\.")
    inputs = r"(norm\.(weight|bias)|fc\.weight)"
    in_split = {k: v for k, v in tensors.items() if re.match(split, k)}
    return TensorSizes(
        widths=tuple(
            _vote(in_split, rf"{split}{band}\.{inputs}", lambda x: x[-1] // 2)
            for band in range(num_bands)
        ),
        embed_dim=_vote(in_split, rf"{split}\d+\.fc\.weight", first),
        rnn_dim=_vote(tensors, rnn, last),
        rnn_type=kinds[0],
        num_blocks=1 + max(map(int, blocks)),
        mlp_dim=_vote(tensors, hidden, first),
        stems=tuple(_found(tensors, r"mask_estim\.([^.]+)\.")),
    )


def find_bands(widths, weights, n_fft, sample_rates):
    """Finds `(layout, num_bands, sample_rate, channels)` of the bands' widths.

    `widths` are `channels * bins` of each band; of `sample_rates` the most
    likely comes first. `layout` is a name, or a list of bands: neighbours of no
    known layout, or a layout's with the checkpoint's weights, if these differ
    by more than float32 does from machine to machine.
    """
    for channels in range(1, MAX_CHANNELS + 1):
        if any(width % channels for width in widths):
            continue
        per_channel = [width // channels for width in widths]
        found = find_layout(per_channel, weights, n_fft, sample_rates)
        if found:
            layout, num_bands, rate = found[0]
            if weights is not None:
                bands = band_layout(layout, num_bands, n_fft, rate)
                pairs = list(zip(bands, weights, strict=True))
                if not all(
                    np.abs(band.weights - w).max() <= 1e-6 for band, w in pairs
                ):
                    layout = [(band.start, band.stop, w) for band, w in pairs]
                    num_bands = None
            return layout, num_bands, rate, channels
        if weights is None and sum(per_channel) == n_fft // 2 + 1:
            edges = itertools.accumulate(per_channel, initial=0)
            bands = list(itertools.pairwise(edges))
            return bands, None, sample_rates[0], channels
    raise ValueError(
        f"no band layout at n_fft={n_fft} and {sample_rates} Hz has bands of "
        f"widths {list(widths)}"
        + (" and the checkpoint's weights" if weights is not None else "")
    )


@dataclasses.dataclass(frozen=True)
class Model:
    """One network of a checkpoint."""

    tensors: dict  # {name: array}, without recombination weights
    sizes: TensorSizes
    n_fft: int
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
            "n_fft": self.n_fft,
            "sample_rate": self.sample_rate,
        }

    def fill(self, encoder, decoders):
        """Assigns the weights of an encoder and of `{stem: decoder}`."""
        parts = [(encoder, encoder_rows(self.sizes))]
        parts += [(d, decoder_rows(self.sizes, s)) for s, d in decoders.items()]
        for part, rows in parts:
            for variable, array in variables(part, rows, self.tensors):
                variable.assign(array)


def _take_frequency_weights(tensors):
    """Takes recombination weights out of the tensors: `{band: array}`."""
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


def _problems(tensors, sizes, weights):
    """What is missing, unexpected or misshapen, a message each."""
    expected = expected_shapes(sizes)
    problems = [f"missing: {k}" for k in expected if k not in tensors]
    problems += [f"unexpected: {k}" for k in tensors if k not in expected]
    problems += [
        f"misshapen: {name} is {tensors[name].shape}, not {shape}"
        for name, shape in expected.items()
        if name in tensors and tensors[name].shape != shape
    ]
    if weights:
        bands = range(len(sizes.widths))
        missing = [band for band in bands if band not in weights]
        problems += [f"missing: freq_weights/{band}" for band in missing]
    return problems


def read_models(tensors, split, sample_rates):
    """Reads a checkpoint's networks, `{stem: Model}`, and checks all tensors.

    `split` is a function of the tensors but for buffers, to `{stem: {name:
    array}}` under the common naming; the stem is `None` for a network of all
    stems. `ValueError` if tensors are missing, unexpected or misshapen (all
    are listed), or no layout has these bands.
    """
    window = tensors.get("stft.window", np.zeros(2048))  # the authors' n_fft
    if window.ndim != 1:
        raise ValueError(
            f"stft.window must have one axis; got shape {window.shape}"
        )
    models = split(
        {k: v for k, v in tensors.items() if not BUFFERS.fullmatch(k)}
    )
    described, problems = {}, []
    for stem, named in models.items():
        weights = _take_frequency_weights(named)
        sizes = read_sizes(named)
        prefix = f"{stem}: " if stem else ""
        problems += [prefix + p for p in _problems(named, sizes, weights)]
        described[stem] = (named, sizes, weights)
    if problems:
        rest = len(problems) - MAX_LISTED
        listed = "\n  ".join(problems[:MAX_LISTED])
        more = f"\n  … and {rest} more" if rest > 0 else ""
        raise ValueError(
            f"checkpoint does not fit its own sizes:\n  {listed}{more}"
        )
    found = {}
    for stem, (named, sizes, weights) in described.items():
        bands = range(len(sizes.widths)) if weights else ()
        weights = [weights[band] for band in bands] or None
        layout = find_bands(sizes.widths, weights, len(window), sample_rates)
        found[stem] = Model(named, sizes, len(window), *layout)
    return found
