"""Separation of recordings and of files: `separate` and `separate_file`.

What is named here is imported on first use: reading the defaults costs nothing.
"""

DEFAULT_BATCH_SIZE = 2
"""Chunks per call of the model: small enough for a CPU, and a stereo file,
whose two channels are two chunks, wastes none on padding the last batch."""


def __getattr__(name):
    if name == "separate":
        from keras_bandit.inference.separation import separate

        return separate
    if name == "separate_file":
        from keras_bandit.inference.files import separate_file

        return separate_file
    if name == "CoreSeparator":
        from keras_bandit.inference.core_separator import CoreSeparator

        return CoreSeparator
    raise AttributeError(
        f"module 'keras_bandit.inference' has no attribute {name!r}"
    )
