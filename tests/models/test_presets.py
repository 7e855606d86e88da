"""Built-in architectures: sizes, table, one backend's files on another."""

import dataclasses
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_bandit.models import (
    AudioSeparator,
    BanditAudioSeparator,
    BSRNNAudioSeparator,
)
from keras_bandit.models.preset_table import preset_table
from keras_bandit.models.presets import PRESETS

# Instantiated by the authors' code: their benchmark files.
PARAMETERS = {
    "bandit_vox7": 25_676_176,
    "bandit_bark48": 64_480_864,
    "bandit_mel48": 32_753_744,
    "bandit_tribark48": 32_670_336,
    "bandit_erb48": 32_631_840,
    "bandit_musical48": 33_549_328,
    "bandit_bark64": 82_621_200,
    "bandit_mel64": 36_053_872,
    "bandit_tribark64": 35_996_128,
    "bandit_erb64": 35_964_048,
    "bandit_musical64": 37_022_688,
    "bandit_v2_musical64": 37_022_688,
    "bsrnn_gru8_vox7": 47_302_296,
    "bsrnn_lstm12_vox7": 77_343_384,
    "open_unmix_dnr": 22_103_058,
    "open_unmix_hq": 35_573_392,
    "open_unmix_l": 4 * 28_257_188,
    "open_unmix_speech": 2 * 1_583_622,
    "mrx": 30_509_080,
    "mrx_c": 30_509_080,
    "hybrid_demucs_dnr": 83_632_441,
    "hybrid_demucs_musdb18": 83_637_832,
    "htdemucs": 41_984_456,
    "htdemucs_6s": 27_414_996,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_of_the_authors(name):
    assert PRESETS[name].sizes().parameters == PARAMETERS[name]


@pytest.mark.parametrize("name", [p.name for p in PRESETS.values() if p.paper])
def test_paper_is_met(name):
    sizes, paper = PRESETS[name].sizes(), PRESETS[name].paper
    # BSRNN-GRU8's 47.4 M is three times a rounded 15.8 M.
    assert sizes.parameters / 1e6 == pytest.approx(paper.parameters_m, abs=0.11)
    # The authors' counter adds gates, biases and normalization.
    assert 0.985 < sizes.multiply_adds / 1e9 / paper.gflops < 1


def test_multiply_adds_of_the_baselines():
    """As counted in the authors' networks on 6 s of mono."""
    counted = {"open_unmix_dnr": 5.70, "hybrid_demucs_dnr": 59.5, "mrx": 31.5}
    for name, giga in counted.items():
        found = PRESETS[name].sizes().multiply_adds / 1e9
        assert found == pytest.approx(giga, rel=0.003)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "bandit_musical64",
        "bandit_v2_musical64",
        "bsrnn_microtonal",
        "open_unmix_dnr",
        "open_unmix_speech",
        "mrx",
        "hybrid_demucs_dnr",
        "htdemucs",
        "htdemucs_6s",
    ],
)
def test_layers_have_what_the_closed_form_says(name):
    separator = AudioSeparator.from_preset(name, load_weights=False)
    assert separator.count_params() == PRESETS[name].sizes().parameters
    # Demucs's layers differ too much to be kept together.
    assert len(separator.weights) <= (600 if "demucs" in name else 300)
    assert separator.stems == PRESETS[name].stems


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bsrnn_gru8_vox7", "bsrnn_musdb18"])
def test_bsrnn_layers_have_what_the_closed_form_says(name):
    # One pair instead of 8 or 12: the others are alike.
    preset = PRESETS[name]
    preset = dataclasses.replace(
        preset, backbone={**preset.backbone, "num_pairs": 1}
    )
    backbone = BSRNNAudioSeparator.backbone_cls(**preset.backbone)
    separator = BSRNNAudioSeparator(backbone, **preset.separator)
    assert separator.count_params() == preset.sizes().parameters


def test_table_has_every_preset():
    lines = preset_table().splitlines()
    assert len(lines) == 2 + len(PRESETS)
    assert len({len(line) for line in lines}) == 1
    for name, line in zip(PRESETS, lines[2:], strict=True):
        assert name in line
        assert f"{PRESETS[name].sizes().parameters:,}" in line


def test_overrides_reach_the_separator():
    separator = AudioSeparator.from_preset(
        "bsrnn_microtonal", stems=["vocals"], dtype="mixed_bfloat16"
    )
    assert isinstance(separator, BanditAudioSeparator)
    assert separator.stems == ["vocals"]
    assert separator.backbone.dtype_policy.name == "mixed_bfloat16"


def test_wrong_class_and_unknown_name():
    with pytest.raises(ValueError, match="not a BSRNNAudioSeparator"):
        BSRNNAudioSeparator.from_preset("bandit_vox7")
    with pytest.raises(ValueError, match=r"list_presets.*nothing_here"):
        AudioSeparator.from_preset("nothing_here")


