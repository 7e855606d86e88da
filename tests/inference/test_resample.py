"""Resampling: exact lengths, no delay, nothing lost in the pass band."""

import numpy as np
import pytest

from keras_bandit.inference.resampler import resample

pytestmark = pytest.mark.once


def tone(sample_rate, num_samples, hertz=440.0):
    """`(1, samples)`, faded at both ends, which are no part of the test."""
    time = np.arange(num_samples) / sample_rate
    fade = np.sin(np.pi * np.arange(num_samples) / num_samples) ** 2
    return (fade * np.sin(2 * np.pi * hertz * time)).astype("float32")[None]


@pytest.mark.parametrize("sample_rate", [8000, 22050, 48000, 96000])
def test_round_trip_returns_a_tone_with_its_length(sample_rate):
    for num_samples in (20011, 20012, 20013):
        audio = tone(sample_rate, num_samples)
        there = resample(audio, sample_rate, 44100)
        back = resample(there, 44100, sample_rate, num_samples)
        assert back.shape == audio.shape
        assert back.dtype == np.float32
        # Two passes of the filter; VHQ promises far below float32's step.
        np.testing.assert_allclose(back, audio, rtol=0, atol=1e-5)


def test_tone_is_not_delayed():
    there = resample(tone(48000, 48000), 48000, 44100)
    np.testing.assert_allclose(there, tone(44100, 44100), rtol=0, atol=1e-5)


def test_channels_are_independent():
    audio = np.concatenate([tone(48000, 9600), tone(48000, 9600, 1000.0)])
    both = resample(audio, 48000, 44100)
    for channel in range(2):
        alone = resample(audio[channel : channel + 1], 48000, 44100)
        np.testing.assert_array_equal(both[channel], alone[0])


@pytest.mark.parametrize("sample_rate", [8000, 48000, 96000, 192000])
@pytest.mark.parametrize("num_samples", [1, 2, 3, 5])
def test_a_few_samples_are_enough(sample_rate, num_samples):
    audio = np.full((1, num_samples), 0.5, "float32")
    there = resample(audio, sample_rate, 44100)
    assert there.shape[-1] >= 1
    assert resample(there, 44100, sample_rate, num_samples).shape == audio.shape


def test_equal_rates_return_the_audio_itself():
    audio = tone(44100, 100)
    assert resample(audio, 44100, 44100) is audio
