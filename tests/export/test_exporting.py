"""What is exported equals Keras, run by a program that cannot import it."""

import functools
import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import onnx
import pytest

from keras_bandit.export import UnsupportedModelError, export_core
from keras_bandit.export.onnx_core import onnx_core
from keras_bandit.models import AudioSeparator
from keras_bandit.models.core_transforms import MaskTransforms, make_transforms

from .exported_models import MODELS, SIZES, bandit, distances, noise

# Decibels below the estimates. Two float32 computations of one network, sums
# in another order, are 117 to 137 dB apart; Keras's backends are no closer.
EXACT = 110
EXACT_WHOLE = 100

OUTSIDE = pathlib.Path(__file__).with_name("outside.py")
ON_TENSORFLOW = keras.config.backend() == "tensorflow"


def run_outside(runtime, waveforms, tmp_path):
    """Estimates of exports, from one process without Keras.

    Of and as dicts, by an export's directory.
    """
    command = [sys.executable, "-W", "ignore", OUTSIDE, runtime]
    results = {}
    for number, (directory, waveform) in enumerate(waveforms.items()):
        source = tmp_path / f"waveform_{number}.npy"
        results[directory] = tmp_path / f"estimates_{number}.npz"
        np.save(source, waveform)
        command += [directory, source, results[directory]]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {name: dict(np.load(path)) for name, path in results.items()}


def core_of(separator):
    transforms = make_transforms(separator.stems, separator.core_transforms())
    return onnx_core(separator.core_model(), transforms)


@pytest.fixture(scope="module")
def computed():
    """Finds a model, a waveform and what Keras makes of it, computed once.

    Untraced on TensorFlow, which would trace longer than it computes.
    """

    @functools.cache
    def compute(model):
        separator, waveform = MODELS[model](), noise(2, 2, 777)
        return separator, waveform, separator.predictor(1)(waveform)

    return compute


# One model is enough for what OpenVINO writes itself.
EXPORTED = {"onnx": list(MODELS), "openvino": ["bsrnn_lstm"]}
RUNS = [("onnxruntime", "onnx"), ("openvino", "onnx"), ("openvino", "openvino")]


@pytest.fixture(scope="module")
def estimates_outside(computed, tmp_path_factory):
    """Finds what a runtime makes of the models that a format has.

    Each format is written once, and each runtime started once for it.
    """

    @functools.cache
    def export(format):
        folder = tmp_path_factory.mktemp(format)
        for model in EXPORTED[format]:
            computed(model)[0].export_core(folder / model, format)
        return folder

    @functools.cache
    def run(runtime, format):
        folder = export(format)
        waveforms = {folder / m: computed(m)[1] for m in EXPORTED[format]}
        found = run_outside(
            runtime, waveforms, tmp_path_factory.mktemp(runtime)
        )
        return {directory.name: found[directory] for directory in waveforms}

    return run


@pytest.mark.parametrize(
    ("runtime", "format", "model"),
    [(*run, model) for run in RUNS for model in EXPORTED[run[1]]],
)
def test_cores_equal_keras(runtime, format, model, computed, estimates_outside):
    pytest.importorskip(runtime)
    estimates = estimates_outside(runtime, format)[model]
    assert np.all(distances(estimates, computed(model)[2]) > EXACT)


@pytest.mark.skipif(not ON_TENSORFLOW, reason="written on TensorFlow")
@pytest.mark.parametrize("model", ["bandit", "bandit_v2", "bsrnn_lstm"])
def test_whole_models_equal_keras(model, tmp_path):
    separator = MODELS[model](num_pairs=1)  # quicker to trace
    channels = separator.num_channels or 1
    waveform = noise(1, channels, 320)
    expected = separator.predictor(1)(waveform)
    for format in ("saved_model", "litert"):
        folder = tmp_path / format
        seconds = 320 / separator.sample_rate
        separator.export_core(folder, format, chunk_seconds=seconds)
        about = json.loads((folder / "separator.json").read_text())
        assert about["chunk_samples"] == 320
        assert about["chunk_seconds"] == seconds
        estimates = run_outside(format, {folder: waveform}, tmp_path)
        assert np.all(distances(estimates[folder], expected) > EXACT_WHOLE)


class Halves(AudioSeparator):
    """No mask model: each stem is half of the waveform."""

    def __init__(self, stems=("a", "b"), **kwargs):
        waveform = keras.Input((1, None), name="waveform")
        estimates = {stem: waveform * 0.5 for stem in stems}
        super().__init__(waveform, estimates, sample_rate=8000, **kwargs)


def test_models_without_a_core(tmp_path):
    for format in ("onnx", "openvino"):
        with pytest.raises(UnsupportedModelError, match=f"{format}.*a Halves"):
            Halves().export_core(tmp_path / "out", format)
    if ON_TENSORFLOW:
        options = {"chunk_seconds": 0.1, "stems": ["b"]}
        Halves().export_core(tmp_path / "out", "saved_model", **options)
        waveform = noise(1, 1, 800)
        out = tmp_path / "out"
        found = run_outside("saved_model", {out: waveform}, tmp_path)[out]
        assert list(found) == ["b"]
        np.testing.assert_array_equal(found["b"], 0.5 * waveform)
    else:
        for format in ("saved_model", "litert"):
            with pytest.raises(UnsupportedModelError, match="TensorFlow back"):
                Halves().export_core(tmp_path / "out", format)
        assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not ON_TENSORFLOW, reason="written on TensorFlow")
