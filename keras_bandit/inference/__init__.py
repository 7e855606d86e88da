"""Separation of whole recordings: audio files, resampling, overlap-add.

The defaults stand here, where reading them costs no import; `separate`, the
function of `separation.py`, and `CoreSeparator` are imported on first use.
"""

DEFAULT_CHUNK_SECONDS = 6.0
"""Length of a chunk: the authors' (and the length they train on)."""

DEFAULT_HOPS_PER_CHUNK = 2
"""Chunks over each sample when no hop is given: hop = chunk / 2 = 3.0 s.

The compromise between quality and speed: two is the fewest with a full
cross-fade everywhere. The authors take 12 (a hop of 0.5 s), six times the
work.
"""

DEFAULT_BATCH_SIZE = 2
"""Chunks per call of the model: small enough for a CPU, and a stereo file,
whose two channels are two chunks, wastes none on padding the last batch."""


def __getattr__(name):
    if name == "separate":
        from keras_bandit.inference.separation import separate

        return separate
    if name == "CoreSeparator":
        from keras_bandit.inference.core_separator import CoreSeparator

        return CoreSeparator
    raise AttributeError(
        f"module 'keras_bandit.inference' has no attribute {name!r}"
    )
