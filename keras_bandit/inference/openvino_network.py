"""What a separator is, in NumPy: read from Keras or from a preset's files.

The OpenVINO engine builds its graph from this description. A preset directory
is read without Keras, whose import alone takes longer than the separation of
a short file.
"""

import dataclasses
import json
import os

import numpy as np

from keras_bandit.bands import band_layout


class UnsupportedModelError(ValueError):
    """A model that the OpenVINO engine can't run; the message says why."""


@dataclasses.dataclass(frozen=True)
class Block:
    """One residual block: normalization, recurrence, projection.

    Attributes:
        gamma: `(embed_dim,)`. Of the normalization, with `beta`.
        beta: `(embed_dim,)`.
        kernel: `(2, embed_dim, gates * units)`, forward then backward; with
            the next three as in `keras_bandit.backend`.
        recurrent_kernel: `(2, units, gates * units)`.
        bias: `(2, gates * units)`.
        recurrent_bias: `(2, gates * units)`.
        projection: `(2 * units, embed_dim)`.
        projection_bias: `(embed_dim,)`.
    """

    gamma: np.ndarray
    beta: np.ndarray
    kernel: np.ndarray
    recurrent_kernel: np.ndarray
    bias: np.ndarray
    recurrent_bias: np.ndarray
    projection: np.ndarray
    projection_bias: np.ndarray


@dataclasses.dataclass(frozen=True)
class Encoder:
    """Band split and residual blocks; variables as in `BandSplit`.

    Attributes:
        bands: list of `Band`.
        gamma: `(total,)`, flat, band after band.
        beta: `(total,)`.
        kernel: `(total, embed_dim)`.
        bias: `(bands, embed_dim)`.
        blocks: list of `Block`, over frames and over bands by turns.
    """

    bands: list
    gamma: np.ndarray
    beta: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray
    blocks: list


@dataclasses.dataclass(frozen=True)
class Decoder:
    """One stem's mask decoder; variables as in `MaskDecoder`."""

    gamma: np.ndarray
    beta: np.ndarray
    hidden_kernel: np.ndarray
    hidden_bias: np.ndarray
    output_kernel: np.ndarray
    output_bias: np.ndarray


@dataclasses.dataclass(frozen=True)
class Network:
    """A separator.

    Attributes:
        sample_rate: int. Hz.
        num_channels: int, or `None`: each channel on its own.
        n_fft: int.
        hop_length: int.
        pad_mode: str; see `STFT`.
        rnn_type: `"gru"` or `"lstm"`.
        encoders: `{stem: Encoder}`; stems may share one.
        decoders: `{stem: Decoder}`.
    """

    sample_rate: int
    num_channels: int | None
    n_fft: int
    hop_length: int
    pad_mode: str
    rnn_type: str
    encoders: dict
    decoders: dict

    @property
    def stems(self):
        return list(self.decoders)

    def with_stems(self, stems):
        """The same with these stems only.

        Raises:
            ValueError: if there is no stem, or one that is not here.
        """
        if isinstance(stems, str) or not list(stems):
            raise ValueError(
                f"stems must be a list of some of {self.stems}; got {stems!r}"
            )
        unknown = [stem for stem in stems if stem not in self.decoders]
        if unknown:
            raise ValueError(f"stems must be among {self.stems}; got {unknown}")
        return dataclasses.replace(
            self,
            encoders={stem: self.encoders[stem] for stem in stems},
            decoders={stem: self.decoders[stem] for stem in stems},
        )


# --------------------------------------------------------------------------
# From Keras
# --------------------------------------------------------------------------


def network_of(separator):
    """Describes a separator; its weights are copied.

    Args:
        separator: `AudioSeparator` with a `BanditBackbone` or
            `BSRNNBackbone`, and decoders made by `build_decoder`.

    Returns:
        `Network`.

    Raises:
        UnsupportedModelError: for another backbone or decoder, a
            preprocessor, or a dtype policy other than float32 (mixed
            precision, quantized layers).
    """
    backbone = separator.backbone
    kind = type(backbone).__name__
    if kind not in ("BanditBackbone", "BSRNNBackbone"):
        raise UnsupportedModelError(
            "the OpenVINO engine takes separators with a BanditBackbone or "
            f"BSRNNBackbone; got {kind}"
        )
    if separator.preprocessor is not None:
        _refuse_preprocessor(type(separator.preprocessor).__name__)
    stems = list(separator.stems)
    if kind == "BanditBackbone":
        encoders = dict.fromkeys(stems, _encoder_of(backbone, backbone))
    else:
        encoders = {
            stem: _encoder_of(backbone.encoders[stem], backbone)
            for stem in stems
        }
    return Network(
        sample_rate=separator.sample_rate,
        num_channels=separator.num_channels,
        n_fft=backbone.n_fft,
        hop_length=separator.hop_length,
        pad_mode=separator.pad_mode,
        rnn_type=backbone.rnn_type,
        encoders=encoders,
        decoders={s: _decoder_of(separator.decoders[s]) for s in stems},
    )


def _refuse_preprocessor(name):
    # Keras applies it in `predict_on_batch`; the graph would leave it out.
    raise UnsupportedModelError(
        "the OpenVINO engine takes models without a preprocessor; got "
        f"preprocessor {name}"
    )


def _arrays(layer, *names):
    """Copies of a layer's variables, detached from any graph."""
    from keras import ops

    if layer.dtype_policy.name != "float32":
        raise UnsupportedModelError(
            "the OpenVINO engine takes models with dtype policy float32; got "
            f"{layer.dtype_policy.name} in {layer.name}"
        )
    return [
        np.array(ops.convert_to_numpy(getattr(layer, name))) for name in names
    ]


