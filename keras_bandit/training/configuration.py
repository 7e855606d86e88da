"""What a run was made with."""

import json
import platform
import sys
import time

import keras

from keras_bandit.common.versions import versions

PACKAGES = (
    "keras-bandit",
    "keras",
    "keras-hub",
    "tensorflow",
    "jax",
    "torch",
    "numpy",
    "grain",
    "soundfile",
    "soxr",
)


def describe_session():
    """The command, machine and versions of this process, for the record."""
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": list(sys.argv),
        "backend": keras.config.backend(),
        "dtype_policy": keras.config.dtype_policy().name,
        "platform": platform.platform(),
        "packages": versions(*PACKAGES),
    }


def as_json(config):
    """A configuration as it comes back from a file: lists for tuples.

    Raises:
        ValueError: if it holds something that JSON cannot express.
    """
    try:
        return json.loads(json.dumps(config, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(
            "config must be a dict of numbers, strings, booleans, None, lists "
            f"and dicts; got {config!r}: {error}"
        ) from error
