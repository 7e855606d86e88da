"""Segments of a track in which a stem is heard."""

import pickle
import sys

import numpy as np
import pytest

from keras_bandit.data import active_segments, random_crops
from keras_bandit.data.track import ArrayTrack

pytestmark = pytest.mark.once

RATE = 8000


def bursts(*heard, channels=2, tail=0, level=0.1):
    """A track of one second for each flag: vocals are heard, or silent.

    Drums play all the time.
    """
    rng = np.random.default_rng(0)
    samples = len(heard) * RATE + tail
    on = np.repeat(np.array([*heard, heard[-1]], bool), RATE)[:samples]
    sound = rng.normal(0, level, (2, channels, samples))
    return ArrayTrack(
        "song", RATE, {"vocals": sound[0] * on, "drums": sound[1]}
    )


@pytest.fixture(autouse=True)
def _needs_pyloudnorm(request):
    if "without" not in request.node.name:
        pytest.importorskip("pyloudnorm")  # the extra `mix`


def segments(track, stem, **arguments):
    return active_segments(
        track,
        stem,
        **({"segment_seconds": 2.0, "hop_seconds": 1.0} | arguments),
    )


def test_segments_with_the_stem_in_more_than_half_are_kept():
    found = segments(bursts(0, 0, 1, 1, 1, 0, 0, 1), "vocals")
    # Pairs of seconds: 01 and 10 have five of ten chunks, which is not more
    # than half; 11 has all. The quantile lies among the silent chunks.
    assert [segment.start for segment in found] == [2 * RATE, 3 * RATE]
    assert [s.name for s in found] == ["song - vocals002", "song - vocals003"]
    for segment in found:
        assert segment.num_samples == 2 * RATE
        assert segment.stems == ("vocals", "drums")


def test_quantile_drops_the_quietest_of_a_loud_stem():
    """Where all is loud, 15 % of all chunks are not above the quantile."""
    track = bursts(*[1] * 20)
    audio = track.audio["vocals"]
    audio[:, : 2 * RATE] *= 0.1
    starts = [segment.start // RATE for segment in segments(track, "vocals")]
    # Segment 0 is below the threshold, 1 half of it.
    assert starts == list(range(2, 19))


def test_all_stems_get_the_gain_of_the_analysed_one():
    pyloudnorm = pytest.importorskip("pyloudnorm")
    track = bursts(1, 1, 1, 1)
    meter = pyloudnorm.Meter(RATE)
    loudness = meter.integrated_loudness(track.audio["vocals"].T.astype(float))
    for segment in segments(track, "vocals"):
        stop = segment.start + 2 * RATE
        for stem in ("vocals", "drums"):
            expected = track.read(stem, segment.start, stop)
            np.testing.assert_allclose(
                segment.read(stem),
                expected * 10 ** ((-24 - loudness) / 20),
                rtol=1e-6,  # roundings of float32
            )


def test_level_of_the_recording_makes_no_difference():
    loud = segments(bursts(0, 1, 1, 1, level=0.1), "vocals")
    quiet = segments(bursts(0, 1, 1, 1, level=0.001), "vocals")
    assert [s.start for s in loud] == [s.start for s in quiet]
    for first, second in zip(loud, quiet, strict=True):
        np.testing.assert_allclose(
            first.read("drums"), second.read("drums"), rtol=1e-4, atol=1e-6
        )


def test_last_segment_is_padded_with_zeros():
    track = bursts(1, 1, 1, tail=100)
    last = segments(track, None)[-1]
    assert last.start == 2 * RATE
    audio = last.read("drums")
    assert audio.shape == (2, 2 * RATE)
    assert audio[:, : RATE + 100].all()
    assert not audio[:, RATE + 100 :].any()
    # Read in pieces, also in the padding alone.
    for start, stop in ((0, RATE), (RATE, 2 * RATE), (15000, 15001), (5, 5)):
        np.testing.assert_array_equal(
            last.read("drums", start, stop), audio[:, start:stop]
        )


def test_without_a_stem_all_segments_are_kept():
    track = bursts(0, 0, 0, 0, 0, 0, 1)
    kept = segments(track, None)
    assert [segment.start // RATE for segment in kept] == list(range(6))
    # With a mixture, that is what is measured.
    mixture = track.audio["vocals"] + track.audio["drums"]
    stored = ArrayTrack("song", RATE, {**track.audio, "mixture": mixture})
    np.testing.assert_array_equal(
        segments(stored, None)[0].read("drums"), kept[0].read("drums")
    )


def test_silent_stem_and_short_track():
    assert segments(bursts(0, 0, 0), "vocals") == []
    (only,) = segments(bursts(1), "vocals", segment_seconds=1.5)
    assert only.num_samples == 1.5 * RATE
    assert not only.read("vocals")[:, RATE:].any()


def test_segments_are_tracks_to_train_on():
    pytest.importorskip("grain")
    found = segments(bursts(1, 1, 1, 1), "vocals")
    found = pickle.loads(pickle.dumps(found))
    dataset = random_crops(
        found, ["vocals"], crop_seconds=2.0, batch_size=3, epoch_size=3
    )
    mixture, targets = dataset[0]
    crop = min(
        targets["vocals"], key=lambda x: abs(x - found[0].read("vocals")).max()
    )
    np.testing.assert_array_equal(crop, found[0].read("vocals"))
    assert mixture.shape == (3, 2, 2 * RATE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"segment_seconds": 0}, "got 0 and 1.0"),
        ({"hop_seconds": 0}, "got 2.0 and 0"),
        ({"stem": "bass"}, "no stem 'bass'"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        segments(**({"track": bursts(1, 1), "stem": "vocals"} | arguments))


def test_without_pyloudnorm_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyloudnorm", None)
    with pytest.raises(ImportError, match=r"keras-bandit\[mix\]"):
        segments(bursts(1, 1), "vocals")
