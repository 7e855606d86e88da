"""Batches as several devices share them, so that they do what one would."""

import functools

import keras
import numpy as np

# Items in a batch of arrays: Keras's own number.
ARRAY_BATCH = 32


def batch_items(batch):
    """Items in a batch."""
    return keras.tree.flatten(batch)[0].shape[0]


def has_batches(data):
    """Whether a dataset has a length, and a batch for every index."""
    return isinstance(data, keras.utils.PyDataset) or (
        hasattr(data, "__len__")
        and hasattr(data, "__getitem__")
        and hasattr(data, "map")
    )


def check_first_batch(data, count):
    """Raises `ValueError` if devices cannot share a dataset's batches."""
    if has_batches(data):
        _check_items(batch_items(data[0]), count)


def _check_items(items, count):
    if items % count:
        raise ValueError(
            f"batches must be multiples of the {count} devices that share "
            f"them; got {items} items"
        )


def _only(items):
    """The one item of a tuple, or the tuple."""
    return items[0] if len(items) == 1 else items


def _part_of_batch(batch, index, count):
    """Every `count`-th item of a batch's arrays, from `index` on."""

    def part(x):
        if x.shape[0] is not None:
            _check_items(x.shape[0], count)
        return x[index::count]

    return keras.tree.map_structure(part, batch)


class _MappedPyDataset(keras.utils.PyDataset):
    """A `PyDataset` with a function of each batch."""

    def __init__(self, dataset, function):
        super().__init__(
            workers=dataset.workers,
            use_multiprocessing=dataset.use_multiprocessing,
            max_queue_size=dataset.max_queue_size,
        )
        self.dataset = dataset
        self.function = function

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        return self.function(self.dataset[index])

    def on_epoch_begin(self):
        self.dataset.on_epoch_begin()

    def on_epoch_end(self):
        self.dataset.on_epoch_end()


def share_of(data, index, count):
    """A process's share of the items of each batch.

    Datasets with a method `share(index, count)`, such as `random_crops` and
    a `FeatureCache`'s batches, read nothing else; of others every process
    reads all and takes its part.

    Args:
        data: `PyDataset`, grain dataset or `tf.data.Dataset` of batches.
        index: int. The process's number, from 0.
        count: int. Processes.

    Returns:
        a dataset of the same kind.

    Raises:
        ValueError: for other data, and for batches that are no multiples of
            `count`, at the latest when they are read.
    """
    if hasattr(data, "share"):
        return data.share(index, count)
    part = functools.partial(_part_of_batch, index=index, count=count)
    if isinstance(data, keras.utils.PyDataset):
        return _MappedPyDataset(data, part)
    if hasattr(data, "map"):
        # grain's function takes an item, that of tf.data its parts.
        return data.map(lambda *batch: part(_only(batch)))
    raise ValueError(
        "on several processes data must be a PyDataset, a grain dataset "
        f"or a tf.data.Dataset of batches; got {type(data).__name__}"
    )


class EvenBatches(keras.utils.PyDataset):
    """A finite dataset in batches that devices can share, with the same means.

    Each device takes as many items of a batch as a batch of the dataset has:

        batches of 2, 13 items, 3 devices:
        0 1 2 3 4 5   6 7 8 9 10 11   12 12 12
        └─┘ └─┘ └─┘   └─┘ └─┘ └───┘    │  │  └ third device
         1   2   3     1   2    3      │  └ second
                                       └ first

    What cannot be dealt out evenly comes last, on every device, with a
    weight; then all batches have weights, so that the means over batches,
    and over devices, are those over the items: with k items on each of n
    devices and r left over, n(k + r)/(nk + r) and, for what is left over,
    an n-th of that.

    Args:
        data: `PyDataset` or grain dataset of batches `(x, y)`; all have as
            many items as the first, but for the last, which may have fewer.
        count: int. Devices.
        index: int. The process's number, for its share; `None`: all of it.

    Raises:
        ValueError: if batches are not as said, when they are read.
    """

    def __init__(self, data, count, index=None):
        # Read ahead, in order; grain's datasets and ours take any thread.
        super().__init__(workers=2, max_queue_size=4)
        self.data = data
        self.count = count
        self.index = index
        self.size = batch_items(data[0])
        items = (len(data) - 1) * self.size + batch_items(data[len(data) - 1])
        # Batches of which each device takes `size` items.
        self.full, rest = divmod(items, count * self.size)
        # Items left after those: on each device, and on all.
        self.even, self.left = divmod(rest, count)
        each = self.full * self.size + self.even
        self.weight = count * (each + self.left) / items

    def __len__(self):
        return self.full + bool(self.even) + -(-self.left // self.size)

    def __getitem__(self, index):
        if index < self.full:
            return self._weighted(self._full(index), self.weight)
        rest = self._read(range(self.full * self.count, len(self.data)))
        shared = self.even * self.count
        if index == self.full and self.even:
            places = np.arange(shared)
            if self.index is not None:
                places = places[self.index :: self.count]
            return self._weighted(_take(rest, places), self.weight)
        number = index - self.full - bool(self.even)
        places = np.arange(shared, shared + self.left)
        places = places[number * self.size :][: self.size]
        if self.index is None:
            places = np.tile(places, self.count)
        return self._weighted(_take(rest, places), self.weight / self.count)

    def _full(self, index):
        first = index * self.count
        if self.index is not None:
            return self._read([first + self.index])
        return self._read(range(first, first + self.count))

    def _read(self, numbers):
        """The items of some batches in one."""
        batches = [self.data[number] for number in numbers]
        for number, batch in zip(numbers, batches, strict=True):
            items = batch_items(batch)
            if items != self.size and number != len(self.data) - 1:
                raise ValueError(
                    "all batches but the last must have the items of the "
                    f"first, {self.size}; got {items} in batch {number}"
                )
            if len(batch) != 2:
                raise ValueError(
                    f"batches must be pairs (x, y); got {len(batch)} parts"
                )
        return keras.tree.map_structure(
            lambda *x: np.concatenate([np.asarray(a) for a in x]), *batches
        )

    def _weighted(self, batch, weight):
        if not self.left:
            return batch
        weights = np.full(batch_items(batch), weight, "float32")
        return (*batch, weights)


def _take(batch, places):
    return keras.tree.map_structure(lambda x: x[places], batch)


def even_batches(data, count, index=None):
    """Validation data of `fit` for several devices; see `EvenBatches`.

    Args:
        data: `PyDataset` or grain dataset of batches, or arrays `(x, y)`.
        count, index: as of `EvenBatches`.

    Returns:
        `EvenBatches`.

    Raises:
        ValueError: for data of other kinds.
    """
    if isinstance(data, (tuple, list)) and len(data) == 2:
        data = [
            _take(data, slice(start, start + ARRAY_BATCH))
            for start in range(0, batch_items(data), ARRAY_BATCH)
        ]
    elif not has_batches(data):
        raise ValueError(
            "on several devices validation must be arrays (x, y), or a "
            "PyDataset or grain dataset with a length; got "
            f"{type(data).__name__}"
        )
    return EvenBatches(data, count, index)
