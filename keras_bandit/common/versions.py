"""Versions of installed packages, for records of what was computed."""

import importlib.metadata
import platform

from keras_bandit import __version__


def versions(*packages):
    """Versions of Python and of packages, without importing them.

    This package's own is that of the code that runs, which an editable
    installation does not know once the code has moved on.

    Packages are named as pip knows them, such as `"keras-bandit"`; those that
    are not installed are left out: `{"python": version, name: version, …}`.
    """
    found = {"python": platform.python_version()}
    for name in packages:
        if name == "keras-bandit":
            found[name] = __version__
            continue
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
