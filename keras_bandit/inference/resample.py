"""Sample rate conversion to an exact number of samples."""

import numpy as np
import soxr


def resample(audio, sample_rate, new_rate, num_samples=None):
    """Resamples with soxr at its best quality, VHQ.

    Linear phase, pass band up to about 0.91 of the lower Nyquist frequency
    and no delay.

    Args:
        audio: `(channels, samples)` float32.
        sample_rate: int. Rate of `audio`, in Hz.
        new_rate: int. Rate of the result, in Hz. Equal rates return `audio`.
        num_samples: int. Length of the result, at most a sample or two of
            the lower rate from `samples * new_rate / sample_rate`: zeros are
            appended or samples dropped at the end. `None` takes the nearest
            length, at least 1.

    Returns:
        `(channels, num_samples)` float32.
    """
    if sample_rate == new_rate:
        return audio
    exact_length = audio.shape[-1] * new_rate / sample_rate
    if num_samples is None:
        num_samples = max(round(exact_length), 1)
    slack = max(new_rate / sample_rate, 1) + 1
    assert abs(num_samples - exact_length) <= slack
    resampled = np.zeros((len(audio), num_samples), "float32")
    # Channel by channel: soxr wants (samples, channels) and would copy all.
    for channel, samples in enumerate(audio):
        result = soxr.resample(samples, sample_rate, new_rate, quality="VHQ")
        assert abs(len(result) - exact_length) <= slack
        result = result[:num_samples]
        resampled[channel, : len(result)] = result
    return resampled
