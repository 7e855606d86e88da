"""`separate`: shapes, rates, channels and refusals, with a model of gains."""

import tracemalloc

import numpy as np
import pytest

from keras_bandit import inference
from keras_bandit.inference import separation
from keras_bandit.inference.separation import (
    ArraySource,
    check_audio,
    chunk_and_hop,
    separate,
    separate_blocks,
)

from ..gains import Gains

pytestmark = pytest.mark.once


def noise(*shape):
    return np.random.default_rng(0).uniform(-1, 1, shape).astype("float32")


def tones(num_channels, num_samples, sample_rate):
    """`(channels, samples)`, faded at the ends, for resampling."""
    time = np.arange(num_samples) / sample_rate
    hertz = 200.0 * (1 + np.arange(num_channels))[:, None]
    fade = np.sin(np.pi * np.arange(num_samples) / num_samples) ** 2
    return (fade * np.sin(2 * np.pi * hertz * time)).astype("float32")


def assert_scaled(stems, audio, gains, atol):
    assert list(stems) == list(gains)
    for stem, gain in gains.items():
        assert stems[stem].shape == audio.shape
        assert stems[stem].dtype == np.float32
        np.testing.assert_allclose(stems[stem], gain * audio, rtol=0, atol=atol)


@pytest.mark.parametrize("shape", [(4000,), (1, 4000), (2, 4001), (6, 999)])
@pytest.mark.parametrize("num_channels", [None, 1])
def test_independent_channels_keep_the_shape(shape, num_channels):
    model, audio = Gains(num_channels), noise(*shape)
    stems = separate(model, audio, 8000, chunk_seconds=0.1)
    assert_scaled(stems, audio, model.gains, atol=1e-6)
    assert set(model.shapes) == {(2, 1, 800)}


def test_stereo_model_gets_both_channels_together():
    model, audio = Gains(2), noise(2, 3000)
    stems = separate(model, audio, 8000, chunk_seconds=0.1, batch_size=3)
    assert_scaled(stems, audio, model.gains, atol=1e-6)
    assert set(model.shapes) == {(3, 2, 800)}


@pytest.mark.parametrize("shape", [(3000,), (1, 3000)])
def test_stereo_model_gets_mono_repeated_and_averaged(shape):
    model, audio = Gains(2), noise(*shape)
    seen = []

    def left_only(batch):
        seen.append(batch.copy())
        return {"speech": batch * np.array([[1.0], [0.0]], "float32")}

    model.gains = {"speech": 1.0}
    model.predict_on_batch = left_only
    stems = separate(model, audio, 8000, chunk_seconds=0.1)
    assert_scaled(stems, audio, {"speech": 0.5}, atol=1e-6)
    for batch in seen:
        np.testing.assert_array_equal(batch[:, 0], batch[:, 1])


def test_stereo_model_refuses_surround():
    with pytest.raises(ValueError, match=r"2 channels.*or 1.*got 6"):
        separate(Gains(2), noise(6, 100), 8000)


@pytest.mark.parametrize("num_samples", [1, 2, 63, 799, 800, 801, 4000])
def test_any_length(num_samples):
    model, audio = Gains(), noise(2, num_samples)
    stems = separate(model, audio, 8000, chunk_seconds=0.1)
    assert_scaled(stems, audio, model.gains, atol=1e-6)
    assert set(model.shapes) == {(2, 1, 800)}