def _encoder_of(model, backbone):
    """`Encoder` of a Keras model with the layers of `models.encoder`."""
    split = model.get_layer("band_split")
    blocks = []
    for i in range(backbone.num_pairs):
        pair = model.get_layer(f"pair_{i}")
        blocks += [_block_of(pair.over_frames), _block_of(pair.over_bands)]
    arrays = _arrays(split, "gamma", "beta", "kernel", "bias")
    return Encoder(split.bands, *arrays, blocks)


def _block_of(block):
    names = ("kernel", "recurrent_kernel", "bias", "recurrent_bias")
    return Block(
        *_arrays(block.norm, "gamma", "beta"),
        *_arrays(block.recurrent, *names),
        *_arrays(block.projection, "kernel", "bias"),
    )


def _decoder_of(model):
    names = [layer.name for layer in model.layers]
    if names[1:] != ["mask_decoder", "overlap_recombine"]:
        raise UnsupportedModelError(
            "the OpenVINO engine takes decoders with the layers mask_decoder "
            f"and overlap_recombine; got {names[1:]} in {model.name}"
        )
    layer = model.get_layer("mask_decoder")
    fields = [field.name for field in dataclasses.fields(Decoder)]
    return Decoder(*_arrays(layer, *fields))


# --------------------------------------------------------------------------
# From a preset directory
# --------------------------------------------------------------------------


def read_network(folder):
    """Reads a preset directory of a BandIt, without Keras.

    Args:
        folder: path of a directory that `save_to_preset` wrote.

    Returns:
        `Network`.

    Raises:
        UnsupportedModelError: if the preset is not a float32 BandIt without
            preprocessor whose files hold exactly the variables expected, or
            its description is damaged. (A BSRNN's encoders stand in its file
            without their stems' names: Keras has to load it.)
        OSError: if a file cannot be read.
    """
    path = os.path.join(folder, "task.json")
    try:
        with open(path, encoding="utf-8") as file:
            task = json.load(file)
        _check_preset(folder, task)
        network = _described_network(task["config"])
        backbone = task["config"]["backbone"]["config"]
        names = _encoder_names(backbone)
        bands = band_layout(
            *(backbone[k] for k in ("band_layout", "num_bands", "n_fft")),
            backbone["sample_rate"],
        )
    except UnsupportedModelError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UnsupportedModelError(
            f"{path} must describe a BandIt as save_to_preset does; got "
            f"{type(error).__name__}: {error}"
        ) from error
    encoder = _read_encoder(folder, bands, names)
    for stem in network.stems:
        network.encoders[stem] = encoder
        network.decoders[stem] = _read_decoder(folder, stem)
    return network


def _described_network(config):
    """The `Network` of a configuration, its arrays still to be read."""
    backbone = config["backbone"]["config"]
    return Network(
        sample_rate=backbone["sample_rate"],
        num_channels=None,
        n_fft=backbone["n_fft"],
        hop_length=config["hop_length"],
        pad_mode=config["pad_mode"],
        rnn_type=backbone["rnn_type"],
        encoders=dict.fromkeys(config["stems"]),
        decoders=dict.fromkeys(config["stems"]),
    )


def _check_preset(folder, task):
    name = task["registered_name"]
    policy = task["config"]["backbone"]["config"]["dtype"]
    if isinstance(policy, dict):
        policy = policy["config"].get("name", policy["class_name"])
    if name != "keras_bandit>BanditAudioSeparator" or policy != "float32":
        raise UnsupportedModelError(
            "the OpenVINO engine reads presets of a BanditAudioSeparator in "
            f"float32; got {name} in {policy} in {folder}"
        )
    preprocessor = task["config"].get("preprocessor")
    if preprocessor is not None:
        _refuse_preprocessor(preprocessor["class_name"])


def _read_arrays(path, expected):
    """Reads the arrays of a Keras weights file, exactly the expected ones."""
    import h5py

    found = {}

    def collect(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = item

    with h5py.File(path) as file:
        file.visititems(collect)
        others = set(found) ^ set(expected)
        # Quantized weights are integers; float16 is how small presets ship.
        others |= {n for n, item in found.items() if item.dtype.kind != "f"}
        if others:
            raise UnsupportedModelError(
                f"{path} must hold the floating arrays of a BandIt alone; "
                f"added, missing or of another type: {sorted(others)[:4]}"
            )
        return [found[name][()].astype("float32") for name in expected]


def _encoder_names(backbone):
    names = [f"layers/band_split/vars/{i}" for i in range(4)]
    pair = f"layers/residual_{backbone['rnn_type']}_pair"
    for i in range(backbone["num_pairs"]):
        for over in ("over_frames", "over_bands"):
            block = f"{pair}_{i}/{over}" if i else f"{pair}/{over}"
            names += [f"{block}/norm/vars/{k}" for k in range(2)]
            names += [f"{block}/recurrent/vars/{k}" for k in range(4)]
            names += [f"{block}/projection/vars/{k}" for k in range(2)]
    return names


def _read_encoder(folder, bands, names):
    path = os.path.join(folder, "model.weights.h5")
    arrays = _read_arrays(path, names)
    blocks = [Block(*arrays[i : i + 8]) for i in range(4, len(arrays), 8)]
    return Encoder(bands, *arrays[:4], blocks)


def _read_decoder(folder, stem):
    path = os.path.join(folder, f"decoder_{stem}.weights.h5")
    names = [f"layers/mask_decoder/vars/{i}" for i in range(6)]
    return Decoder(*_read_arrays(path, names))
