"""Format detection, sizes and errors of the checkpoint import."""

import itertools
import pickle

import keras
import numpy as np
import pytest
import torch

from keras_bandit.bands import band_layout
from keras_bandit.convert import from_checkpoint
from keras_bandit.convert.checkpoint_file import read_state_dict
from keras_bandit.models import BanditAudioSeparator, BSRNNAudioSeparator
from keras_bandit.models.band_split_checkpoint import (
    TensorSizes,
    expected_shapes,
)

as_numpy = keras.ops.convert_to_numpy


def state_dict(
    layout, num_bands, stems, rnn_type="gru", channels=1, rate=44100
):
    """A random BandIt v1 state dict of odd sizes, with its buffers."""
    bands = band_layout(layout, num_bands, 2048, rate)
    sizes = TensorSizes(
        widths=tuple(channels * band.width for band in bands),
        embed_dim=5,
        rnn_dim=7,
        rnn_type=rnn_type,
        num_blocks=2,
        mlp_dim=3,
        stems=tuple(stems),
    )
    rng = np.random.default_rng(0)
    tensors = {
        f"bsrnn.{name}": rng.normal(0, 0.1, shape).astype("float32")
        for name, shape in expected_shapes(sizes).items()
    }
    tensors["stft.window"] = np.hanning(2049)[:-1].astype("float32")
    if num_bands:
        for stem in stems:
            for i, band in enumerate(bands):
                key = f"bsrnn.mask_estim.{stem}.freq_weights/{i}"
                tensors[key] = band.weights
    return tensors


def single_mask(tensors, stem):
    """The same as BSRNN names it: one model, its stem in front."""
    renamed = {}
    for name, value in tensors.items():
        name = name.replace(f"mask_estim.{stem}.", "mask_estim.")
        renamed[name.replace("bsrnn.", f"bsrnn.{stem}.")] = value
    return renamed


@pytest.fixture
def tensors():
    return state_dict("musical", 12, ["speech", "music"])


@pytest.mark.parametrize(
    ("layout", "num_bands", "rate"),
    [
        ("musical", 20, 44100),
        ("mel", 17, 44100),
        ("mel", 48, 48000),
        ("tribark", 24, 44100),
        ("erb", 33, 44100),
        ("bark", 12, 44100),
        ("vocals_v7", None, 44100),
        ("bass", None, 44100),
    ],
)
def test_layout_is_found_from_the_tensors(layout, num_bands, rate):
    separator = from_checkpoint(state_dict(layout, num_bands, ["a"], rate=rate))
    assert isinstance(separator, BanditAudioSeparator)
    backbone = separator.backbone
    assert (backbone.band_layout, backbone.num_bands) == (layout, num_bands)
    assert separator.sample_rate == rate
    assert (backbone.embed_dim, backbone.rnn_dim) == (5, 7)
    assert (backbone.num_pairs, separator.mlp_dim) == (1, 3)


def test_unknown_neighbouring_bands_become_a_list():
    edges = [0, 100, 300, 1025]
    bands = [list(pair) for pair in itertools.pairwise(edges)]
    separator = from_checkpoint(state_dict(bands, None, ["speech"]))
    found = [(b.start, b.stop) for b in separator.backbone.bands]
    assert found == [tuple(pair) for pair in bands]


@pytest.mark.parametrize("rnn_type", ["gru", "lstm"])
@pytest.mark.parametrize("channels", [1, 2])
def test_bsrnn_is_recognized(rnn_type, channels):
    tensors = state_dict("drums", None, ["drums"], rnn_type, channels)
    separator = from_checkpoint(single_mask(tensors, "drums"))
    assert isinstance(separator, BSRNNAudioSeparator)
    assert separator.backbone.rnn_type == rnn_type
    assert separator.num_channels == channels
    assert separator.backbone.band_layout == {"drums": "drums"}


def config(separator):
    """A separator's arguments, without the names that Keras counts up."""
    own = separator.get_config()
    encoder = own.pop("backbone")["config"]
    return [{**part, "name": None} for part in (own, encoder)]


def assert_same(separator, other):
    """The same model with the same weights, to the bit."""
    assert config(separator) == config(other)
    for weight, expected in zip(
        separator.get_weights(), other.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(weight, expected)


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "state"])
def test_wrappings_make_no_difference(tensors, wrapper, tmp_path):
    wrapped = {f"model.{k}": torch.tensor(v) for k, v in tensors.items()}
    wrapped["model.fader.standard_window"] = torch.zeros(10)
    wrapped["loss_handler.weight"] = torch.ones(1)
    path = tmp_path / "epoch=1.ckpt"
    torch.save({wrapper: wrapped, "epoch": 1, "callbacks": {}}, path)
    separator = from_checkpoint(path)
    assert_same(separator, from_checkpoint(tensors))
    assert separator.metadata["source"] == path.name
    assert len(separator.metadata["source_sha256"]) == 64


def test_v2_reads_the_duplicates_where_the_originals_are_gone(checkpoint):
    saved = torch.load(checkpoint("bandit_v2_musical12"), weights_only=True)
    kept = {
        name: value
        for name, value in saved["state_dict"].items()
        if "mask_estim" not in name or "combined" in name or "freq" in name
    }
    assert_same(from_checkpoint(kept), from_checkpoint(saved))


def test_v2_is_48_khz_with_reflection(checkpoint):
    separator = from_checkpoint(checkpoint("bandit_v2_musical12"))
    assert separator.sample_rate == 48000
    assert separator.pad_mode == "reflect"
    assert separator.stems == ["speech", "music", "sfx"]