def test_a_directory_goes_before_a_name(bandit, tmp_path, monkeypatch):
    """As on the command line (tests/cli/test_model.py)."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bandit_vox7").mkdir()  # such as one with somebody's stems
    separator = AudioSeparator.from_preset("bandit_vox7", stems=["speech"])
    assert separator.backbone.band_layout == "vocals_v7"
    bandit.save_to_preset("bandit_vox7")
    separator = AudioSeparator.from_preset("bandit_vox7")
    assert separator.get_config() == bandit.get_config()


READ_ELSEWHERE = """
import sys, numpy as np, keras
from keras_bandit.backend.process import without_tensorflow
with without_tensorflow():  # seconds, if Keras does not run on it
    import keras_hub
from keras_bandit import AudioSeparator
folder = sys.argv[1]
separator = AudioSeparator.from_preset(folder + "/preset")
data = np.load(folder + "/data.npz")
# Compiled whole on JAX, and untraced on TensorFlow: the quickest for one batch.
for stem, estimate in separator.predictor(1)(data["mixture"]).items():
    error = np.abs(estimate - data[stem]).max()
    assert error <= 1e-5 * max(1, np.abs(data[stem]).max()), (stem, error)
print(keras.config.backend())
"""


# Read here, a preset gives the same to the bit (test_separator.py).
OTHERS = {"tensorflow", "jax", "torch"} - {keras.config.backend()}


@pytest.mark.slow
@pytest.mark.parametrize("reader", sorted(OTHERS))
def test_written_here_read_elsewhere(reader, bandit, batch, tmp_path):
    bandit.save_to_preset(tmp_path / "preset")
    estimates = bandit.predictor(1)(batch[0])
    np.savez(tmp_path / "data.npz", mixture=batch[0], **estimates)
    done = subprocess.run(
        [sys.executable, "-c", READ_ELSEWHERE, str(tmp_path)],
        env={**os.environ, "KERAS_BACKEND": reader},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == reader


WITHOUT_TENSORFLOW = """
import sys
from keras_bandit.backend.process import without_tensorflow
with without_tensorflow():
    import keras_hub
from keras_bandit import AudioSeparator
AudioSeparator.from_preset(sys.argv[1])
assert "tensorflow" not in sys.modules
"""


@pytest.mark.skipif(
    keras.config.backend() == "tensorflow", reason="Keras runs on it"
)
def test_a_local_preset_needs_no_tensorflow(bandit, tmp_path):
    bandit.save_to_preset(tmp_path)
    code = [sys.executable, "-c", WITHOUT_TENSORFLOW, str(tmp_path)]
    done = subprocess.run(code, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("preset", ["bandit_demo", "gs://bucket/preset"])
def test_only_remote_presets_may_need_tensorflow(preset, monkeypatch):
    # KerasHub asks TensorFlow for the file systems that it knows.
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    seen = []
    monkeypatch.setattr(
        AudioSeparator,
        "_from_files",
        lambda *args: seen.append(sys.modules.get("tensorflow", "free")),
    )
    AudioSeparator.from_preset(preset)
    backend = keras.config.backend()
    hidden = preset == "bandit_demo" and backend != "tensorflow"
    assert seen == [None if hidden else "free"]
    assert "tensorflow" not in sys.modules


def test_what_does_not_load_is_named(bandit, tmp_path, monkeypatch):
    bandit.save_to_preset(tmp_path)
    weights, task = tmp_path / "model.weights.h5", tmp_path / "task.json"
    described = json.loads(task.read_text())

    def refused(match, preset=str(tmp_path)):
        with pytest.raises(ValueError, match=match):
            AudioSeparator.from_preset(preset)

    config = {**described["config"], "chunk_seconds": "6"}
    task.write_text(json.dumps({**described, "config": config}))
    refused(r"^chunk_seconds must .*got '6'$")
    task.write_text(json.dumps(described))
    weights.write_bytes(weights.read_bytes()[:3000])
    refused(r"model\.weights\.h5 is damaged: .*truncated")
    weights.unlink()
    refused(r"has no file model\.weights\.h5")

    def offline(preset, name):
        if preset == "foo://bar":
            raise ValueError("Unknown preset identifier. Use `print(…)`")
        cause = type("LocalEntryNotFoundError", (FileNotFoundError,), {})
        raise FileNotFoundError from cause()

    monkeypatch.setattr("keras_hub.src.utils.preset_utils.get_file", offline)
    refused("cannot be reached over the network", "hf://foo/bar")
    refused(r"a handle such as .*; got 'foo://bar'", "foo://bar")
