"""The generated film clips: shapes, levels, seeds, and what the stems hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_bandit.data import film_clip

pytestmark = pytest.mark.once

STEMS = ("speech", "music", "effects")
# Mixture SNR of DnR v2's stems, the levels the generator aims at.
DNR_SNR_DB = {"speech": 1.0, "music": -6.8, "effects": -5.0}


def power_db(signal):
    return 10 * np.log10(np.mean(np.square(signal, dtype="float64")))


def mixture_snr_db(stems):
    mixture = sum(stems.values())
    return {s: power_db(x) - power_db(mixture - x) for s, x in stems.items()}


def power_spectrum(signal, frame=2048):
    """Mean power `(frame / 2 + 1,)` and its time course `(frames, …)`."""
    frames = signal[: len(signal) // frame * frame].reshape(-1, frame)
    return np.abs(np.fft.rfft(frames * np.hanning(frame))) ** 2


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    seconds=st.floats(1.0, 3.0),
    sample_rate=st.sampled_from([8000, 16000, 44100, 48000]),
    channels=st.integers(1, 3),
    seed=st.integers(0, 2**32),
)
def test_any_clip_is_finite_loud_and_below_full_scale(
    seconds, sample_rate, channels, seed
):
    stems = film_clip(seconds, sample_rate, channels, seed)
    assert tuple(stems) == STEMS
    for stem in stems.values():
        assert stem.shape == (channels, round(seconds * sample_rate))
        assert stem.dtype == np.float32
        assert np.isfinite(stem).all()
        assert power_db(stem) > -60
        assert np.abs(stem).max() < 1
    assert np.abs(sum(stems.values())).max() < 1


def test_same_seed_same_clip_other_seed_other_clip():
    first, again = film_clip(2.0, seed=3), film_clip(2.0, seed=3)
    other = film_clip(2.0, seed=4)
    for stem in STEMS:
        np.testing.assert_array_equal(first[stem], again[stem])
        # Independent signals of 88,200 samples with few degrees of freedom
        # (a sustained bass note) still correlate far less than this.
        a, b = first[stem][0], other[stem][0]
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.5


def test_levels_are_near_dnr():
    snr_db = [mixture_snr_db(film_clip(4.0, 16000, seed=s)) for s in range(24)]
    for stem, expected in DNR_SNR_DB.items():
        values = np.array([clip[stem] for clip in snr_db])
        # Levels scatter by 1.5 dB per stem, so a stem against the two others
        # by about 2 dB: the mean of 24 is within 3 × 2 / sqrt(24) = 1.3 dB.
        assert abs(values.mean() - expected) < 1.3
        assert 0.5 < values.std() < 4


def test_stems_are_independent():
    """No stem leaks into another: all pairs are nearly uncorrelated."""
    for seed in range(4):
        stems = film_clip(6.0, seed=seed)
        correlation = np.corrcoef([stems[s][0] for s in STEMS])
        assert np.abs(correlation - np.eye(3)).max() < 0.1


def test_speech_pauses_and_lies_below_8_khz():
    speech = film_clip(12.0, seed=1)["speech"][0]
    spectrum = power_spectrum(speech)
    level = spectrum.sum(1)
    assert np.mean(level < 1e-3 * level.max()) > 0.1
    bin_hz = 44100 / 2048
    low = spectrum[:, int(200 / bin_hz) : int(8000 / bin_hz)].sum()
    assert low > 0.5 * spectrum.sum()


def test_music_is_tonal_and_effects_are_not():
    """Spectral flatness (geometric over arithmetic mean) tells them apart."""
    values = {"music": [], "effects": []}
    for seed in range(4):
        clip = film_clip(4.0, seed=seed)
        for stem, found in values.items():
            power = power_spectrum(clip[stem][0])[:, 4:200] + 1e-12
            geometric = np.exp(np.log(power).mean(1))
            found.append(np.median(geometric / power.mean(1)))
    flatness = {stem: np.mean(found) for stem, found in values.items()}
    assert flatness["music"] < 0.5 * flatness["effects"]


def test_stereo_channels_differ_in_every_stem():
    for stem in film_clip(3.0, channels=2, seed=5).values():
        left, right = stem
        assert np.abs(left - right).max() > 0.01 * np.abs(stem).max()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seconds": 0.5}, "seconds=0.5"),
        ({"seconds": float("nan")}, "seconds=nan"),
        ({"seconds": 1, "sample_rate": 4000}, "sample_rate .*; got 4000"),
        ({"seconds": 1, "sample_rate": 44100.5}, "sample_rate .*; got 44100.5"),
        ({"seconds": 1, "channels": 0}, "channels .*; got 0"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        film_clip(**arguments)
