"""Integrated loudness: levels, silence, short sounds."""

import sys

import numpy as np
import pyloudnorm
import pytest

from keras_bandit.common.loudness import (
    LEVELS,
    LoudnessMeter,
    channel_weights,
    integrated_loudness,
    level_gain,
)

pytestmark = pytest.mark.once


def noise(seconds, sample_rate=48000, channels=1, seed=0):
    rng = np.random.default_rng(seed)
    shape = (channels, round(seconds * sample_rate))
    return 0.1 * rng.standard_normal(shape)


@pytest.mark.parametrize("sample_rate", [32000, 44100, 48000])
def test_full_scale_sine_at_997_hz_has_minus_three_lufs(sample_rate):
    """The calibration of BS.1770-4, Annex 1: 0 dBFS in one channel."""
    time = np.arange(5 * sample_rate) / sample_rate
    sine = np.sin(2 * np.pi * 997 * time)[None]
    # pyloudnorm's filters are the standard's for 48 kHz within 0.1 dB.
    assert integrated_loudness(sine, sample_rate) == pytest.approx(
        -3.01, abs=0.1
    )


@pytest.mark.parametrize("sample_rate", [8000, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("seconds", [0.4, 0.44, 0.46, 1.0, 3.04, 3.06, 12.3])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_blocks_are_those_of_pyloudnorm(sample_rate, seconds, channels):
    audio = noise(seconds, sample_rate, channels)
    envelope = np.linspace(0, 3, audio.shape[1]) % 1
    audio *= envelope**4  # some of it is below each gate
    meter = LoudnessMeter(sample_rate)
    for start in range(0, audio.shape[1], 1777):
        meter.push(audio[:, start : start + 1777])
    expected = pyloudnorm.Meter(sample_rate).integrated_loudness(audio.T)
    assert meter.loudness() == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("seconds", [0.01, 0.1, 0.4, 0.41, 3.0])
def test_loudness_follows_the_gain(seconds):
    audio = noise(seconds)
    loudness = integrated_loudness(audio, 48000)
    louder = integrated_loudness(10 ** (6 / 20) * audio, 48000)
    assert louder - loudness == pytest.approx(6, abs=1e-6)


def test_pauses_do_not_count():
    audio = noise(5)
    paused = np.concatenate([audio, np.zeros_like(audio)], axis=1)
    # The blocks that straddle the edge remain.
    assert integrated_loudness(paused, 48000) == pytest.approx(
        integrated_loudness(audio, 48000), abs=0.2
    )


def test_two_channels_add_up():
    audio = noise(3)
    both = np.concatenate([audio, audio])
    gain = integrated_loudness(both, 48000) - integrated_loudness(audio, 48000)
    assert gain == pytest.approx(10 * np.log10(2), abs=1e-6)


@pytest.mark.parametrize("level", [0.0, 1e-5])
def test_silence_has_no_loudness(level):
    assert integrated_loudness(level * noise(1), 48000) == -np.inf


@pytest.mark.parametrize("shape", [(48000,), (6, 48000), (0, 48000), (1, 0)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=str(shape[0])):
        integrated_loudness(np.zeros(shape), 48000)


def test_missing_pyloudnorm_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyloudnorm", None)
    with pytest.raises(ImportError, match=r"keras-bandit\[mix\]"):
        integrated_loudness(noise(1), 48000)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("peak", [0.2, 5.0])
def test_level_gain(level, peak):
    audio = noise(0.1, channels=2).astype("float32")
    audio[1, 7] = -peak
    blocks = [audio[:, :7], audio[:, 7:7], audio[:, 7:]]
    levelled = level_gain(blocks, level) * audio
    rms = np.sqrt(np.mean(levelled**2, dtype="float64"))
    if level == "peak" or (level == "rms_peak" and peak == 5):
        assert np.abs(levelled).max() == pytest.approx(1, rel=1e-6)
    else:
        assert rms == pytest.approx(0.1, rel=1e-6)
    if level == "rms_peak":
        assert np.abs(levelled).max() <= 1 + 1e-6
    assert level_gain([audio / 8], level) == 8 * level_gain([audio], level)


@pytest.mark.parametrize("level", LEVELS)
def test_silence_has_no_level(level):
    silence = np.zeros((2, 100), "float32")
    assert level_gain([silence], level) == 1
    silence[0, 3] = 1e-38
    assert level_gain([silence], level) == 1


def test_loudness_range():
    """EBU Tech 3342, test 1: tones 10 dB apart have a range of 10 LU."""
    time = np.arange(20 * 48000) / 48000
    tone = np.sin(2 * np.pi * 1000 * time)
    loud = np.concatenate([0.1 * tone, 0.1 * 10**-0.5 * tone])
    meter = LoudnessMeter(48000)
    meter.push(np.stack([loud, loud]))
    assert meter.loudness_range() == pytest.approx(10, abs=1)


@pytest.mark.parametrize(
    ("speakers", "weights"),
    [
        (["FL", "FR"], [1, 1]),
        (["FL", "FR", "FC", "LFE", "BL", "BR"], [1, 1, 1, 0, 1.41, 1.41]),
        (["FL", "FR", "FC", "LFE", "SL", "SR"], [1, 1, 1, 0, 1.41, 1.41]),
        (["LFE", "BL", "BR", "SL", "SR"], [0, 1, 1, 1.41, 1.41]),
        ([], []),
    ],
)
def test_weights_of_channels(speakers, weights):
    assert channel_weights(speakers) == weights


def test_low_effects_do_not_count():
    audio = noise(3, channels=2)
    meter = LoudnessMeter(48000, [1.0, 0.0])
    meter.push(audio)
    expected = integrated_loudness(audio[:1], 48000)
    assert meter.loudness() == pytest.approx(expected, abs=1e-6)
