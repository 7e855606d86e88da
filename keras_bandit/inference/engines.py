"""Engines: what computes a model, a Keras backend or a runtime of its core."""

import importlib.util
import os
import warnings

from keras_bandit.common.checks import check_choice
from keras_bandit.export import UnsupportedModelError
from keras_bandit.export.description import is_exported_core

ENGINES = ("auto", "keras", "openvino", "onnxruntime")
PRECISIONS = ("float32", "bfloat16")

_GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd")


def has_package(engine):
    """Whether an engine's package is found; its import may still fail."""
    return importlib.util.find_spec(engine) is not None


def has_gpu():
    """Whether a Keras backend may find a GPU (NVIDIA or AMD, on Linux)."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
        return False
    return any(os.path.exists(device) for device in _GPU_DEVICES)


def choose_engine(engine, precision):
    """Resolves `"auto"`, and checks that one of `ENGINES` can be had.

    `"auto"` is OpenVINO, or Keras where OpenVINO is not installed or there is
    a GPU: the results are the same to float32's precision. Only OpenVINO
    computes in bfloat16, so that `"auto"` then means OpenVINO.

    Raises:
        ValueError: for another engine or precision, or bfloat16 on another
            engine than OpenVINO.
        ImportError: if the engine is not installed.
    """
    check_choice("engine", engine, ENGINES)
    check_choice("precision", precision, PRECISIONS)
    if precision == "bfloat16":
        if engine not in ("auto", "openvino"):
            hint = (
                ", whose precision is the model's dtype policy: "
                "from_preset(..., dtype='mixed_bfloat16')"
            )
            raise ValueError(
                "precision='bfloat16' needs engine='openvino'; got "
                f"engine={engine!r}" + hint * (engine == "keras")
            )
        engine = "openvino"
    if engine == "auto":
        on_openvino = has_package("openvino") and not has_gpu()
        engine = "openvino" if on_openvino else "keras"
    if engine != "keras" and not has_package(engine):
        raise ImportError(
            f"engine {engine} is not installed: "
            f"pip install 'keras-bandit[{engine}]'"
        )
    return engine


def find_preset(preset):
    """Finds what holds a preset's weights: a directory, or the URL that it is.

    `preset` is a preset directory or an export, which go before a name; a name
    with trained weights, which are fetched on first use; or a URL such as
    `hf://…`. `ValueError` if there is no such preset, or it has no weights;
    `OSError` if they cannot be fetched.
    """
    from keras_bandit.models import presets

    preset = os.fspath(preset)
    if presets.means_built_in(preset):
        folder = presets.find_weights(preset)
        if folder is None:
            raise ValueError(
                f"preset {preset} has an architecture but no trained weights; "
                "convert a checkpoint with keras-bandit convert and give its "
                "directory"
            )
        return str(folder)
    if os.path.isdir(preset):
        if is_exported_core(preset) or presets.is_preset_directory(preset):
            return os.path.abspath(preset)
        raise ValueError(
            f"{preset}: not a preset directory (no config.json); make one "
            "with keras-bandit convert"
        )
    if "://" not in preset:
        raise ValueError(
            f"preset {preset}: no such directory, and no such name (see "
            "keras-bandit presets)"
        )
    return preset


def may_stay_on_keras(engine, precision):
    """Whether Keras may compute a model that OpenVINO cannot run.

    `engine` is what was asked for, before `choose_engine`.
    """
    return engine == "auto" and precision == "float32"


def with_engine(separator, engine="keras", precision="float32"):
    """The separator itself, or a `CoreSeparator` with a copy of its weights.

    Takes what `choose_engine` takes. A `CoreSeparator` stays on its engine.
    With `"auto"` in float32, a model that OpenVINO cannot run stays with
    Keras; so does any, with a warning, if OpenVINO is damaged.

    Raises:
        ValueError: as `choose_engine`; if the model or the processor does not
            allow what was asked for; if the separator runs on another engine
            or in another precision.
        ImportError: as `choose_engine`, or if the engine is damaged.
    """
    chosen = choose_engine(engine, precision)
    if hasattr(separator, "engine"):
        _check_running(separator, engine, precision)
        return separator
    if chosen == "keras":
        return separator
    from keras_bandit.inference.core_separator import CoreSeparator
    from keras_bandit.inference.runtimes import import_engine

    try:
        import_engine(chosen)
        return CoreSeparator.from_separator(
            separator, engine=chosen, precision=precision
        )
    except ImportError as error:
        if not may_stay_on_keras(engine, precision):
            raise
        warnings.warn(
            f"OpenVINO cannot be imported, Keras computes: {error}",
            RuntimeWarning,
            stacklevel=2,
        )
        return separator
    except UnsupportedModelError:
        if not may_stay_on_keras(engine, precision):
            raise
        return separator


def _check_running(separator, engine, precision):
    """Refuses another engine or precision than a `CoreSeparator` has."""
    if engine not in ("keras", "auto", separator.engine):
        raise ValueError(
            f"engine must be the separator's, {separator.engine!r}; got "
            f"{engine!r}"
        )
    if engine != "keras" and separator.precision != precision:
        raise ValueError(
            f"precision must be the separator's, {separator.precision!r}; got "
            f"{precision!r}"
        )
