"""What a score is a score of: the model, and the versions that computed it."""

import hashlib
import platform
import sys

import numpy as np

from keras_bandit import __version__


def describe_model(separator):
    """What tells a model from others, for a record: a dict for JSON.

    Args:
        separator: `AudioSeparator`.

    Returns:
        dict with `class`, `stems`, `sample_rate` (Hz), `dtype` (name of the
        policy), `parameters` and `weights_sha256`, a checksum of the values.
    """
    digest = hashlib.sha256()
    for weight in separator.get_weights():
        digest.update(weight.tobytes())
    return {
        "class": type(separator).__name__,
        "stems": list(separator.stems),
        "sample_rate": separator.sample_rate,
        "dtype": separator.backbone.dtype_policy.name,
        "parameters": separator.count_params(),
        "weights_sha256": digest.hexdigest(),
    }


def versions(*packages):
    """Versions of what computes: a dict for JSON.

    Args:
        *packages: names of others than Keras and its backend; loaded ones.
    """
    found = {
        "python": platform.python_version(),
        "keras_bandit": __version__,
        "numpy": np.__version__,
    }
    keras = sys.modules.get("keras")  # loaded if the model is of Keras
    if keras is not None:
        backend = keras.backend.backend()
        found["keras"] = keras.__version__
        found[backend] = sys.modules[backend].__version__
    found |= {name: sys.modules[name].__version__ for name in packages}
    return found
