"""Versions of installed packages, for records of what was computed."""

import importlib.metadata
import platform


def versions(*packages):
    """Versions of Python and of packages, without importing them.

    Packages are named as pip knows them, such as `"keras-bandit"`; those that
    are not installed are left out: `{"python": version, name: version, …}`.
    """
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
