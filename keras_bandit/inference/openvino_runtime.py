"""OpenVINO, imported in a way that sends nothing.

At its import OpenVINO reports to its makers' telemetry unless the user has
opted out: over the network, from a process forked beside running threads, and
with files in the home directory. Without the package `openvino_telemetry` it
does not, and works as well.
"""

from keras_bandit.common.hidden_modules import hidden_module

with hidden_module("openvino_telemetry"):
    import openvino
    from openvino import opset13

__all__ = ["openvino", "opset13"]
