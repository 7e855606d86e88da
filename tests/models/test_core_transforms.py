"""Cores of models that are more than masks, on engines without Keras."""

import functools
import json
import pathlib
import re

import keras
import numpy as np
import pytest

from keras_bandit.convert import from_checkpoint
from keras_bandit.export.description import HOW_TO_SEPARATE
from keras_bandit.export.hybrid_demucs_emitters import _windowed_lstm
from keras_bandit.export.onnx_graph import OnnxGraph
from keras_bandit.inference import CoreSeparator, separate
from keras_bandit.models import (
    DemucsBag,
    HybridDemucsAudioSeparator,
    MRXAudioSeparator,
    OpenUnmixAudioSeparator,
)
from keras_bandit.models.hybrid_demucs.hybrid_demucs_layers import WindowedLSTM

from ..export.exported_models import noise, open_unmix, randomized

pytest.importorskip("openvino", reason="extra openvino is not installed")
pytest.importorskip("onnxruntime", reason="extra onnxruntime is not installed")

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
ENGINES = ("openvino", "onnxruntime")
as_numpy = keras.ops.convert_to_numpy
on_torch = pytest.mark.skipif(
    keras.config.backend() != "torch",
    reason="the others compile long for each shape, and differ in nothing here",
)


def assert_close(ours, reference, tolerance=1e-4):
    """Within a share of the peak, as the models themselves."""
    assert ours.shape == reference.shape
    error = np.abs(ours - reference).max()
    assert error <= tolerance * np.abs(reference).max()


def demucs(stems=("speech", "music"), **kwargs):
    settings = {"n_fft": 1024, "depth": 5, "channels": 4, **kwargs}
    settings["dconv_lstm"] = settings["dconv_attention"] = 3
    separator = HybridDemucsAudioSeparator(list(stems), 1, 8000, **settings)
    return randomized(separator)


def mrx(**kwargs):
    sizes = {"window_lengths": [128, 256], "hop_length": 64, "hidden_dim": 8}
    return randomized(MRXAudioSeparator(sample_rate=8000, **sizes, **kwargs))


# Golden estimates of the authors' code; Keras computes nothing here.


def like(separator, **changed):
    """An Open-Unmix with the same networks and other arguments."""
    config = {**separator.get_config(), "decoders": separator.decoders}
    return OpenUnmixAudioSeparator.from_config({**config, **changed})


FILES = {
    "hdemucs_cac": ("hdemucs_cac.th", {}),
    "hdemucs_mag": ("hdemucs_mag.th", {}),
    "hdemucs_multi": ("hdemucs_multi.th", {}),
    "hdemucs_long": ("hdemucs_long.safetensors", {}),
    "hdemucs_torchaudio": ("hdemucs_torchaudio.pt", {}),
    "mrx_small": (
        "mrx_small.pth",
        {"hop_length": 128, "stems": ["speech", "rest"]},
    ),
    "mrx_default_windows": ("mrx_default_windows.pth", {}),
    "umx_stereo3": ("umx_stereo3", {}),
    "umx_mono_uni": ("umx_mono_uni.pth", {"stems": ["speech"]}),
}


@pytest.fixture(scope="module")
def converted():
    def convert(name):
        file, settings = FILES[name]
        return from_checkpoint(GOLDEN / file, **settings)

    return functools.cache(convert)


@on_torch
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("name", "key", "changed"),
    [(name, "estimate", {}) for name in list(FILES)[:-1]]
    + [
        ("umx_stereo3", "niter2_residual", {"niter": 2, "residual": True}),
        ("umx_stereo3", "niter1_whole", {"window_frames": None}),
        ("umx_stereo3", "softmask_niter0", {"niter": 0, "softmask": True}),
        ("umx_mono_uni", "niter1_residual", {"niter": 1, "residual": True}),
    ],
)
def test_golden_estimates(name, key, changed, engine, golden, converted):
    data, separator = golden(name), converted(name)
    if changed:
        separator = like(separator, **changed)
    core = CoreSeparator.from_separator(separator, engine=engine)
    estimates = core.predict_on_batch(data["mixture"])
    found = 0
    for name, reference in data.items():
        match = re.fullmatch(rf"{key}_every_(\d+)th_sample/(.*)", name)
        if match:
            assert_close(estimates[match[2]][..., :: int(match[1])], reference)
            found += 1
    assert found == len(estimates)


# Small models


MODELS = {
    "demucs": demucs,
    "mrx": lambda: mrx(mixture_consistency="all"),
    "open_unmix": lambda: open_unmix(niter=1, residual=True, window_frames=20),
}


@pytest.fixture(scope="module")
def computed():
    """Finds a model, a waveform and what Keras makes of it, computed once.

    Untraced on TensorFlow, which would trace longer than it computes.
    """

    @functools.cache
    def compute(model):
        separator, waveform = MODELS[model](), noise(2, 2, 1500)
        return separator, waveform, separator.predictor(1)(waveform)

    return compute


@pytest.mark.parametrize("model", ["mrx", "open_unmix"])
@pytest.mark.parametrize("engine", ENGINES)
def test_cores_equal_keras(model, engine, computed):
    separator, waveform, expected = computed(model)
    core = CoreSeparator.from_separator(separator, engine=engine)
    estimates = core.predict_on_batch(waveform)
    assert list(estimates) == separator.stems
    for stem, estimate in estimates.items():
        assert_close(estimate, as_numpy(expected[stem]), 1e-5)
        assert estimate.dtype == np.float32
        few = core.with_stems([stem]).predict_on_batch(waveform)
        np.testing.assert_allclose(few[stem], estimate, atol=1e-6)


