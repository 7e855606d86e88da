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


def _refusal(count):
    return (
        f"batches must be multiples of the {count} devices that share them; got"
    )


def _check_items(items, count, number=None):
    if items % count:
        place = "" if number is None else f" in batch {number}"
        raise ValueError(f"{_refusal(count)} {items} items{place}")


def _checked_batch(batch, number=None, *, count):
    """A batch, of which each device can take as many items."""
    x = keras.tree.flatten(batch)[0]
    if x.shape[0] is not None:
        _check_items(x.shape[0], count, number)
        return batch
    # tf.data traces this once; it knows the items when it reads the batch.
    import tensorflow as tf

    items = tf.shape(x)[0]
    check = tf.debugging.Assert(items % count == 0, [_refusal(count), items])
    with tf.control_dependencies([check]):
        return keras.tree.map_structure(tf.identity, batch)


def _part_of_batch(batch, number=None, *, index, count):
    """Every `count`-th item of a batch's arrays, from `index` on."""
    batch = _checked_batch(batch, number, count=count)
    return keras.tree.map_structure(lambda x: x[index::count], batch)


def _only(items):
    """The one item of a tuple, or the tuple."""
    return items[0] if len(items) == 1 else items


class _MappedPyDataset(keras.utils.PyDataset):
    """A `PyDataset` with a function of each batch and its number."""

    def __init__(self, dataset, function):
        super().__init__(
            workers=dataset.workers,
            use_multiprocessing=dataset.use_multiprocessing,
            max_queue_size=dataset.max_queue_size,
        )
        self.dataset = dataset
        self.function = function

    @property
    def num_batches(self):
        return self.dataset.num_batches

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        return self.function(self.dataset[index], index)

    def on_epoch_begin(self):
        self.dataset.on_epoch_begin()

    def on_epoch_end(self):
        self.dataset.on_epoch_end()


def _mapped(data, function):
    """A dataset with a function of each batch."""
    if isinstance(data, keras.utils.PyDataset):
        return _MappedPyDataset(data, function)
    if hasattr(data, "map"):
        # grain's function takes an item, that of tf.data its parts.
        return data.map(lambda *batch: function(_only(batch)))
    raise ValueError(
        "on several devices training data must be a PyDataset, a grain "
        "dataset or a tf.data.Dataset of batches; got "
        f"{type(data).__name__}"
    )


def checked_batches(data, count):
    """A dataset with its batches checked: devices must be able to share them.

    The first and the last, where batches have numbers, are checked at once,
    each again when it is read.

    Args:
        data: `PyDataset`, grain dataset or `tf.data.Dataset` of batches.
        count: int. Devices of one process.

    Returns:
        a dataset of the same kind.

    Raises:
        ValueError: for other data, and for batches that are no multiples of
            `count`. Where TensorFlow reads them, that is its
            `InvalidArgumentError` with the same message.
    """
    if has_batches(data):
        _check_items(batch_items(data[0]), count, 0)
        numbered = isinstance(data, keras.utils.PyDataset)
        length = data.num_batches if numbered else len(data)
        if length is not None:  # of a PyDataset without an end
            _check_items(batch_items(data[length - 1]), count, length - 1)
        if hasattr(data, "share"):
            # Ours: all but the last are as the first. Mapped, they would be
            # read ahead by grain's own number, 500.
            return data
    return _mapped(data, functools.partial(_checked_batch, count=count))


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
            `count`, at the latest when they are read. While a
            `tf.data.Dataset` is read, that is TensorFlow's
            `InvalidArgumentError` with the same message.
    """
    if hasattr(data, "share"):
        return data.share(index, count)
    part = functools.partial(_part_of_batch, index=index, count=count)
    return _mapped(data, part)


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
        if isinstance(data, keras.utils.PyDataset):
            # It may hold a file or a generator that one thread alone may use.
            super().__init__(
                workers=data.workers,
                use_multiprocessing=data.use_multiprocessing,
                max_queue_size=data.max_queue_size,
            )
        else:
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

    def on_epoch_begin(self):
        if isinstance(self.data, keras.utils.PyDataset):
            self.data.on_epoch_begin()

    def on_epoch_end(self):
        if isinstance(self.data, keras.utils.PyDataset):
            self.data.on_epoch_end()

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


def even_batches(data, count, index=None, batch_size=None):
    """Validation data of `fit` for several devices; see `EvenBatches`.

    Args:
        data: `PyDataset` or grain dataset of batches, or arrays `(x, y)`.
        count, index: as of `EvenBatches`.
        batch_size: int. Items in a batch of arrays, on each device; `None`:
            32, as Keras has it.

    Returns:
        `EvenBatches`.

    Raises:
        ValueError: for data of other kinds.
    """
    if isinstance(data, (tuple, list)) and len(data) == 2:
        size = batch_size or ARRAY_BATCH
        data = [
            _take(data, slice(start, start + size))
            for start in range(0, batch_items(data), size)
        ]
    elif not has_batches(data):
        raise ValueError(
            "on several devices validation must be arrays (x, y), or a "
            "PyDataset or grain dataset with a length; got "
            f"{type(data).__name__}"
        )
    return EvenBatches(data, count, index)
