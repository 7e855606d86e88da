"""Packages that come with an extra of this one."""

import importlib


def require(module, extra, needed_by):
    """Imports a module, or says by an `ImportError` how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(
            f"{needed_by} needs {package}, which is not installed: pip "
            f"install 'keras-bandit[{extra}]'"
        ) from error