@pytest.mark.parametrize("sample_rate", [11025, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("num_samples", [9001, 9002, 9003])
def test_any_rate_with_the_exact_length(sample_rate, num_samples):
    model = Gains()
    audio = tones(2, num_samples, sample_rate)
    stems = separate(model, audio, sample_rate, chunk_seconds=0.1)
    # Two passes of soxr's VHQ filter beside the overlap-add.
    assert_scaled(stems, audio, model.gains, atol=1e-5)


@pytest.mark.parametrize("sample_rate", [1, 4000, 48000, 192000])
@pytest.mark.parametrize("num_samples", [1, 2, 7])
def test_a_few_samples_at_any_rate(sample_rate, num_samples):
    # Too short for the filter to return the samples: only the form counts.
    stems = separate(Gains(), noise(2, num_samples), sample_rate)
    for stem in stems.values():
        assert stem.shape == (2, num_samples)
        assert np.isfinite(stem).all()


@pytest.mark.parametrize("sample_rate", [4000, 16000])
def test_memory_does_not_grow_with_the_recording(sample_rate):
    model = Gains()
    options = {"chunk_seconds": 1.0, "batch_size": 2}

    def peak(seconds):
        source = ArraySource(
            tones(2, seconds * sample_rate, sample_rate), sample_rate
        )
        tracemalloc.start()
        for _ in separate_blocks(model, source, **options):
            pass
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    peak(40)  # imports
    assert peak(240) < 1.05 * peak(60)


@pytest.mark.parametrize("sample_rate", [8000, 11025])
@pytest.mark.parametrize("num_channels", [None, 2])
@pytest.mark.parametrize("crossfade", ["hann", "middle", "triangle"])
def test_blocks_of_a_stream_make_no_difference(
    sample_rate, num_channels, crossfade, monkeypatch
):
    model, audio = Gains(num_channels), noise(2, 30_011)
    model.crossfade = crossfade
    options = {"chunk_seconds": 0.3, "shifts": 2 * (crossfade == "triangle")}
    whole = separate(model, audio, sample_rate, **options)
    monkeypatch.setattr(separation, "BLOCK", 977)
    source = ArraySource(audio, sample_rate)
    mixtures, estimates = zip(
        *separate_blocks(model, source, **options), strict=True
    )
    np.testing.assert_array_equal(np.concatenate(mixtures, axis=-1), audio)
    for stem, expected in whole.items():
        joined = np.concatenate([block[stem] for block in estimates], axis=-1)
        np.testing.assert_allclose(joined, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("sample_rate", [8000, 48000])
def test_mixture_consistency_shares_out_the_residual(sample_rate):
    model, audio = Gains(), tones(2, 9001, sample_rate)
    options = {"chunk_seconds": 0.1, "sample_rate": sample_rate}
    plain = separate(model, audio, **options)
    stems = separate(model, audio, mixture_consistency=True, **options)
    np.testing.assert_allclose(sum(stems.values()), audio, atol=1e-6)
    residual = audio - sum(plain.values())
    assert np.abs(residual).max() > 0.1
    for stem, estimate in stems.items():
        expected = plain[stem] + residual / 3
        np.testing.assert_allclose(estimate, expected, atol=1e-6)


def test_mixture_consistency_is_of_all_stems_whichever_are_returned():
    model, audio = Gains(), noise(800)
    options = {"mixture_consistency": True, "sample_rate": 8000}
    whole = separate(model, audio, **options)
    names = [*reversed(whole)][:2]
    some = separate(model, audio, stems=names, **options)
    assert list(some) == names
    for stem in names:
        np.testing.assert_array_equal(some[stem], whole[stem])


def test_mixture_consistency_needs_more_than_one_stem():
    model = Gains().with_stems(["music"])
    with pytest.raises(ValueError, match=r"two stems or more.*\['music'\]"):
        separate(model, noise(800), 8000, mixture_consistency=True)


def test_the_model_s_chunk_and_five_sixths_of_it_are_the_defaults():
    model = Gains()
    separate(model, noise(800), 8000, batch_size=1)
    assert model.shapes == [(1, 1, 800)]
    separate(model, noise(801), 8000, batch_size=1)
    assert model.shapes[1:] == [(1, 1, 800)] * 2  # at 0 and 667
    model.chunk_seconds = 0.2
    assert chunk_and_hop(model) == (1600, 1333)
    assert chunk_and_hop(model, 6.0, None) == (48000, 40000)
    assert chunk_and_hop(model, 6.0, 0.5) == (48000, 4000)


def test_stems_chooses_and_orders():
    stems = separate(Gains(), noise(100), 8000, stems=["music", "speech"])
    assert list(stems) == ["music", "speech"]


def test_all_stems_in_order_make_no_new_model():
    model = Gains()
    separate(model, noise(100), 8000, stems=["speech", "music", "effects"])
    assert model.shapes


@pytest.mark.parametrize("stems", ["speech", [], 3, [["speech"]]])
def test_stems_must_be_a_list_of_names(stems):
    with pytest.raises(ValueError, match=r"list of some of \['speech'"):
        separate(Gains(), noise(100), 8000, stems=stems)


@pytest.mark.parametrize("level", [None, "rms", "peak", "rms_peak"])
@pytest.mark.parametrize("num_channels", [None, 2])
def test_recording_is_brought_to_a_level_and_stems_back(level, num_channels):
    audio = tones(2, 4000, 8000) * [[0.02], [0.001]]
    seen = []

    class Levelled(Gains):
        normalize_recording = level

        def predict_on_batch(self, batch):
            seen.append(np.abs(batch).max())
            return super().predict_on_batch(batch)

    model = Levelled(num_channels)
    stems = separate(model, audio, 8000, chunk_seconds=0.1)
    assert_scaled(stems, audio, model.gains, atol=1e-8)
    # A tone faded by sin² has an RMS of sqrt(3) / 4 of its peak. The louder one
    # of two has sqrt(2) of the RMS of both.
    rms = 0.1 * np.sqrt(2) / (np.sqrt(3) / 4)
    expected = {None: 0.02, "rms": rms, "peak": 1.0, "rms_peak": rms}[level]
    assert max(seen) == pytest.approx(expected, rel=0.01)


def test_silence_gives_silent_stems():
    model = Gains()
    stems = separate(model, np.zeros((2, 5000)), 44100)
    assert list(stems) == model.stems
    assert all(stem.shape == (2, 5000) for stem in stems.values())
    assert not any(stem.any() for stem in stems.values())
    assert model.shapes == []
    model.silent_in_silent_out = False
    separate(model, np.zeros((2, 1601)), 8000)
    assert len(model.shapes) == 3  # twice three chunks


def test_input_is_left_as_it_was():
    audio = noise(2, 3000)
    before = audio.copy()
    stems = separate(Gains(), audio, 8000, chunk_seconds=0.1)
    np.testing.assert_array_equal(audio, before)
    assert not any(np.shares_memory(stem, audio) for stem in stems.values())


def test_lists_and_float64_are_taken():
    audio = [[0.5, -0.5, 0.25], [0.0, 0.5, 1.5]]
    stems = separate(Gains(), audio, 8000)
    assert_scaled(stems, np.array(audio), Gains().gains, atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_first_sample_that_is_not_finite_is_named(value):
    audio = np.zeros((2, 8000))
    audio[1, 2000] = value
    audio[0, 2001:2003] = value
    with pytest.raises(
        ValueError, match=r"channel 1, sample 2000 \(0\.250 s.* 3 such"
    ):
        check_audio(audio, 8000)


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (np.zeros(100, "int16"), "divide integer PCM.*got dtype int16"),
        (np.zeros(100, bool), "got dtype bool"),
        (np.zeros(100, complex), "got dtype complex128"),
        (np.zeros((1, 2, 100)), r"got shape \(1, 2, 100\)"),
        (np.float32(0), r"got shape \(\)"),
        (np.zeros(0), r"at least one sample; got shape \(0,\)"),
        (np.zeros((2, 0)), r"at least one sample; got shape \(2, 0\)"),
        (np.zeros((48000, 2)), "transpose"),
    ],
)
def test_what_is_not_audio_is_refused(audio, message):
    with pytest.raises(ValueError, match=message):
        check_audio(audio, 8000)


@pytest.mark.parametrize("sample_rate", [0, -8000, 44100.5, None, np.nan, True])
def test_sample_rate_must_be_a_positive_integer(sample_rate):
    with pytest.raises(ValueError, match=f"sample_rate .*; got {sample_rate}"):
        check_audio(np.zeros(10), sample_rate)


@pytest.mark.parametrize(
    ("chunk_seconds", "hop_seconds", "message"),
    [
        (6.0, 6.1, "hop_seconds must be at most chunk_seconds; got .*6.1"),
        (6.0, 0.0, "hop_seconds must be a positive number"),
        (6.0, -1.0, "hop_seconds must be a positive number"),
        (6.0, np.nan, "hop_seconds must be a positive number"),
        (6.0, "1", "hop_seconds must be a positive number.*got '1'"),
        (0.0, None, "chunk_seconds must be a positive number"),
        (-6.0, None, "chunk_seconds must be a positive number"),
        (np.nan, None, "chunk_seconds must be a positive number"),
        (np.inf, 1.0, "chunk_seconds must be a positive number"),
        (1e308, None, "chunk_seconds .* at most 86400; got 1e.308"),
        ("6", None, "chunk_seconds must be a positive number.*got '6'"),
    ],
)
def test_hop_must_be_positive_and_at_most_the_chunk(
    chunk_seconds, hop_seconds, message
):
    with pytest.raises(ValueError, match=message):
        separate(
            Gains(),
            noise(100),
            8000,
            chunk_seconds=chunk_seconds,
            hop_seconds=hop_seconds,
        )


def test_chunk_must_be_as_long_as_the_model_needs():
    assert chunk_and_hop(Gains(), 0.032, None) == (256, 213)
    with pytest.raises(ValueError, match=r"at least 256 samples, 0\.032 s"):
        chunk_and_hop(Gains(), 0.0318, None)


@pytest.mark.parametrize("batch_size", [0, -1, 1.5, "2", np.inf, 10**20])
def test_batch_size_must_be_a_positive_integer(batch_size):
    with pytest.raises(ValueError, match=f"batch_size .*; got {batch_size!r}"):
        separate(Gains(), noise(100), 8000, batch_size=batch_size)


def test_package_has_the_function():
    assert inference.separate is separate
    with pytest.raises(AttributeError, match="no attribute 'seperate'"):
        inference.seperate  # noqa: B018