def test_v2_with_four_stems(checkpoint):
    """Of Facing the Music: singing is a stem of its own."""
    saved = read_state_dict(checkpoint("bandit_v2_musical12"))["state_dict"]
    stems = {
        "speech": "speech",
        "music": "music_instrumental",
        "sing": "music_vocals",
        "sfx": "sfx",
    }
    tensors = {}
    for name, value in saved.items():
        for old, new in stems.items():
            here = f"mask_estim.{old.replace('sing', 'music')}."
            if here in name:
                tensors[name.replace(here, f"mask_estim.{new}.")] = value
        if "mask_estim" not in name:
            tensors[name] = value
    separator = from_checkpoint(tensors)
    assert set(separator.stems) == set(stems.values())


def test_sample_rate_from_hparams(tensors, tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    torch.save(
        {k: torch.tensor(v) for k, v in tensors.items()}, folder / "x.pt"
    )
    assert from_checkpoint(folder / "x.pt").sample_rate == 44100
    hparams = "system: {model: {kwargs: {fs: 48000}}}"
    (tmp_path / "hparams.yaml").write_text(hparams)
    assert from_checkpoint(folder / "x.pt").sample_rate == 48000
    # Said by the user, it goes first.
    given = from_checkpoint(folder / "x.pt", sample_rate=44100)
    assert given.sample_rate == 44100
    with pytest.raises(ValueError, match="sample_rate must be"):
        from_checkpoint(folder / "x.pt", sample_rate=0)
    (folder / "hparams.yaml").write_text(
        "x: !!python/object/apply:os.getcwd []"
    )
    with pytest.raises(ValueError, match="not plain YAML"):
        from_checkpoint(folder / "x.pt")


def test_all_that_is_wrong_is_listed(tensors):
    prefix = "bsrnn.band_split.norm_fc_modules.3"
    del tensors[f"{prefix}.fc.bias"]
    tensors[f"{prefix}.norm.weight"] = np.zeros(3, "float32")
    tensors["bsrnn.extra"] = np.zeros(1, "float32")
    with pytest.raises(ValueError, match="does not fit") as error:
        from_checkpoint(tensors)
    message = str(error.value)
    assert "missing: band_split.norm_fc_modules.3.fc.bias" in message
    assert "misshapen: band_split.norm_fc_modules.3.norm.weight" in message
    assert "unexpected: extra" in message


@pytest.mark.parametrize("part", ["band_split", "tf_model", "mask_estim"])
def test_a_whole_part_missing(tensors, part):
    kept = {k: v for k, v in tensors.items() if f".{part}." not in k}
    with pytest.raises(ValueError, match="checkpoint"):
        from_checkpoint(kept)


def test_a_missing_frequency_weight(tensors):
    for stem in ("speech", "music"):
        del tensors[f"bsrnn.mask_estim.{stem}.freq_weights/4"]
    with pytest.raises(ValueError, match="freq_weights/4"):
        from_checkpoint(tensors)


def test_unknown_bands(tensors):
    for name in list(tensors):
        if "freq_weights/11" in name:
            tensors[name] = tensors[name][::-1] * 0.5
    with pytest.raises(ValueError, match="no band layout"):
        from_checkpoint(tensors)


@pytest.mark.parametrize(
    "content", [b"", b"not a checkpoint at all", bytes(range(256))]
)
def test_a_file_that_is_no_checkpoint(tmp_path, content):
    path = tmp_path / "x.ckpt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"not a PyTorch checkpoint"):
        from_checkpoint(path)


class Payload:
    """Would run code if it were unpickled."""

    def __reduce__(self):
        return exec, ("raise SystemExit('code ran')",)


@pytest.mark.parametrize("legacy", [False, True])
def test_code_is_refused(tmp_path, legacy):
    path = tmp_path / "x.ckpt"
    if legacy:
        path.write_bytes(pickle.dumps({"state_dict": Payload()}, protocol=2))
    else:
        torch.save({"state_dict": {"a": Payload()}}, path)
    with pytest.raises(ValueError, match=r"refused: .*tensors \(\S*exec\)$"):
        from_checkpoint(path)


def test_truncated_file(checkpoint, tmp_path):
    path = tmp_path / "x.ckpt"
    content = checkpoint("bandit_v1_mel16").read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="not a PyTorch checkpoint"):
        from_checkpoint(path)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint file"):
        from_checkpoint(tmp_path / "nothing.ckpt")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({}, "must hold tensors; got an empty dict"),
        ({"state_dict": {}}, "must hold tensors; got an empty dict"),
        ([1], "must be a dict of tensors; got list"),
        ({"a": np.ones(1)}, "checkpoint must be one of: BandIt v1"),
    ],
)
def test_not_a_state_dict(bad, message):
    with pytest.raises(ValueError, match=message):
        from_checkpoint(bad)


def test_nan_is_named(tensors):
    name = "bsrnn.band_split.norm_fc_modules.0.fc.bias"
    tensors[name] = np.full_like(tensors[name], np.nan)
    with pytest.raises(ValueError, match=r"NaN or .*modules\.0\.fc\.bias"):
        from_checkpoint(tensors)


def test_entries_that_are_no_tensors(tensors):
    tensors["bsrnn.band_split.norm_fc_modules.0.fc.bias"] = "x"
    with pytest.raises(ValueError, match=r"be tensors; .*bias is a str"):
        from_checkpoint(tensors)


@pytest.mark.parametrize("kind", [bool, complex])
def test_entries_that_are_no_real_numbers(tensors, kind):
    tensors["bsrnn.band_split.norm_fc_modules.0.fc.bias"] = np.ones(1, kind)
    with pytest.raises(
        ValueError, match=rf"be real numbers; .*bias has dtype {kind.__name__}"
    ):
        from_checkpoint(tensors)