def test_operators_that_litert_lacks_are_named(tmp_path):
    class Inverted(keras.layers.Layer):
        def call(self, x):
            return keras.ops.fft((x, x))[0]

    waveform = keras.Input((1, None), name="waveform")
    separator = AudioSeparator(
        waveform, {"a": Inverted()(waveform)}, sample_rate=8000
    )
    with pytest.raises(UnsupportedModelError, match=r"litert.*FFT"):
        export_core(separator, tmp_path / "out", "litert", chunk_seconds=0.1)
    assert not list(tmp_path.iterdir())


def test_description_and_stems(tmp_path):
    separator = bandit(("speech", "music", "effects"))
    separator.metadata = {"license": "CC-BY-4.0", "note": "ö"}
    path = tmp_path / "deep" / "out"
    export_core(separator, path, stems=["effects"], chunk_seconds=2)
    about = json.loads((path / "separator.json").read_text(encoding="utf-8"))
    assert len(about.pop("weights_sha256")) == 64
    assert about == {
        "version": 1,
        "format": "onnx",
        "model": "BanditAudioSeparator",
        "stems": ["effects"],
        "sample_rate": 8000,
        "num_channels": None,
        "chunk_seconds": 2,
        "min_samples": 64,
        "silent_in_silent_out": True,
        "metadata": separator.metadata,
        "stft": {"n_fft": 64, "hop_length": 16, "pad_mode": "constant"},
    }
    model = onnx.load(path / "core.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [output.name for output in model.graph.output] == ["mask_effects"]
    shape = model.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in shape] == [
        "batch",
        "channels",
        "frames",
        33,
        2,
    ]


def test_standard_operators_of_each_layer():
    model = core_of(bandit(rnn_type="lstm"))
    operators = [node.op_type for node in model.graph.node]
    assert {node.domain for node in model.graph.node} == {""}
    assert operators.count("LSTM") == 2 * 2 * SIZES["num_pairs"]
    # One for all decoders: they standardize the same features.
    assert operators.count("LayerNormalization") == 2 * SIZES["num_pairs"] + 1
    assert operators.count("Tanh") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"format": "onyx"}, "format must be one of.*got 'onyx'"),
        ({"stems": ["drums"]}, r"stems must be among.*got \['drums'\]"),
        ({"chunk_seconds": 0.007}, "at least 64 samples, 0.008 s at"),
        ({"chunk_seconds": 1e15}, "at most 86400; got 1000000000000000.0"),
    ],
)
def test_bad_arguments_write_nothing(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        export_core(bandit(), tmp_path / "out", **arguments)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_named(monkeypatch, tmp_path):
    openvino = pytest.importorskip("openvino")

    def full(*args, **kwargs):
        raise RuntimeError("basic_ios::clear: iostream error")

    monkeypatch.setattr(openvino, "save_model", full)
    with pytest.raises(OSError, match=r"core\.xml: writing broke off"):
        export_core(bandit(), tmp_path / "out", "openvino")
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_replaced_if_it_is_an_export(tmp_path):
    out, separator = tmp_path / "out", bandit()
    export_core(separator, out)
    with pytest.raises(FileExistsError, match="already there"):
        export_core(separator, out)
    export_core(separator, out, stems=["music"], overwrite=True)
    # A preset may hold its core; its weights are kept.
    (out / "config.json").touch()
    with pytest.raises(FileExistsError, match="not an export"):
        export_core(separator, out, overwrite=True)
    (out / "config.json").unlink()
    (out / "separator.json").unlink()
    with pytest.raises(FileExistsError, match="not an export"):
        export_core(separator, out, overwrite=True)
    with pytest.raises(FileExistsError, match="not a directory"):
        export_core(separator, out / "core.onnx", overwrite=True)
    assert [path.name for path in out.iterdir()] == ["core.onnx"]


# Models that no core holds


def test_other_dtype_policies_are_refused():
    with pytest.raises(
        UnsupportedModelError, match="got dtype policy mixed_bfloat16 in layer"
    ):
        core_of(bandit(dtype="mixed_bfloat16"))


def test_layers_without_an_emitter_are_named():
    spectrogram = keras.Input((1, None, 33, 2), name="spectrogram")
    mask = keras.layers.Rescaling(2, name="own_mask")(spectrogram)
    core = keras.Model(spectrogram, {"mask_a": mask}, name="core")
    with pytest.raises(
        UnsupportedModelError,
        match="no emitter for Rescaling; got layer own_mask in core",
    ):
        onnx_core(core, MaskTransforms(["a"]))


def test_preprocessors_are_refused(tmp_path):
    separator = bandit(preprocessor=keras.layers.Rescaling(0.5))
    for format in ("onnx", "litert"):
        with pytest.raises(UnsupportedModelError, match="r Rescaling"):
            export_core(separator, tmp_path / "out", format)


def test_more_than_protobuf_holds_is_refused(monkeypatch):
    monkeypatch.setattr("keras_bandit.export.onnx_core._MOST_BYTES", 100)
    with pytest.raises(UnsupportedModelError, match="less than 2 GiB; got"):
        core_of(bandit())


def test_without_onnx_its_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    for name in ("emitters", "onnx_core", "onnx_graph"):
        name = f"keras_bandit.export.{name}"
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(ImportError, match=r"'keras-bandit\[export\]'"):
        export_core(bandit(), tmp_path / "out")
