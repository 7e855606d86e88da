"""Loading a preset: where it is found, and the engine that it runs on."""

import os
import subprocess
import sys
import types

import keras
import numpy as np
import pytest

import keras_bandit
from keras_bandit import cli
from keras_bandit.cli import model as model_module
from keras_bandit.cli.console import CommandError
from keras_bandit.cli.model import load_core, load_separator
from keras_bandit.export import UnsupportedModelError
from keras_bandit.inference import engines
from keras_bandit.models import presets

from .command_line import (
    Gains,
    error_line,
    found,
    python,
    read,
    separate,
    write,
)


@pytest.fixture
def names(monkeypatch, tmp_path):
    """Two names of presets, and a place where presets load as their name."""
    monkeypatch.setattr(model_module, "import_keras", lambda: None)
    folders = {"bare": None, "trained": "trained"}
    monkeypatch.setattr(presets, "PRESETS", folders)
    monkeypatch.setattr(presets, "find_weights", folders.get)
    loader = types.SimpleNamespace(from_preset=lambda preset: preset)
    monkeypatch.setattr(keras_bandit, "AudioSeparator", loader, raising=False)
    monkeypatch.chdir(tmp_path)
    return loader


@pytest.mark.parametrize("preset", ["trained", "hf://someone/model"])
def test_names_and_urls_are_loaded(names, preset):
    assert load_separator(preset) == preset


@pytest.mark.parametrize("name", ["presets/mine", "bare", "trained"])
def test_directory_goes_before_a_name(names, tmp_path, name):
    (tmp_path / name).mkdir(parents=True)
    (tmp_path / name / "config.json").touch()
    assert load_separator(name) == str(tmp_path / name)


def test_other_directories_do_not_go_before_a_name(names, tmp_path):
    (tmp_path / "trained").mkdir()  # such as one with somebody's stems
    assert load_separator("trained") == "trained"


def test_bad_presets(names, tmp_path):
    (tmp_path / "folder").mkdir()
    for preset, message in [
        ("bare", "preset bare has an architecture but no trained weights"),
        ("nothing", "preset nothing: no such directory, and no such name"),
        ("folder", "folder: not a preset directory"),
    ]:
        with pytest.raises(CommandError, match=message):
            load_separator(preset)


def test_preset_that_does_not_load_is_one_line(names):
    def refuse(preset):
        raise ValueError("several\nlines")

    names.from_preset = refuse
    with pytest.raises(CommandError, match="trained: several lines"):
        load_separator("trained")


BACKEND = keras.config.backend()


def test_a_separator_is_loaded_without_other_backends():
    code = (
        "import sys; from keras_bandit.cli.model import load_separator; "
        "separator = load_separator('bandit_demo'); "
        "print(*({'tensorflow', 'jax', 'torch'} & set(sys.modules))); "
        "import tensorflow, jax"
    )
    result = python("-c", code, env={**os.environ, "KERAS_BACKEND": BACKEND})
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{BACKEND}\n"


# Engines


class Network(Gains):
    """Stands in for a `CoreSeparator`."""

    precision = "float32"


@pytest.fixture
def engine(model, monkeypatch):
    """Engines behind any preset; lists what was loaded on them."""
    loaded = []

    def load(*arguments):
        loaded.append(arguments[:4])
        return Network()

    monkeypatch.setattr(model_module, "load_core", load)
    monkeypatch.setattr(engines, "has_package", lambda name: True)
    monkeypatch.setattr(engines, "has_gpu", lambda: False)
    return loaded


@pytest.mark.parametrize(
    ("args", "loaded", "said"),
    [
        (["auto"], [("p", "openvino", "float32", None)], "openvino, float32"),
        (["auto", "--backend", "torch"], [], "keras, float32"),
        (["keras"], [], None),
        (["openvino"], [("p", "openvino", "float32", None)], None),
        (["onnxruntime"], [("p", "onnxruntime", "float32", None)], None),
        (
            ["auto", "--precision", "bfloat16", "--engine-cache", "c"],
            [("p", "openvino", "bfloat16", "c")],
            "openvino, bfloat16",
        ),
    ],
)
def test_engine_is_chosen_and_said(
    engine, capsys, monkeypatch, args, loaded, said
):
    name = "keras_bandit.cli.separate.choose_backend"
    monkeypatch.setattr(name, lambda backend: None)
    mixture = write("film.wav")
    assert separate("film.wav", "--engine", *args) == 0
    assert engine == loaded
    captured = capsys.readouterr().err
    assert captured == (
        f"keras-bandit: computing with {said}\n" if said else ""
    )
    np.testing.assert_allclose(
        read("separated/film/speech.wav"), 0.5 * mixture, atol=1e-6
    )
    assert (
        separate("film.wav", "--engine", *args, "--quiet", "--overwrite") == 0
    )
    assert capsys.readouterr().err == ""


