"""Imports without what the imported package would take along."""

import contextlib
import sys


@contextlib.contextmanager
def hidden_module(name):
    """A block in which a top-level module is as if not installed.

    Unless it has been imported already, and then nothing happens.
    """
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # an import raises ImportError
    try:
        yield
    finally:
        del sys.modules[name]


def import_openvino():
    """Imports OpenVINO without its telemetry; returns the module.

    At its import OpenVINO reports over the network, from a process forked
    beside running threads, and with files in the home directory, unless the
    user has opted out. Without `openvino_telemetry` it works as well.
    """
    with hidden_module("openvino_telemetry"):
        import openvino
    return openvino
