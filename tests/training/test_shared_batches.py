"""Shares of batches, and means that stay what they were."""

import keras
import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_bandit.data import random_crops
from keras_bandit.data.track import ArrayTrack
from keras_bandit.training.shared_batches import (
    EvenBatches,
    even_batches,
    share_of,
)

# NumPy's arrays on every backend.
pytestmark = pytest.mark.once


@pytest.mark.parametrize("data", [tiny.Epochs(0, size=4), tiny.stream(0, 4)])
def test_share_of_a_batch(data):
    mixture, targets = share_of(data, 1, 2)[2]
    whole, whole_targets = data[2]
    np.testing.assert_array_equal(mixture, whole[1::2])
    np.testing.assert_array_equal(
        targets["music"], whole_targets["music"][1::2]
    )


class CountedTrack(ArrayTrack):
    """A track that counts what is read of it."""

    reads = 0

    def _read(self, stem, start, stop):
        self.reads += 1
        return super()._read(stem, start, stop)


def crops_of(track):
    return random_crops(
        [track], ["speech"], crop_seconds=0.5, batch_size=4, epoch_size=8
    )


@pytest.fixture
def track():
    audio = np.random.default_rng(0).normal(size=(1, 100)).astype("float32")
    return CountedTrack("track", 100, {"speech": audio})


def test_share_of_random_crops_reads_nothing_else(track):
    whole = crops_of(track)
    share = share_of(whole, 1, 2)
    track.reads = 0
    # The third batch is the first of the second epoch.
    found = [share[index] for index in range(3)]
    # Two examples of a batch, one stem and no stored mixture.
    assert track.reads == 3 * 2
    for index, (mixture, targets) in enumerate(found):
        expected, expected_targets = whole[index]
        np.testing.assert_array_equal(mixture, expected[1::2])
        np.testing.assert_array_equal(
            targets["speech"], expected_targets["speech"][1::2]
        )
    with pytest.raises(ValueError, match="multiple of the 3 processes; got"):
        share_of(whole, 0, 3)


