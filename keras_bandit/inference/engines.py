"""Engines: what computes the network, a Keras backend or OpenVINO.

Imports nothing heavy, so that the command line can choose before it loads.
"""

import importlib.util
import os
import warnings

ENGINES = ("auto", "keras", "openvino")
PRECISIONS = ("float32", "bfloat16")

_GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd")


def has_openvino():
    """Whether a package `openvino` is found; its import may still fail."""
    return importlib.util.find_spec("openvino") is not None


def has_gpu():
    """Whether a Keras backend may find a GPU (NVIDIA or AMD, on Linux)."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
        return False
    return any(os.path.exists(device) for device in _GPU_DEVICES)


def choose_engine(engine, precision):
    """Resolves `"auto"` and checks that the engine can be had.

    Args:
        engine: `"keras"`, `"openvino"`, or `"auto"`: OpenVINO in float32, or
            Keras where OpenVINO is not installed or there is a GPU. The
            results are the same to float32's precision.
        precision: `"float32"`, or `"bfloat16"`, which OpenVINO alone offers
            and `"auto"` therefore takes it for.

    Returns:
        `"keras"` or `"openvino"`.

    Raises:
        ValueError: for another engine or precision, or bfloat16 with Keras.
        ImportError: if OpenVINO is needed and not installed.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {ENGINES}; got {engine!r}")
    if precision not in PRECISIONS:
        raise ValueError(
            f"precision must be one of {PRECISIONS}; got {precision!r}"
        )
    if precision == "bfloat16":
        if engine == "keras":
            raise ValueError(
                "precision='bfloat16' needs engine='openvino'; got "
                "engine='keras', whose precision is the model's dtype policy: "
                "from_preset(..., dtype='mixed_bfloat16')"
            )
        engine = "openvino"
    if engine == "auto":
        engine = "openvino" if has_openvino() and not has_gpu() else "keras"
    if engine == "openvino" and not has_openvino():
        raise ImportError(
            "engine openvino is not installed: "
            "pip install 'keras-bandit[openvino]'"
        )
    return engine


def may_stay_on_keras(engine, precision):
    """Whether Keras may compute a model that OpenVINO cannot run.

    Args:
        engine: as it was asked for, before `choose_engine`.
        precision: likewise.
    """
    return engine == "auto" and precision == "float32"


def with_engine(separator, engine="keras", precision="float32"):
    """Puts a separator on an engine.

    Args:
        separator: `AudioSeparator`, or an `OpenVINOSeparator`, which stays
            on OpenVINO.
        engine: see `choose_engine`. With `"auto"` in float32, a model that
            OpenVINO cannot run stays with Keras; so does any, with a warning,
            if OpenVINO is damaged.
        precision: see `choose_engine`.

    Returns:
        the separator itself, or an `OpenVINOSeparator` with a copy of its
        weights.

    Raises:
        ValueError: as `choose_engine`; if the model or the processor does not
            allow what was asked for; if the separator runs on OpenVINO in
            another precision.
        ImportError: as `choose_engine`, or if OpenVINO is damaged.
    """
    chosen = choose_engine(engine, precision)
    running = getattr(separator, "precision", None)
    if running is not None:
        if engine != "keras" and running != precision:
            raise ValueError(
                f"precision must be the separator's, {running!r}; got "
                f"{precision!r}"
            )
        return separator
    if chosen == "keras":
        return separator
    from keras_bandit.inference.openvino_network import UnsupportedModelError

    try:
        from keras_bandit.inference.openvino_separator import OpenVINOSeparator

        return OpenVINOSeparator.from_separator(separator, precision)
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
