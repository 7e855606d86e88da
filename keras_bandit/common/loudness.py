"""Levels: loudness in LUFS, with pyloudnorm's filters, RMS and peak."""

import numpy as np

from keras_bandit.common.extras import require

_STEP_SECONDS = 0.1  # gating blocks of ITU-R BS.1770-4 are four of these
_CHANNEL_WEIGHTS = [1.0, 1.0, 1.0, 1.41, 1.41]


def channel_weights(speakers):
    """Weights of ITU-R BS.1770-4 for channels, a list.

    Without `speakers` such as `["FL", "FR"]` the order is left, right, centre
    and the surrounds. The channel of low effects does not count; speakers at
    the sides (in 5.1: behind) count 1.5 dB more.
    """
    sides = {"SL", "SR"} & set(speakers) or {"BL", "BR"}
    weights = {"LFE": 0.0, **dict.fromkeys(sides, 1.41)}
    return [weights.get(speaker, 1.0) for speaker in speakers]


LEVELS = ("rms", "peak", "rms_peak")
"""What `level_gain` brings a recording to: a root mean square of 0.1 (-20
dBFS), a peak of 1 (0 dBFS), or that root mean square but no peak above 1."""


def require_pyloudnorm():
    """The module pyloudnorm, whose import takes a second."""
    return require("pyloudnorm", "mix", "measuring loudness")


class LoudnessMeter:
    """Integrated loudness of ITU-R BS.1770-4, of sound that comes in blocks.

    The numbers are those of pyloudnorm, which wants the whole sound.

    Args:
        sample_rate: int, Hz.
        weights: list of float, of each channel; `None`: those of one to five
            channels in the order left, right, centre and the surrounds.

    Raises:
        ImportError: without pyloudnorm, the extra `mix`.
    """

    def __init__(self, sample_rate, weights=None):
        meter = require_pyloudnorm().Meter(sample_rate)
        self._filters = [(f.b, f.a) for f in meter._filters.values()]
        self._weights = np.array(weights or _CHANNEL_WEIGHTS)[:, None]
        self._states = None
        self._sample_rate = sample_rate
        self._num_samples = 0
        self._energies = []  # `(channels,)`, of each step

    @classmethod
    def of(cls, source):
        """A meter for a `Source`, whose speakers weigh if they are known."""
        weights = channel_weights(source.speakers) or None
        if weights is None and source.num_channels > len(_CHANNEL_WEIGHTS):
            weights = [1.0] * source.num_channels
        return cls(source.sample_rate, weights)

    @property
    def seconds(self):
        """How much was pushed."""
        return self._num_samples / self._sample_rate

    def push(self, audio):
        """Takes `(channels, samples)`, full scale ±1."""
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
        power = self.block_power(4)
        loud = power[_level(power) >= -70]
        if not len(loud):
            return -np.inf
        gate = max(_level(loud.mean()) - 10, -70)
        loud = power[_level(power) > gate]
        return float(_level(loud.mean())) if len(loud) else -np.inf

    def loudness_range(self):
        """Loudness range in LU (EBU Tech 3342); 0 if nothing is loud enough."""
        power = self.block_power(30)
        loud = power[_level(power) >= -70]
        if not len(loud):
            return 0.0
        loud = loud[_level(loud) >= _level(loud.mean()) - 20]
        low, high = np.percentile(_level(loud), [10, 95])
        return float(high - low)

    def block_power(self, steps):
        """Weighted mean square of blocks of so many steps of 0.1 s, `(n,)`.

        One begins with each step; a sound shorter than one block is one.
        """
        energies = (self._weights[: len(self._energies[0])].T) * self._energies
        energies = energies.sum(axis=1)
        seconds = self.seconds
        size = steps * _STEP_SECONDS
        count = max(int(np.round((seconds - size) / _STEP_SECONDS)) + 1, 1)
        size = min(size, seconds) * self._sample_rate
        sums = np.cumsum([0, *energies])
        stops = np.minimum(np.arange(count) + steps, len(energies))
        return np.maximum(sums[stops] - sums[:count], 0) / size


def _level(power):
    with np.errstate(divide="ignore"):
        return -0.691 + 10 * np.log10(power)


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


def level_gain(blocks, level):
    """Factor that brings a recording to a level of `LEVELS`; 1 for silence.

    Of blocks `(channels, samples)`, all channels together. Times a recording
    that is louder, a factor that is smaller by as much: the result is the same.
    """
    peak = square = size = 0
    for audio in blocks:
        size += audio.size
        peak = max(peak, float(np.abs(audio).max(initial=0)))
        # einsum sums float32 in float64 without a copy.
        square += np.einsum("cs,cs->", audio, audio, dtype="float64")
    if square < 1e-60:  # no audio; 1 / peak could exceed float32
        return 1.0
    gains = {"rms": 0.1 * (size / square) ** 0.5, "peak": 1 / peak}
    return min(gains.values()) if level == "rms_peak" else gains[level]
