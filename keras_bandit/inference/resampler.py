"""Resampling of a stream of sound."""

import numpy as np
import soxr


class Resampler:
    """Resamples `(channels, samples)` float32 with soxr's best quality, VHQ.

    Linear phase, pass band up to about 0.91 of the lower Nyquist frequency
    and no delay. What it returns, joined, is the same for blocks of any
    length. Equal rates return the blocks as they are.
    """

    def __init__(self, sample_rate, new_rate):
        self._rates = sample_rate, new_rate
        self._streams = None
        self._taken = self._given = 0

    def push(self, audio):
        """Takes any number of samples; returns those that are ready."""
        resampled = self._resample(audio, last=False)
        self._taken += audio.shape[-1]
        self._given += resampled.shape[-1]
        return resampled

    def finish(self, num_samples=None):
        """After at least one `push`: the rest.

        In all, `num_samples` are returned, at most a sample or two of the
        lower rate more or fewer than there should be: zeros are appended or
        samples dropped at the end. `None` takes the nearest length, at least 1.
        """
        old, new = self._rates
        exact = self._taken * new / old
        if num_samples is None:
            num_samples = max(round(exact), 1)
        assert abs(num_samples - exact) <= max(new / old, 1) + 1
        rest = self._resample(np.zeros((self._channels, 0), "float32"), True)
        missing = num_samples - self._given
        assert missing >= 0
        rest = rest[:, :missing]
        return np.pad(rest, [(0, 0), (0, missing - rest.shape[-1])])

    def _resample(self, audio, last):
        old, new = self._rates
        self._channels = len(audio)
        if old == new:
            return audio
        if self._streams is None:
            # One each: soxr wants (samples, channels) and would copy all.
            self._streams = [
                soxr.ResampleStream(old, new, 1, "float32", "VHQ")
                for _ in audio
            ]
        return np.stack(
            [
                stream.resample_chunk(samples, last=last)
                for stream, samples in zip(self._streams, audio, strict=True)
            ]
        )


def resample(audio, sample_rate, new_rate, num_samples=None):
    """All of a recording at another rate: `push` and `finish`, joined."""
    if sample_rate == new_rate:
        return audio
    resampler = Resampler(sample_rate, new_rate)
    parts = [resampler.push(audio), resampler.finish(num_samples)]
    return np.concatenate(parts, axis=-1)
