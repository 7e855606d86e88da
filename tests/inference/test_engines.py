"""Which engine computes: what is chosen, and what is refused."""

import importlib.util
import sys
import types

import pytest

from keras_bandit.inference import engines

pytestmark = pytest.mark.once

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
    monkeypatch.setattr(engines, "has_package", lambda name: machine.openvino)
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
    for engine in ("openvino", "onnxruntime"):
        assert engines.choose_engine(engine, "float32") == engine
    # Keras would give another precision than the one asked for.
    assert engines.choose_engine("auto", "bfloat16") == "openvino"


def test_what_does_not_exist_is_refused(machine):
    with pytest.raises(ValueError, match=r"engine must be one of.*got 'onnx'"):
        engines.choose_engine("onnx", "float32")
    with pytest.raises(ValueError, match=r"precision must be.*got 'float16'"):
        engines.choose_engine("auto", "float16")
    with pytest.raises(ValueError, match=r"dtype='mixed_bfloat16'"):
        engines.choose_engine("keras", "bfloat16")
    with pytest.raises(ValueError, match=r"got engine='onnxruntime'$"):
        engines.choose_engine("onnxruntime", "bfloat16")


def test_without_the_extra_its_name_is_given(without_openvino):
    assert engines.choose_engine("auto", "float32") == "keras"
    for engine, precision in [("openvino", "float32"), ("auto", "bfloat16")]:
        with pytest.raises(ImportError, match=EXTRA):
            engines.choose_engine(engine, precision)
    with pytest.raises(ImportError, match=EXTRA):
        engines.with_engine(object(), "openvino")


def test_no_gpu_where_none_may_be_seen(monkeypatch):
    monkeypatch.setattr(engines, "_GPU_DEVICES", ("/",))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert engines.has_gpu()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert not engines.has_gpu()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(engines, "_GPU_DEVICES", ("/no/such/device",))
    assert not engines.has_gpu()


def test_auto_without_a_working_openvino_warns(machine, monkeypatch):
    # It is found, and its import fails.
    monkeypatch.setitem(sys.modules, "openvino", None)
    separator = object()
    with pytest.warns(RuntimeWarning, match="OpenVINO cannot be imported"):
        assert engines.with_engine(separator, "auto") is separator
    for engine, precision in [("openvino", "float32"), ("auto", "bfloat16")]:
        with pytest.raises(ImportError, match="openvino"):
            engines.with_engine(separator, engine, precision)


def test_a_separator_on_an_engine_stays_there(machine):
    separator = types.SimpleNamespace(engine="openvino", precision="float32")
    for engine in ("auto", "keras", "openvino"):
        assert engines.with_engine(separator, engine) is separator
    with pytest.raises(ValueError, match=r"the separator's, 'float32'; got"):
        engines.with_engine(separator, "openvino", "bfloat16")
    with pytest.raises(ValueError, match=r"the separator's, 'openvino'; got"):
        engines.with_engine(separator, "onnxruntime")
