"""Imports without what the imported package would take along."""

import contextlib
import sys


@contextlib.contextmanager
def hidden_module(name):
    """A block in which a module cannot be imported, as if not installed.

    Unless it has been already, and then nothing happens.

    Args:
        name: str. A top-level module.
    """
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # an import raises ImportError
    try:
        yield
    finally:
        del sys.modules[name]
