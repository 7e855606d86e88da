"""What a run was made with, and whether it is still the same."""

import importlib.metadata
import json
import platform
import sys
import time

import keras

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


def package_versions():
    """`{name: version}` of the installed packages a result depends on."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def describe_session():
    """The command, machine and versions of this process, for the record."""
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": list(sys.argv),
        "backend": keras.config.backend(),
        "dtype_policy": keras.config.dtype_policy().name,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": package_versions(),
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


def flatten(config, prefix=""):
    """`{"a": {"b": 1}}` as `{"a.b": 1}`."""
    flat = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def differences(former, new):
    """Lines that name each value that is not the same in two dicts."""
    former, new = flatten(former), flatten(new)
    missing = "(absent)"
    return [
        f"{key}: {former.get(key, missing)!r} in the run, "
        f"{new.get(key, missing)!r} now"
        for key in sorted({*former, *new})
        if former.get(key, missing) != new.get(key, missing)
    ]
