"""Validation chunks: complete, in order, the same again."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_bandit.data import validation_chunks
from keras_bandit.data.track import ArrayTrack

pytest.importorskip("grain")  # the extra `grain`
pytestmark = pytest.mark.once

RATE = 10
STEMS = ("speech", "music", "effects")


def numbered(*lengths, channels=1, stems=STEMS):
    """Tracks whose samples tell stem, track and position exactly."""
    return [
        ArrayTrack(
            f"track{number}",
            RATE,
            {
                stem: np.tile(
                    1e6 * (1 + stems.index(stem))
                    + 1e4 * number
                    + np.arange(samples),
                    (channels, 1),
                )
                for stem in stems
            },
        )
        for number, samples in enumerate(lengths)
    ]


def origins(dataset, stem="speech"):
    """Track and start of every chunk, after checking that it is one."""
    for mixture, targets in dataset:
        for row, crop in enumerate(targets[stem]):
            first = int(crop[0, 0])
            np.testing.assert_array_equal(
                crop[0], first + np.arange(crop.shape[1])
            )
            np.testing.assert_array_equal(
                mixture[row], sum(x[row] for x in targets.values())
            )
            yield first % 1_000_000 // 10_000, first % 10_000


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    lengths=st.lists(st.integers(60, 200), min_size=1, max_size=4),
    hop=st.integers(1, 70),
    batch_size=st.integers(1, 5),
)
def test_every_multiple_of_the_hop_is_there_once(lengths, hop, batch_size):
    expected = [
        (number, start)
        for number, length in enumerate(lengths)
        for start in range(0, length - 60 + 1, hop)
    ]
    dataset = validation_chunks(
        numbered(*lengths),
        STEMS,
        hop_seconds=hop / RATE,
        batch_size=batch_size,
    )
    assert list(origins(dataset)) == expected
    assert len(dataset) == -(-len(expected) // batch_size)


@pytest.mark.parametrize(("hop_seconds", "count"), [(1.0, 55), (3.0, 19)])
def test_number_of_chunks_of_a_track_of_dnr(hop_seconds, count):
    tracks = numbered(600, 600)
    dataset = validation_chunks(tracks, STEMS, hop_seconds=hop_seconds)
    assert len(list(origins(dataset))) == 2 * count


def test_chunks_are_the_same_in_every_epoch():
    dataset = validation_chunks(numbered(100, 80), STEMS, batch_size=3)
    for index in range(len(dataset)):
        again = dataset[index + len(dataset)]
        np.testing.assert_array_equal(dataset[index][0], again[0])
    assert dataset[len(dataset) - 1][0].shape == (2, 1, 60)  # 5 + 3 chunks


def test_composite_and_missing_stems():
    composites = {"mne": ["music", "effects"]}
    mixture, targets = validation_chunks(
        numbered(60), ["mne"], composites=composites
    )[0]
    assert targets["mne"][0, 0, 0] == 5e6
    assert mixture[0, 0, 0] == 6e6
    tracks = [*numbered(60), *numbered(60, 70, stems=("speech", "music"))[1:]]
    with pytest.raises(ValueError, match="track1 has no stem 'effects'"):
        validation_chunks(tracks, STEMS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hop_seconds": 0.0}, "hop_seconds=0.0"),
        ({"batch_size": 0}, "batch_size .*; got 0"),
        ({"chunk_seconds": 9.0}, "track1 is shorter than chunk_seconds=9.0"),
        ({"chunk_seconds": -1.0}, "chunk_seconds=-1.0"),
        ({"sample_rate": 44100}, "all must have 44100"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        validation_chunks(numbered(100, 80), STEMS, **arguments)