def test_auto_says_that_keras_computes(engine, monkeypatch, capsys):
    def load(*arguments):
        raise UnsupportedModelError("got a toy")

    monkeypatch.setattr(model_module, "load_core", load)
    write("film.wav")
    assert separate("film.wav", "--engine", "auto") == 0
    assert capsys.readouterr().err == (
        "keras-bandit: computing with keras, float32: got a toy\n"
    )
    args = ["--engine", "auto", "--engine-cache", "c", "--quiet"]
    assert separate("film.wav", "--overwrite", *args) == 0
    assert capsys.readouterr().err == (
        "keras-bandit: warning: --engine-cache is not used: Keras computes\n"
    )
    for args, advice in [
        (["openvino"], "--engine keras"),
        (
            ["auto", "--precision", "bfloat16"],
            "--engine keras --precision float32",
        ),
    ]:
        assert separate("film.wav", "--overwrite", "--engine", *args) == 2
        assert error_line(capsys) == f"preset p: got a toy; {advice} can"


def test_damaged_openvino_is_one_line(model, monkeypatch, capsys):
    # It is found, and its import fails.
    monkeypatch.setattr(engines, "has_package", lambda name: True)
    monkeypatch.setattr(engines, "has_gpu", lambda: False)
    monkeypatch.setitem(sys.modules, "openvino", None)
    mixture = write("film.wav")
    assert separate("film.wav", "--engine", "auto") == 0
    said = capsys.readouterr().err
    assert said.startswith(
        "keras-bandit: computing with keras, float32: OpenVINO cannot be "
    )
    assert said.count("\n") == 1
    np.testing.assert_allclose(
        read("separated/film/speech.wav"), 0.5 * mixture, atol=1e-6
    )
    for args in (["openvino"], ["auto", "--precision", "bfloat16"]):
        assert separate("film.wav", "--overwrite", "--engine", *args) == 2
        line = error_line(capsys)
        assert line.startswith("preset p: OpenVINO cannot be imported: ")
        assert "; --engine keras" in line


def test_what_only_openvino_has_is_refused_with_keras(engine, capsys):
    write("film.wav")
    for args, message in [
        (
            ["--engine", "auto", "--backend", "jax", "--precision", "bfloat16"],
            "--precision bfloat16 is OpenVINO's; got --backend jax and "
            "--precision bfloat16",
        ),
        (
            ["--engine", "auto", "--backend", "jax", "--engine-cache", "c"],
            "--engine-cache is OpenVINO's; got --backend jax and "
            "--engine-cache c",
        ),
        (
            ["--engine", "keras", "--engine-cache", "c"],
            "--engine-cache is OpenVINO's; got --engine keras and "
            "--engine-cache c",
        ),
        (
            ["--engine", "onnxruntime", "--engine-cache", "c"],
            "--engine-cache is OpenVINO's; got --engine onnxruntime and "
            "--engine-cache c",
        ),
    ]:
        assert separate("film.wav", *args) == 2
        assert error_line(capsys) == message
    assert found() == ["film.wav"]


def test_engine_cache_is_checked_before_loading(engine, capsys):
    write("film.wav")
    args = ["--engine", "openvino", "--engine-cache", "film.wav"]
    assert separate("film.wav", *args) == 2
    assert error_line(capsys) == (
        "film.wav: not a directory; cannot write there"
    )
    assert engine == []


@pytest.fixture
def preset(tmp_path, monkeypatch):
    """A preset directory of a small BSRNN, and a cache of the test's own."""
    from keras_bandit.models import BSRNNAudioSeparator, BSRNNBackbone

    monkeypatch.setenv("KERAS_BANDIT_CACHE", str(tmp_path / "cache"))
    sizes = {"n_fft": 64, "sample_rate": 8000, "num_pairs": 1}
    backbone = BSRNNBackbone(
        ["a"], {"a": [(0, 33)]}, embed_dim=3, rnn_dim=4, **sizes
    )
    bsrnn = BSRNNAudioSeparator(backbone, ["a"], hop_length=16, mlp_dim=5)
    bsrnn.save_to_preset(tmp_path / "bsrnn")
    return tmp_path / "bsrnn"


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_cores_are_exported_once(preset, engine, capsys):
    pytest.importorskip(engine, reason="an extra that is not installed")
    arguments = str(preset), engine, "float32", None
    separator = load_core(*arguments, load_separator)
    assert (separator.engine, separator.stems) == (engine, ["a"])
    assert load_core(*arguments, None).stems == ["a"]  # not loaded again
    assert capsys.readouterr().err == ""


