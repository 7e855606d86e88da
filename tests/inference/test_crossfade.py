"""Crossfading chunks: the authors' scheme, and its properties."""

import functools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_bandit.inference.crossfade import (
    chunk_starts,
    crossfade_chunks,
    crossfade_window,
    middle_chunks,
    predict_chunks,
    read_chunk,
)

pytestmark = pytest.mark.once


def identity(batch):
    return {"speech": batch}


def distort(batch):
    """Nonlinear, and different at each position of the chunk."""
    ramp = np.linspace(0.5, 1.5, batch.shape[-1], dtype="float32")
    return {"speech": np.tanh(2 * batch) * ramp, "music": batch**2 * ramp[::-1]}


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def authors_fader(audio, chunk, hop):
    """What the authors' `OverlapAddFader` does, in float64 and all at once.

    `core/utils/audio.py` of `karnwatcharasupat/bandit` at 735a57c.

    Needs an even number of hops in the chunk, an even chunk, and more
    samples than the padding.
    """
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(chunk) / chunk)
    window = window / (chunk / (2 * hop))
    pad = 2 * (chunk - hop)
    assert audio.shape[-1] > pad
    padded = np.pad(audio, ((0, 0), (pad, pad)), mode="reflect")
    num_chunks = int(np.ceil((padded.shape[-1] - chunk) / hop) + 1)
    end = (num_chunks - 1) * hop + chunk
    padded = np.pad(padded, ((0, 0), (0, end - padded.shape[-1])))
    estimates = {}
    for start in range(0, num_chunks * hop, hop):
        here = slice(start, start + chunk)
        for stem, output in distort(padded[None, :, here]).items():
            total = estimates.setdefault(stem, np.zeros(padded.shape))
            total[:, here] += output[0] * window
    return {
        stem: total[:, pad:-pad][:, : audio.shape[-1]]
        for stem, total in estimates.items()
    }


@pytest.mark.parametrize("num_samples", [177, 500, 960, 1003])
@pytest.mark.parametrize("hop", [8, 24, 48])
def test_equals_the_authors_fader(num_samples, hop):
    audio = noise(2, num_samples)
    estimates = crossfade_chunks(
        distort, audio[None], ["speech", "music"], 96, hop, batch_size=5
    )
    expected = authors_fader(audio, 96, hop)
    for stem, estimate in estimates.items():
        # float32 sums of at most 12 terms of size 10.
        np.testing.assert_allclose(
            estimate[0], expected[stem], rtol=0, atol=1e-5
        )


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_identity_returns_the_recording_for_every_hop(data):
    chunk = data.draw(st.integers(1, 70), label="chunk")
    hop = data.draw(st.integers(1, chunk), label="hop")
    num_samples = data.draw(st.integers(1, 300), label="samples")
    items = data.draw(st.integers(1, 3), label="items")
    batch_size = data.draw(st.integers(1, 7), label="batch size")
    audio = noise(items, 2, num_samples, seed=chunk)
    audio /= np.abs(audio).max()
    estimates = crossfade_chunks(
        identity, audio, ["speech"], chunk, hop, batch_size
    )
    np.testing.assert_allclose(estimates["speech"], audio, rtol=0, atol=1e-6)


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_middles_of_the_identity_are_the_recording(data):
    chunk = data.draw(st.integers(1, 70), label="chunk")
    hop = data.draw(st.integers(1, chunk), label="hop")
    num_samples = data.draw(st.integers(1, 300), label="samples")
    items = data.draw(st.integers(1, 3), label="items")
    audio = noise(items, 2, num_samples, seed=chunk)
    audio /= np.abs(audio).max()
    shapes = []

    def predict(batch):
        shapes.append(batch.shape)
        return identity(batch)

    plan = functools.partial(middle_chunks, min_samples=min(chunk, 9))
    estimates = crossfade_chunks(
        predict, audio, ["speech"], chunk, hop, 2, plan=plan
    )
    np.testing.assert_allclose(estimates["speech"], audio, rtol=0, atol=1e-6)
    assert len(set(shapes)) <= 2
    longest = max(shape[-1] for shape in shapes)
    assert longest <= chunk
    if num_samples <= chunk:  # seen whole
        assert longest == max(num_samples, min(chunk, 9))


def test_middles_leave_out_the_ends_of_chunks():
    def wrong_at_the_ends(batch):
        estimate = np.ones_like(batch)
        estimate[..., :9] = estimate[..., -9:] = 5.0
        return {"speech": estimate}

    audio = noise(1, 1, 1000)
    estimate = crossfade_chunks(
        wrong_at_the_ends, audio, ["speech"], 90, 60, 2, plan=middle_chunks
    )["speech"][0, 0]
    assert np.all(estimate[:9] == 5)  # nothing else is there
    np.testing.assert_allclose(estimate[9:-9], 1, atol=1e-6)


@settings(deadline=None)
@given(data=st.data())
def test_windows_sum_to_one(data):
    chunk = data.draw(st.integers(1, 500), label="chunk")
    hop = data.draw(st.integers(1, chunk), label="hop")
    total = np.zeros(3 * chunk)
    for start in chunk_starts(len(total), chunk, hop):
        begin, end = max(start, 0), min(start + chunk, len(total))
        total[begin:end] += crossfade_window(chunk, hop)[
            begin - start : end - start
        ]
    # Up to 500 float32 terms of size 1 / 250.
    np.testing.assert_allclose(total, 1, rtol=0, atol=1e-6)


def test_window_is_the_authors_where_the_hop_divides_the_chunk():
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(120) / 120)
    np.testing.assert_allclose(
        crossfade_window(120, 10), hann / 6, rtol=0, atol=1e-7
    )


