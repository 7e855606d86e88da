"""Crossfading chunks: the authors' scheme, and its properties."""

import functools
import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_bandit.inference import CHUNKINGS
from keras_bandit.inference.crossfade import (
    Crossfade,
    HannChunks,
    MiddleChunks,
    ShiftAverage,
    TriangleChunks,
    crossfade_window,
)

pytestmark = pytest.mark.once


def identity(batch):
    return {"speech": batch}


def distort(batch):
    """Nonlinear, and different at each position of the chunk."""
    ramp = np.linspace(0.5, 1.5, batch.shape[-1], dtype="float32")
    return {"speech": np.tanh(2 * batch) * ramp, "music": batch**2 * ramp[::-1]}


def push_all(crossfade, items, seed=0):
    """All that a `Crossfade` returns, pushed in blocks of any length."""
    blocks = np.random.default_rng(seed).integers(0, 2 * items.shape[-1], 20)
    parts = [
        crossfade.push(items[..., start : start + size])
        for start, size in zip(np.cumsum(blocks) - blocks, blocks, strict=True)
    ]
    parts.append(crossfade.push(items[..., blocks.sum() :]))
    parts.append(crossfade.finish())
    return {
        stem: np.concatenate([part[stem] for part in parts], axis=-1)
        for stem in parts[0]
    }


def crossfade_chunks(
    predict, items, stems, chunk, hop, batch_size, plan=HannChunks, **options
):
    crossfade = Crossfade(
        predict, stems, plan(chunk, hop), batch_size, **options
    )
    return push_all(crossfade, items)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def chunks_of(plan, num_samples):
    """All chunks of a recording, list of `(start, weights)`."""
    chunks = iter(lambda: plan(next(index), num_samples), None)
    index = itertools.count()
    return list(chunks)


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

    plan = functools.partial(MiddleChunks, min_samples=min(chunk, 9))
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
        wrong_at_the_ends, audio, ["speech"], 90, 60, 2, plan=MiddleChunks
    )["speech"][0, 0]
    assert np.all(estimate[:9] == 5)  # nothing else is there
    np.testing.assert_allclose(estimate[9:-9], 1, atol=1e-6)


@settings(deadline=None)
@given(data=st.data())
def test_windows_sum_to_one(data):
    chunk = data.draw(st.integers(1, 500), label="chunk")
    hop = data.draw(st.integers(1, chunk), label="hop")
    total = np.zeros(3 * chunk)
    for start, weights in chunks_of(HannChunks(chunk, hop), len(total)):
        begin, end = max(start, 0), min(start + chunk, len(total))
        total[begin:end] += weights[begin - start : end - start]
    # Up to 500 float32 terms of size 1 / 250.
    np.testing.assert_allclose(total, 1, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", CHUNKINGS)
@pytest.mark.parametrize("num_samples", [1, 499, 3000, 3001, 7777])
def test_named_chunkings_return_the_recording(name, num_samples):
    chunk, hop = (round(1000 * x) for x in CHUNKINGS[name].values())
    audio = noise(1, 2, num_samples)
    estimate = crossfade_chunks(identity, audio, ["speech"], chunk, hop, 2)
    np.testing.assert_allclose(estimate["speech"], audio, rtol=0, atol=1e-5)


def test_chunks_that_overlap_little_are_faded_there_alone():
    """3 s with hops of 2.5 s, as for MDX-23: ramps of 0.5 s."""
    window = crossfade_window(3000, 2500)
    assert np.all(window[500:2500] == 1)
    assert np.all(np.diff(window[:500]) > 0)
    np.testing.assert_allclose(window[:500] + window[2500:], 1, atol=1e-6)
    assert np.abs(np.diff(window)).max() < 2.1 / 500  # no click


def test_window_is_the_authors_where_the_hop_divides_the_chunk():
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(120) / 120)
    np.testing.assert_allclose(
        crossfade_window(120, 10), hann / 6, rtol=0, atol=1e-7
    )


@settings(deadline=None)
@given(
    num_samples=st.integers(1, 40),
    chunk=st.integers(1, 60),
    hop=st.integers(1, 60),
)
def test_edges_are_reflected_as_by_numpy(num_samples, chunk, hop):
    hop = min(hop, chunk)
    seen = []

    def predict(batch):
        seen.append(batch[0])
        return identity(batch)

    audio = noise(1, 2, num_samples)
    crossfade_chunks(predict, audio, ["speech"], chunk, hop, 1)
    padded = np.pad(audio[0], ((0, 0), (60, 100)), mode="reflect")
    chunks = chunks_of(HannChunks(chunk, hop), num_samples)
    for (start, _), found in zip(chunks, seen, strict=True):
        expected = padded[:, 60 + start : 60 + start + chunk]
        np.testing.assert_array_equal(found, expected)


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
    chunks = chunks_of(HannChunks(60, hop), num_samples)
    assert [start for start, _ in chunks] == expected


