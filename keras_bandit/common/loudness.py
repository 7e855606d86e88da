"""Integrated loudness in LUFS, with pyloudnorm's filters."""

import numpy as np

from keras_bandit.common.extras import require

_STEP_SECONDS = 0.1  # gating blocks of ITU-R BS.1770-4 are four of these
_CHANNEL_GAINS = np.array([1.0, 1.0, 1.0, 1.41, 1.41])[:, None]


def require_pyloudnorm():
    """The module pyloudnorm, whose import takes a second."""
    return require("pyloudnorm", "mix", "measuring loudness")


class LoudnessMeter:
    """Integrated loudness of ITU-R BS.1770-4, of sound that comes in blocks.

    The numbers are those of pyloudnorm, which wants the whole sound.

    Args:
        sample_rate: int, Hz.

    Raises:
        ImportError: without pyloudnorm, the extra `mix`.
    """

    def __init__(self, sample_rate):
        meter = require_pyloudnorm().Meter(sample_rate)
        self._filters = [(f.b, f.a) for f in meter._filters.values()]
        self._states = None
        self._sample_rate = sample_rate
        self._num_samples = 0
        self._energies = []  # `(channels,)`, of each step

    def push(self, audio):
        """Takes `(channels, samples)`, one to five channels, full scale ±1."""
        from scipy.signal import lfilter

        if self._states is None:
            self._states = [np.zeros((len(audio), 2)) for _ in self._filters]
        audio = audio.astype("float64")
        for i, (b, a) in enumerate(self._filters):
            audio, self._states[i] = lfilter(b, a, audio, zi=self._states[i])
        power = audio**2
        while power.shape[-1]:
            step = len(self._energies)
            end = int(_STEP_SECONDS * step * self._sample_rate)
            if self._num_samples == end:  # the next step begins
                self._energies.append(np.zeros(len(power)))
                end = int(_STEP_SECONDS * (step + 1) * self._sample_rate)
            part = power[:, : end - self._num_samples]
            self._energies[-1] += part.sum(axis=-1)
            self._num_samples += part.shape[-1]
            power = power[:, part.shape[-1] :]

    def loudness(self):
        """A float in LUFS; `-inf` if nothing is louder than -70 LUFS.

        A sound shorter than the standard's block of 0.4 s is one block, as in
        the scripts that mixed DnR (github.com/darius522/dnr-utils,
        audio_utils.py at d895d48).
        """
        energies = np.array(self._energies).T
        seconds = self._num_samples / self._sample_rate
        size = 4 * _STEP_SECONDS
        count = max(int(np.round((seconds - size) / _STEP_SECONDS)) + 1, 1)
        size = min(size, seconds) * self._sample_rate
        blocks = [energies[:, j : j + 4].sum(axis=1) for j in range(count)]
        power = np.array(blocks).T / size
        power = (_CHANNEL_GAINS[: len(power)] * power).sum(axis=0)

        def level(power):
            with np.errstate(divide="ignore"):
                return -0.691 + 10 * np.log10(power)

        loud = power[level(power) >= -70]
        if not len(loud):
            return -np.inf
        loud = power[level(power) > max(level(loud.mean()) - 10, -70)]
        return float(level(loud.mean())) if len(loud) else -np.inf


def integrated_loudness(audio, sample_rate):
    """`LoudnessMeter` of a whole `(channels, samples)`.

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
    meter = LoudnessMeter(sample_rate)
    meter.push(audio)
    return meter.loudness()