@settings(deadline=None)
@given(
    num_samples=st.integers(1, 40),
    start=st.integers(-120, 120),
    chunk=st.integers(1, 60),
)
def test_edges_are_reflected_as_by_numpy(num_samples, start, chunk):
    audio = noise(2, num_samples)
    padding = ((0, 0), (120, 200))
    expected = np.pad(audio, padding, mode="reflect")
    expected = expected[:, 120 + start : 120 + start + chunk]
    np.testing.assert_array_equal(read_chunk(audio, start, chunk), expected)


@pytest.mark.parametrize("num_samples", [1, 2, 59, 60, 61, 600])
@pytest.mark.parametrize("hop", [1, 17, 30, 60])
def test_every_chunk_touches_the_recording_and_none_is_left_out(
    num_samples, hop
):
    expected = [
        k * hop
        for k in range(-100, 700)
        if k * hop < num_samples and k * hop + 60 > 0
    ]
    assert list(chunk_starts(num_samples, 60, hop)) == expected


def test_model_sees_one_shape_and_one_batch_at_a_time():
    shapes = []

    def predict(batch):
        shapes.append(batch.shape)
        return identity(batch)

    crossfade_chunks(
        predict, noise(3, 2, 250), ["speech"], 100, 50, batch_size=4
    )
    # Chunks at -50, 0, ..., 200 of three items: 18 in batches of four.
    assert shapes == [(4, 2, 100)] * 5


def test_padding_of_the_last_batch_is_silence():
    batches = []

    def predict(batch):
        batches.append(batch.copy())
        return identity(batch)

    crossfade_chunks(
        predict, noise(1, 1, 100), ["speech"], 100, 100, batch_size=3
    )
    assert batches[0][0].any()
    assert not batches[0][1:].any()


@pytest.mark.parametrize("skip_silence", [True, False])
def test_silent_chunks_are_skipped_and_change_nothing(skip_silence):
    audio = noise(2, 1, 1000)
    audio[0, :, 300:700] = 0
    audio[1] = 0
    calls = []

    def predict(batch):
        calls.append(batch)
        return distort(batch)

    stems = ["speech", "music"]
    estimates = crossfade_chunks(
        predict, audio, stems, 100, 50, 1, skip_silence=skip_silence
    )
    # Both items have chunks at -50, 0, ..., 950: of item 0 seven lie in the
    # silence, of item 1 all.
    assert len(calls) == (21 - 7 if skip_silence else 21 + 21)
    expected = authors_fader(audio[0], 100, 50)
    for stem in stems:
        np.testing.assert_allclose(
            estimates[stem][0], expected[stem], rtol=0, atol=1e-5
        )
        assert not estimates[stem][1].any()


def test_a_model_that_makes_sound_of_silence_is_heard():
    def predict(batch):
        return {"hum": batch + 1}

    silence = np.zeros((1, 2, 50), "float32")
    hum = crossfade_chunks(predict, silence, ["hum"], 20, 10, 2)["hum"]
    np.testing.assert_allclose(hum, 1, atol=1e-6)


def test_silence_has_every_stem_and_needs_no_model():
    def predict(batch):
        raise AssertionError("silence was computed")

    silence = np.zeros((1, 2, 50), "float32")
    estimates = crossfade_chunks(
        predict, silence, ["a", "b"], 20, 10, 2, skip_silence=True
    )
    assert list(estimates) == ["a", "b"]
    assert not any(estimate.any() for estimate in estimates.values())


def test_chunks_may_come_one_by_one():
    """As of a stream: each batch is computed as soon as it is full."""
    log = []

    def chunks():
        for place in range(5):
            log.append(place)
            yield place, np.full((1, 4), place, "float32")

    def predict(batch):
        log.append("batch")
        return {"speech": 2 * batch}

    for place, estimates in predict_chunks(predict, chunks(), 2, True):
        np.testing.assert_array_equal(estimates["speech"], 2.0 * place)
        log.append(f"-> {place}")
    # The chunk 0 is silent.
    assert log[:6] == [0, 1, 2, "batch", "-> 1", "-> 2"]
    assert log[6:] == [3, 4, "batch", "-> 3", "-> 4"]


def test_estimates_that_are_not_finite_are_refused():
    def predict(batch):
        return {"speech": np.full_like(batch, np.nan)}

    with pytest.raises(FloatingPointError, match=r"speech.*sample 0$"):
        crossfade_chunks(predict, noise(1, 1, 50), ["speech"], 20, 10, 2)


def test_padding_rows_do_not_count_as_estimates():
    def predict(batch):
        output = batch.copy()
        output[~batch.any(axis=(1, 2))] = np.nan
        return {"speech": output}

    audio = noise(1, 1, 50)
    estimates = crossfade_chunks(
        predict, audio, ["speech"], 20, 10, batch_size=50
    )
    np.testing.assert_allclose(estimates["speech"], audio, rtol=0, atol=1e-6)


def test_progress_counts_the_chunks(capsys):
    crossfade_chunks(
        identity, noise(2, 1, 50), ["speech"], 20, 10, 2, "film.wav"
    )
    shown = capsys.readouterr().err
    assert "film.wav" in shown
    assert "12/12" in shown
    crossfade_chunks(identity, noise(2, 1, 50), ["speech"], 20, 10, 2)
    assert capsys.readouterr().err == ""


def test_memory_grows_by_the_estimates_alone():
    def beyond_estimates(num_samples):
        audio = noise(1, 1, num_samples)
        tracemalloc.start()
        estimates = crossfade_chunks(
            distort, audio, ["speech", "music"], 800, 400, 2
        )
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak - sum(x.nbytes for x in estimates.values())

    # 2 MB of estimates against 200 kB; 50 kB are for Python's own objects.
    assert beyond_estimates(250_000) < beyond_estimates(25_000) + 50_000