@settings(deadline=None)
@given(data=st.data())
def test_long_hops_need_as_few_chunks_as_can_be(data):
    chunk = data.draw(st.integers(1, 60), label="chunk")
    hop = data.draw(st.integers(chunk // 2 + 1, chunk), label="hop")
    num_samples = data.draw(st.integers(1, 300), label="samples")
    starts = [
        start for start, _ in chunks_of(HannChunks(chunk, hop), num_samples)
    ]
    count = 1 + max(-(-(num_samples - chunk) // hop), 0)
    assert starts == [k * hop for k in range(count)]


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


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_blocks_make_no_difference(data):
    chunk = data.draw(st.integers(1, 50), label="chunk")
    hop = data.draw(st.integers(1, chunk), label="hop")
    num_samples = data.draw(st.integers(1, 300), label="samples")
    seed = data.draw(st.integers(0, 1000), label="seed of the blocks")
    kind = data.draw(
        st.sampled_from([HannChunks, MiddleChunks, TriangleChunks])
    )
    audio = noise(2, 1, num_samples)

    def crossfade():
        return Crossfade(distort, ["speech", "music"], kind(chunk, hop), 3)

    whole = crossfade()
    first, last = whole.push(audio), whole.finish()
    leads = [0] if kind is HannChunks else [0, 0]
    estimates = push_all(ShiftAverage(crossfade, leads), audio, seed)
    for stem, estimate in estimates.items():
        expected = np.concatenate([first[stem], last[stem]], axis=-1)
        np.testing.assert_allclose(estimate, expected, rtol=0, atol=1e-6)


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_triangles_are_those_of_demucs(data):
    chunk = data.draw(st.integers(1, 50), label="chunk")
    hop = data.draw(st.integers(1, chunk), label="hop")
    num_samples = data.draw(st.integers(1, 200), label="samples")
    power = data.draw(st.sampled_from([1.0, 2.0]))
    rising = np.arange(1, chunk // 2 + 1)
    falling = np.arange(chunk - chunk // 2, 0, -1)
    triangle = (np.concatenate([rising, falling]) / falling[0]) ** power
    total = np.zeros(num_samples + chunk)
    for start in range(0, num_samples, hop):
        total[start : start + chunk] += triangle[
            : num_samples - start
        ].tolist() + [0] * max(chunk - (num_samples - start), 0)
    chunks = chunks_of(TriangleChunks(chunk, hop, 1, power), num_samples)
    assert [start for start, _ in chunks] == list(range(0, num_samples, hop))
    for start, weights in chunks:
        expected = triangle / np.maximum(total[start : start + chunk], 1e-12)
        np.testing.assert_allclose(weights, expected[: len(weights)], rtol=1e-5)


def test_what_is_finished_is_returned_at_once():
    plan = HannChunks(100, 50)
    crossfade = Crossfade(identity, ["speech"], plan, batch_size=1)
    audio, returned = noise(1, 1, 1000), 0
    for start in range(0, 1000, 10):
        block = audio[..., start : start + 10]
        returned += crossfade.push(block)["speech"].shape[-1]
        # The chunk that lies over them is not complete.
        assert returned >= start + 10 - 101


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


def test_memory_does_not_grow():
    def peak(num_blocks):
        crossfade = Crossfade(
            distort, ["speech", "music"], HannChunks(8000, 4000), 2
        )
        block = noise(1, 1, 5000)
        tracemalloc.start()
        for _ in range(num_blocks):
            crossfade.push(block)
        crossfade.finish()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    assert peak(100) < 1.1 * peak(10)


class Later:
    """`distort`, elsewhere: notes what is asked for and what is waited for."""

    def __init__(self):
        self.log = []

    def __call__(self, batch):
        number = self.log.count("asked")
        self.log.append("asked")
        return _Answer(self.log, number, distort(batch))


class _Answer:
    def __init__(self, log, number, outputs):
        self.log, self.number, self.outputs = log, number, outputs

    def result(self):
        self.log.append(self.number)
        return self.outputs


@pytest.mark.parametrize("plan", [HannChunks, MiddleChunks, TriangleChunks])
@pytest.mark.parametrize("ahead", [0, 1, 5, 100])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_batches_under_way_change_nothing(plan, ahead, batch_size):
    audio = noise(3, 1, 2000)
    audio[1, :, 500:900] = 0  # skipped
    arguments = audio, ["speech", "music"], 96, 40, batch_size, plan
    expected = crossfade_chunks(distort, *arguments, skip_silence=True)
    later = Later()
    found = crossfade_chunks(
        later, *arguments, skip_silence=True, batches_ahead=ahead
    )
    for stem, estimate in expected.items():
        np.testing.assert_array_equal(found[stem], estimate)
    waited = [entry for entry in later.log if entry != "asked"]
    assert waited == list(range(later.log.count("asked")))  # in their order
    under_way = np.cumsum([1 if e == "asked" else -1 for e in later.log])
    assert under_way.max() == min(ahead + 1, len(waited))


@pytest.mark.parametrize("plan", [HannChunks, MiddleChunks, TriangleChunks])
@pytest.mark.parametrize("items", [1, 3])
def test_a_state_counts_what_is_added(plan, items):
    audio = noise(items, 1, 2000)
    expected = crossfade_chunks(
        distort, audio, ["speech", "music"], 96, 40, 2, plan=plan
    )

    def make(on_rest=None):
        crossfade = Crossfade(
            Later(), ["speech", "music"], plan(96, 40), 2, batches_ahead=3
        )
        crossfade.on_rest = on_rest
        return crossfade

    states = []
    first = make(lambda: states.append(first.state()))
    push_all(first, audio)
    assert len(states) > 5
    for state in states:
        state["lengths"] = np.array(state["lengths"])
        again = make()
        again.restore(state)
        found = push_all(again, audio)
        for stem, estimate in expected.items():
            rest = estimate[..., int(state["finished"]) :]
            np.testing.assert_array_equal(found[stem], rest)