@on_torch
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("engine", ENGINES)
def test_separate_on_an_engine(model, engine):
    """Chunks, the short last one, levels, shifts and stems are as in Keras."""
    separator = MODELS[model]()
    audio = 0.1 * noise(1, 7777)
    options = {"chunk_seconds": 0.5, "stems": separator.stems[1:], "shifts": 2}
    expected = separate(separator, audio, 8000, **options)
    stems = separate(separator, audio, 8000, engine=engine, **options)
    assert list(stems) == list(expected)
    for stem, estimate in stems.items():
        assert_close(estimate, expected[stem])


@on_torch
@pytest.mark.parametrize(
    "settings",
    [
        {"band_ratios": [0.3], "banded_depth": 1, "norm_starts": 2},
        {"dconv_mode": 3, "n_fft": 512, "complex_as_channels": False},
        {"hybrid_old": True, "norm_starts": 0, "norm_groups": 2},
    ],
)
def test_other_demucs(settings):
    separator = demucs(**settings)
    core = CoreSeparator.from_separator(separator)
    for samples in (2, 300, 60000):  # one step, one frame, LSTMs in windows
        waveform = noise(1, 1, samples)
        expected = separator(waveform)
        for stem, estimate in core.predict_on_batch(waveform).items():
            assert_close(estimate, as_numpy(expected[stem]))


@on_torch
def test_lstm_windows_of_every_length():
    """Around the lengths at which the windows of 200 steps become more."""
    import onnxruntime

    layer = WindowedLSTM()
    layer.build((None, None, 3))
    graph = OnnxGraph()
    x = graph.input("x", ["batch", 3, "steps"])
    y = _windowed_lstm(graph, layer, x)
    model = graph.model({"y": (y, ["batch", 3, "steps"])})
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for steps in (1, 2, 199, 200, 201, 299, 300, 301, 400, 401):
        x = noise(2, steps, 3)
        (y,) = session.run(["y"], {"x": x.transpose(0, 2, 1)})
        assert_close(y.transpose(0, 2, 1), as_numpy(layer(x)), 1e-5)


@on_torch
def test_bag():
    members = [demucs(), demucs(n_fft=512, complex_as_channels=False)]
    bag = DemucsBag(members, [[1.0, 0.5], [0.5, 2.0]])
    waveform = noise(1, 1, 3000)
    expected = bag(waveform)
    for engine in ENGINES:
        core = CoreSeparator.from_separator(bag, engine=engine)
        for stem, estimate in core.predict_on_batch(waveform).items():
            assert_close(estimate, as_numpy(expected[stem]))
        only = core.with_stems(["music"]).predict_on_batch(waveform)
        assert_close(only["music"], as_numpy(expected["music"]))


@pytest.mark.parametrize("model", MODELS)
def test_presets_are_exported_once(model, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BANDIT_CACHE", str(tmp_path / "cache"))
    separator = MODELS[model]()
    separator.save_to_preset(tmp_path / "preset")
    first = CoreSeparator.from_preset(tmp_path / "preset")
    again = CoreSeparator.from_preset(tmp_path / "preset", load=None)
    for core in (first, again):
        for name in (*HOW_TO_SEPARATE, "stems", "min_samples", "num_channels"):
            assert getattr(core, name) == getattr(separator, name)
    stem = separator.stems[-1]
    separator.with_stems([stem]).export_core(tmp_path / "one")
    core = CoreSeparator.from_directory(tmp_path / "one")
    waveform = noise(1, core.num_channels or 2, 600)
    assert list(core.predict_on_batch(waveform)) == [stem]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda about: about["mrx"].pop("hop_length"), "hop_length"),
        (lambda about: about.update(mrx=[]), "no valid 'mrx'"),
        (lambda about: about.update(bag={}), r"one of .* \['bag', 'mrx'\]"),
        (lambda about: about.pop("mrx"), r"one of stft, .*got \[\]"),
    ],
)
def test_damaged_transforms_are_named(change, message, tmp_path):
    mrx().export_core(tmp_path / "core")
    path = tmp_path / "core" / "separator.json"
    about = json.loads(path.read_text())
    change(about)
    path.write_text(json.dumps(about))
    with pytest.raises(ValueError, match=rf"separator\.json.*{message}"):
        CoreSeparator.from_directory(tmp_path / "core")


def test_the_filter_takes_two_channels_at_most():
    separator = open_unmix(num_channels=1, niter=1)
    core = CoreSeparator.from_separator(separator)
    with pytest.raises(ValueError, match="one or two channels; got 3"):
        core.predict_on_batch(noise(1, 3, 500))


def test_compiled_shapes_do_not_pile_up():
    core = CoreSeparator.from_separator(mrx())
    for samples in (1000, 1100, 1200, 1000):
        core.predict_on_batch(noise(1, 1, samples))
    requests = core._core._requests
    shapes = [dict(key)["spectrogram_0"][2] for key in requests]
    assert shapes == [1 + 1000 // 64, 1 + 1200 // 64]
