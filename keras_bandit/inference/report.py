"""What a delivery asks of stems: loudness, peaks, and whether they add up."""

import math

import numpy as np

from keras_bandit.common.loudness import LoudnessMeter, channel_weights
from keras_bandit.inference.resampler import Resampler

_OVERSAMPLING = 4  # of true peaks, ITU-R BS.1770-4, Annex 2
_BELOW = 20.0  # LU below a stem's loudness where it counts as silent


def _decibels(power):
    return 10 * math.log10(power) if power > 0 else -math.inf


def _json_number(value):
    """Rounded to hundredths; JSON has no infinity."""
    return round(value, 2) if math.isfinite(value) else None


class _Meters:
    """Loudness and peak of one stem, block by block."""

    def __init__(self, source):
        weights = channel_weights(source.speakers) or None
        if weights is None and source.num_channels > 5:
            weights = [1.0] * source.num_channels  # unknown speakers
        self.loudness = LoudnessMeter(source.sample_rate, weights)
        rate = source.sample_rate
        self._oversampled = Resampler(rate, _OVERSAMPLING * rate)
        self._peak = 0.0

    def push(self, audio):
        self.loudness.push(audio)
        self._look(self._oversampled.push(audio))

    def _look(self, audio):
        self._peak = max(self._peak, float(np.abs(audio).max(initial=0)))

    def result(self):
        self._look(self._oversampled.finish())
        return {
            "loudness_lufs": _json_number(self.loudness.loudness()),
            "loudness_range_lu": _json_number(self.loudness.loudness_range()),
            "true_peak_dbtp": _json_number(_decibels(self._peak**2)),
        }


class Report:
    """Measures stems while they are written.

    - `loudness_lufs`, `loudness_range_lu`: ITU-R BS.1770-4, EBU Tech 3342.
    - `true_peak_dbtp`: of the sound at four times its rate.
    - `null_test_db`: what the stems that are written leave of the mixture,
      over the mixture.
    - `dialogue_share`: part of the time in which speech is at most 20 LU below
      its own loudness, in blocks of 0.4 s; if speech is written.

    `None` stands for silence. Nothing is normalized.

    Args:
        source: `Source`.
        names: list of str, what is written.
        stems: list of str, those of `names` that are stems of the model.

    Raises:
        ImportError: without pyloudnorm, the extra `mix`.
    """

    def __init__(self, source, names, stems):
        self._meters = {name: _Meters(source) for name in names}
        self._stems = stems
        self._left = self._whole = 0.0

    def push(self, mixture, written):
        """Takes the next samples: of the recording, and of all that is written."""
        for name, audio in written.items():
            self._meters[name].push(audio)
        rest = mixture.astype("float64")
        self._whole += np.sum(rest**2)
        for stem in self._stems:
            rest = rest - written[stem]
        self._left += np.sum(rest**2)

    def result(self):
        """A dict for JSON."""
        ratio = self._left / self._whole if self._whole else 0.0
        report = {
            "stems": {name: m.result() for name, m in self._meters.items()},
            "null_test_db": _json_number(_decibels(ratio)),
        }
        if "speech" in self._meters:
            meter = self._meters["speech"].loudness
            loudness, power = meter.loudness(), meter.block_power(4)
            gate = 10 ** ((loudness - _BELOW + 0.691) / 10)
            heard = power >= gate if math.isfinite(loudness) else power < 0
            report["dialogue_share"] = round(float(np.mean(heard)), 4)
        return report
