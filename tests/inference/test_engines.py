"""Which engine computes: what is chosen, and what is refused."""

import importlib.util
import sys
import types

import numpy as np
import pytest

from keras_bandit import inference
from keras_bandit.inference import engines, separate

EXTRA = r"pip install 'keras-bandit\[openvino\]'"


@pytest.fixture
def without_openvino(monkeypatch):
    """As if the extra were not installed."""
    find_spec = importlib.util.find_spec

    def find(name, package=None):
        return None if name == "openvino" else find_spec(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    monkeypatch.setitem(sys.modules, "openvino", None)


@pytest.fixture
def machine(monkeypatch):
    """A machine with OpenVINO and no GPU; its parts can be changed."""
    machine = types.SimpleNamespace(openvino=True, gpu=False)
    monkeypatch.setattr(engines, "has_openvino", lambda: machine.openvino)
    monkeypatch.setattr(engines, "has_gpu", lambda: machine.gpu)
    return machine


@pytest.mark.parametrize(
    ("openvino", "gpu", "chosen"),
    [
        (True, False, "openvino"),
        (True, True, "keras"),
        (False, False, "keras"),
        (False, True, "keras"),
    ],
)
def test_auto_takes_openvino_on_a_cpu(machine, openvino, gpu, chosen):
    machine.openvino, machine.gpu = openvino, gpu
    assert engines.choose_engine("auto", "float32") == chosen


@pytest.mark.parametrize("gpu", [False, True])
def test_what_is_named_is_taken(machine, gpu):
    machine.gpu = gpu
    assert engines.choose_engine("keras", "float32") == "keras"
    assert engines.choose_engine("openvino", "float32") == "openvino"
    # Keras would give another precision than the one asked for.
    assert engines.choose_engine("auto", "bfloat16") == "openvino"


def test_what_does_not_exist_is_refused(machine):
    with pytest.raises(ValueError, match=r"engine must be one of.*got 'onnx'"):
        engines.choose_engine("onnx", "float32")
    with pytest.raises(ValueError, match=r"precision must be.*got 'float16'"):
        engines.choose_engine("auto", "float16")
    with pytest.raises(ValueError, match=r"dtype='mixed_bfloat16'"):
        engines.choose_engine("keras", "bfloat16")


def test_without_the_extra_its_name_is_given(without_openvino):
    assert engines.choose_engine("auto", "float32") == "keras"
    for engine, precision in [("openvino", "float32"), ("auto", "bfloat16")]:
        with pytest.raises(ImportError, match=EXTRA):
            engines.choose_engine(engine, precision)
    with pytest.raises(ImportError, match=EXTRA):
        engines.with_engine(object(), "openvino")
    with pytest.raises(ImportError, match=EXTRA):
        inference.OpenVINOSeparator  # noqa: B018


def test_no_gpu_where_none_may_be_seen(monkeypatch):
    monkeypatch.setattr(engines, "_GPU_DEVICES", ("/",))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert engines.has_gpu()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert not engines.has_gpu()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(engines, "_GPU_DEVICES", ("/no/such/device",))
    assert not engines.has_gpu()


# Models


@pytest.fixture
def bandit(machine):
    pytest.importorskip("openvino", reason="extra openvino is not installed")
    from keras_bandit.models import BanditAudioSeparator, BanditBackbone

    backbone = BanditBackbone(
        [(0, 9), (5, 33)],
        None,
        n_fft=64,
        sample_rate=8000,
        embed_dim=3,
        rnn_dim=4,
        num_pairs=1,
    )
    return BanditAudioSeparator(backbone, ["a", "b"], hop_length=16, mlp_dim=5)


def test_separate_on_an_engine(bandit):
    audio = np.random.default_rng(0).uniform(-1, 1, (2, 4000))
    options = {"chunk_seconds": 0.2, "stems": ["b"]}
    expected = separate(bandit, audio, 8000, **options)["b"]
    for separator, engine in [
        (bandit, "openvino"),
        (bandit, "auto"),
        (inference.OpenVINOSeparator.from_separator(bandit), "keras"),
    ]:
        stems = separate(separator, audio, 8000, engine=engine, **options)
        assert list(stems) == ["b"]
        np.testing.assert_allclose(stems["b"], expected, atol=2e-6)


def test_auto_keeps_what_openvino_cannot_run_with_keras(machine):
    pytest.importorskip("openvino", reason="extra openvino is not installed")
    other = types.SimpleNamespace(backbone=object())
    assert engines.with_engine(other, "auto") is other
    assert engines.with_engine(other, "keras") is other
    with pytest.raises(ValueError, match=r"BanditBackbone.*got object"):
        engines.with_engine(other, "openvino")


def test_auto_without_a_working_openvino_warns(machine, monkeypatch):
    # It is found, and its import fails.
    monkeypatch.setitem(sys.modules, "openvino", None)
    for name in ("separator", "graph", "runtime"):
        name = f"openvino_{name}"
        module = f"keras_bandit.inference.{name}"
        monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.delattr(inference, name, raising=False)
    separator = object()
    with pytest.warns(RuntimeWarning, match="OpenVINO cannot be imported"):
        assert engines.with_engine(separator, "auto") is separator
    for engine, precision in [("openvino", "float32"), ("auto", "bfloat16")]:
        with pytest.raises(ImportError, match="openvino"):
            engines.with_engine(separator, engine, precision)


def test_separator_on_openvino_stays_in_its_precision(bandit):
    separator = inference.OpenVINOSeparator.from_separator(bandit)
    for engine in engines.ENGINES:
        assert engines.with_engine(separator, engine) is separator
    with pytest.raises(ValueError, match=r"the separator's, 'float32'; got"):
        engines.with_engine(separator, "openvino", "bfloat16")
