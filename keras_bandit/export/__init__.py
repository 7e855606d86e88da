"""Separators as files for engines without Keras.

Each export is a directory with `separator.json`, which says what the model is,
beside the model's own files. Importing this costs neither Keras nor ONNX.
"""

TYPE_CHECKING = False  # as in `keras_bandit`
if TYPE_CHECKING:
    from keras_bandit.export.exporting import export_core as export_core

FORMATS = ("onnx", "openvino", "saved_model", "litert")

__all__ = ["FORMATS", "UnsupportedModelError", "export_core"]


class UnsupportedModelError(ValueError):
    """A model that a format cannot hold; the message says which and why."""


if not TYPE_CHECKING:  # a checker would take any name for one of these

    def __getattr__(name):
        if name == "export_core":
            from keras_bandit.export.exporting import export_core

            return export_core
        raise AttributeError(
            f"module 'keras_bandit.export' has no attribute {name!r}"
        )