def test_cache_that_cannot_be_written_is_a_warning(preset, capsys):
    pytest.importorskip("openvino", reason="extra openvino is not installed")
    (preset.parent / "cache").touch()
    arguments = str(preset), "openvino", "float32", None
    assert load_core(*arguments, load_separator).stems == ["a"]
    line = capsys.readouterr().err
    assert line.startswith("keras-bandit: warning: the exported core is not")
    assert line.count("\n") == 1


def test_model_without_a_core_comes_from_keras(preset, monkeypatch, capsys):
    pytest.importorskip("openvino", reason="extra openvino is not installed")

    class Toy:
        preprocessor = None

        def export_core(self, directory):
            raise UnsupportedModelError("a Toy has no core")

    loaded = []

    def load(path):
        loaded.append(Toy())
        return loaded[0]

    monkeypatch.setattr(model_module, "load_separator", load)
    args = types.SimpleNamespace(preset=str(preset), engine="auto")
    args.precision, args.engine_cache, args.quiet = "float32", None, False
    separator = model_module.load_on_engine(args, "openvino")
    assert [separator] == loaded  # once
    assert capsys.readouterr().err == (
        "keras-bandit: computing with keras, float32: a Toy has no core\n"
    )


def test_exports_are_presets_of_engines(preset, tmp_path, capsys, monkeypatch):
    pytest.importorskip("onnxruntime", reason="an extra that is not installed")
    monkeypatch.chdir(tmp_path)
    write("film.wav")
    assert cli.main(["export", str(preset), "out", "--format", "onnx"]) == 0
    assert capsys.readouterr().out == f"{preset} -> out (onnx)\n"
    options = ["--preset", "out", "--chunk-seconds", "0.1"]
    command = ["separate", "film.wav", *options, "--engine"]
    assert cli.main([*command, "onnxruntime"]) == 0
    assert found("separated") == ["film/a.wav"]
    capsys.readouterr()
    assert cli.main([*command, "keras", "--overwrite"]) == 2
    assert "out: an export, which Keras does not load" in error_line(capsys)
    assert cli.main(["export", "out", "other", "--format", "onnx"]) == 2
    assert "give the preset that it was made from" in error_line(capsys)
    path = tmp_path / "out" / "core.onnx"
    path.write_bytes(b"no core")
    assert cli.main([*command, "onnxruntime", "--overwrite"]) == 2
    assert "cannot load preset out: ONNX Runtime cannot" in error_line(capsys)


def test_engine_that_cannot_be_had_is_one_line(model, monkeypatch, capsys):
    monkeypatch.setattr(engines, "has_package", lambda name: False)
    write("film.wav")
    assert separate("film.wav", "--engine", "openvino") == 2
    assert error_line(capsys) == (
        "engine openvino is not installed: pip install 'keras-bandit[openvino]'"
    )
    assert separate("film.wav", "--precision", "bfloat16") == 2
    assert "needs engine='openvino'" in error_line(capsys)
    args = ["--engine", "openvino", "--backend", "torch"]
    assert separate("film.wav", *args) == 2
    assert "--backend torch and --engine openvino" in error_line(capsys)
    assert found() == ["film.wav"]


def test_bandit_is_separated_without_keras(tmp_path, monkeypatch):
    pytest.importorskip("openvino", reason="extra openvino is not installed")
    monkeypatch.chdir(tmp_path)
    write("film.wav", 1, 9000, 44100)
    command = ["separate", "film.wav", "--preset", "bandit_demo"]
    command += ["--engine", "openvino", "--chunk-seconds", "0.1"]
    code = (
        "import sys\nfrom keras_bandit import cli\n"
        f"assert cli.main({command}) == 0\n"
        "print({'keras', 'tensorflow', 'torch', 'jax'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "set()", done.stderr
    assert len(found("separated")) == 3
