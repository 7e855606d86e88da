"""Integrated loudness in LUFS, measured by pyloudnorm."""

import numpy as np

from keras_bandit.common.extras import require

_BLOCK_SECONDS = 0.4  # gating blocks of ITU-R BS.1770-4


def require_pyloudnorm():
    """The module pyloudnorm, whose import takes a second."""
    return require("pyloudnorm", "mix", "measuring loudness")


def integrated_loudness(audio, sample_rate):
    """Integrated loudness of ITU-R BS.1770-4.

    A sound shorter than the standard's block of 0.4 s is one block, as in the
    scripts that mixed DnR (github.com/darius522/dnr-utils, audio_utils.py at
    d895d48).

    Of `(channels, samples)` of one to five channels, full scale ±1, a float in
    LUFS; `-inf` if nothing is louder than -70 LUFS (Annex 1).

    Raises:
        ImportError: without pyloudnorm, the extra `mix`.
        ValueError: if the audio has another shape or no samples.
    """
    audio = np.asarray(audio, "float64")
    if audio.ndim != 2 or not 1 <= len(audio) <= 5 or not audio.shape[1]:
        raise ValueError(
            "audio must be (channels, samples) with one to five channels; got "
            f"the shape {audio.shape}"
        )
    if not audio.any():
        return -np.inf
    # Rounded down: times the rate it must not be longer than the sound.
    block_seconds = np.nextafter(audio.shape[1] / sample_rate, 0)
    block_seconds = min(_BLOCK_SECONDS, block_seconds)
    meter = require_pyloudnorm().Meter(sample_rate, block_size=block_seconds)
    return float(meter.integrated_loudness(audio.T))