class Numbers(keras.utils.PyDataset):
    """The numbers 0 … items - 1 and their squares, in batches."""

    def __init__(self, items, size, **kwargs):
        super().__init__(**kwargs)
        self.items = items
        self.size = size

    def __len__(self):
        return -(-self.items // self.size)

    def __getitem__(self, index):
        start = index * self.size
        x = np.arange(start, min(start + self.size, self.items))
        return x, {"square": x**2}


def test_batches_that_cannot_be_shared():
    with pytest.raises(ValueError, match="got tuple"):
        share_of(tiny.batch(0, size=4), 1, 2)
    # 4 + 4 + 3 items, the last batch too small for two devices.
    share = share_of(Numbers(11, 4), 1, 2)
    np.testing.assert_array_equal(share[1][0], [5, 7])
    with pytest.raises(ValueError, match=r"the 2 devices.*got 3 items"):
        share[2]


def test_uneven_batches_of_grain():
    grain = pytest.importorskip("grain")
    share = share_of(grain.MapDataset.range(11).batch(4).repeat(2), 1, 2)
    np.testing.assert_array_equal(share[3], [1, 3])
    with pytest.raises(ValueError, match=r"2 devices.*got 3 items"):
        share[2]
    stream = grain.MapDataset.range(11).batch(4).to_iter_dataset()
    np.testing.assert_array_equal(next(iter(share_of(stream, 1, 2))), [1, 3])


def test_a_py_dataset_is_read_as_it_wants():
    class Endless(Numbers):
        num_batches = None

    share = share_of(Endless(40, 4, workers=3), 1, 2)
    assert (share.num_batches, share.workers) == (None, 3)
    np.testing.assert_array_equal(share[2][0], [9, 11])


def means(data):
    """What Keras and our metrics make of batches: mean loss, mean score."""
    losses, items, scores, weights = 0.0, 0, 0.0, 0.0
    for index in range(len(data)):
        x, y, weight = data[index]
        assert len(x) == len(weight) == len(y["square"])
        # A batch's loss is divided by its items, then weighted by them.
        losses += np.sum(weight * y["square"])
        items += len(x)
        scores += np.sum(weight * x)
        weights += np.sum(weight)
    return losses / items, scores / weights


@settings(deadline=None)
@given(
    items=st.integers(1, 40), size=st.integers(1, 5), count=st.integers(2, 5)
)
def test_means_are_those_over_the_items(items, size, count):
    numbers = Numbers(items, size)
    expected = np.mean(np.arange(items) ** 2.0), (items - 1) / 2
    together = EvenBatches(numbers, count)
    assert all(len(together[i][0]) % count == 0 for i in range(len(together)))
    # float32 weights
    np.testing.assert_allclose(means(together), expected, rtol=1e-5)
    # Processes: the mean of their means.
    shares = [EvenBatches(numbers, count, index) for index in range(count)]
    assert len({len(share) for share in shares}) == 1
    found = np.mean([means(share) for share in shares], axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    for i in range(len(together)):
        # All shares of a batch have one shape, and a device no more items
        # than a batch of the dataset.
        assert len({len(share[i][0]) for share in shares}) == 1
        assert len(shares[0][i][0]) <= size


def test_batches_and_then_items_are_dealt_out():
    def rows(index):
        data = EvenBatches(Numbers(7, 2), 2, index)
        return [data[i][0].tolist() for i in range(len(data))]

    # As the docstring draws it.
    assert rows(0) == [[0, 1], [4], [6]]
    assert rows(1) == [[2, 3], [5], [6]]
    assert rows(None) == [[0, 1, 2, 3], [4, 5], [6, 6]]


def test_processes_read_their_own_batches_alone():
    class Counted(tiny.CountsReads, Numbers):
        pass

    numbers = Counted(items=12, size=2)
    share = EvenBatches(numbers, 3, 1)
    numbers.read = ()
    for index in range(len(share)):
        share[index]
    assert numbers.read == (1, 4)


def test_validation_is_read_as_its_dataset_wants():
    class Noted(Numbers):
        epochs = ()

        def on_epoch_begin(self):
            self.epochs += ("begin",)

        def on_epoch_end(self):
            self.epochs += ("end",)

    # One thread: it may hold a file that two must not read.
    numbers = Noted(7, 2, workers=1, max_queue_size=3)
    data = EvenBatches(numbers, 2)
    assert (data.workers, data.max_queue_size) == (1, 3)
    assert not data.use_multiprocessing
    data.on_epoch_begin()
    data.on_epoch_end()
    assert numbers.epochs == ("begin", "end")
    apart = EvenBatches(Numbers(7, 2, workers=2, use_multiprocessing=True), 2)
    assert (apart.workers, apart.use_multiprocessing) == (2, True)
    # Lists have no wishes.
    arrays = even_batches((np.arange(3), np.arange(3)), 2)
    assert (arrays.workers, arrays.use_multiprocessing) == (2, False)
    arrays.on_epoch_begin()
    arrays.on_epoch_end()


@pytest.mark.parametrize("batch_size", [None, 8])
def test_arrays_are_batches(batch_size):
    x = np.arange(70)
    data = even_batches((x, {"square": x**2}), 2, batch_size=batch_size)
    assert len(data[0][0]) == 2 * (batch_size or 32)
    expected = np.mean(x**2.0), 34.5
    np.testing.assert_allclose(means(data), expected, rtol=1e-5)


def test_validation_that_cannot_be_shared():
    with pytest.raises(ValueError, match="with a length; got generator"):
        even_batches((x for x in [tiny.batch(0)]), 2)

    class Uneven(Numbers):
        def __getitem__(self, index):
            return super().__getitem__(index)[0][: 3 - index % 2], {}

    data = EvenBatches(Uneven(12, 3), 2)
    with pytest.raises(ValueError, match=r"first, 3; got 2 parts .* 2 items"):
        data[0]

    class Weighted(Numbers):
        def __getitem__(self, index):
            x, y = super().__getitem__(index)
            return x, y, np.ones(len(x))

    with pytest.raises(ValueError, match=r"pairs .*; got 3 parts"):
        EvenBatches(Weighted(4, 2), 2)[0]
