"""Batches that several devices share, so that they do what one would."""

import keras
import numpy as np


def batch_items(batch):
    """Items in a batch."""
    return keras.tree.flatten(batch)[0].shape[0]


def _take(batch, places):
    """The items of a batch at `places`."""
    return keras.tree.map_structure(lambda x: x[places], batch)


class _ReadAsWanted(keras.utils.PyDataset):
    """Wraps a dataset; a `PyDataset` is read by as many workers as it wants.

    Others, grain's among them, may be read by any thread.
    """

    def __init__(self, data):
        super().__init__(
            workers=getattr(data, "workers", 2),
            use_multiprocessing=getattr(data, "use_multiprocessing", False),
            max_queue_size=getattr(data, "max_queue_size", 4),
        )
        self.data = data

    def on_epoch_begin(self):
        getattr(self.data, "on_epoch_begin", lambda: None)()

    def on_epoch_end(self):
        getattr(self.data, "on_epoch_end", lambda: None)()


class _MappedPyDataset(_ReadAsWanted):
    """A `PyDataset` with a function of each batch."""

    def __init__(self, data, function):
        super().__init__(data)
        self.function = function

    @property
    def num_batches(self):
        return self.data.num_batches

    def __getitem__(self, index):
        return self.function(self.data[index])


def share_of(data, index, count):
    """A process's share of the items of each batch: every `count`-th one.

    Datasets with a method `share(index, count)`, such as `random_crops` and
    a `FeatureCache`'s batches, read nothing else. Of a `PyDataset` or another
    grain dataset every process reads all and takes its part. Raises
    `ValueError` for other data, and for a batch that is no multiple of `count`.
    """

    def part(batch):
        items = batch_items(batch)
        if items % count:
            raise ValueError(
                f"batches must be multiples of the {count} devices that share "
                f"them; got {items} items"
            )
        return _take(batch, slice(index, None, count))

    if hasattr(data, "share"):
        return data.share(index, count)
    if isinstance(data, keras.utils.PyDataset):
        return _MappedPyDataset(data, part)
    if any(base.__module__.startswith("grain.") for base in type(data).__mro__):
        return data.map(part)
    raise ValueError(
        "on several devices training data must be a PyDataset or a grain "
        f"dataset of batches; got {type(data).__name__}"
    )


class EvenBatches(_ReadAsWanted):
    """Validation batches for several devices, with the means of one device.

    Whole batches are dealt out, one to each device. At the end, where there
    are fewer batches than devices, or a smaller one, the items of each batch
    are dealt out; those that are left go to all devices, each with a part of
    the weight:

        2 devices, 7 items in batches of 2     first device:   0 1 | 4 | 6/2
                                               second device:  2 3 | 5 | 6/2

    The weights make all means, over batches and over devices, those over the
    items. Keras's loss is the sum of weighted losses divided by the number of
    rows that all devices see, R. So each of the N items weighs R / N in all.

    Args:
        data: dataset of batches `(x, y)` with a length. All have as many
            items as the first, except the last, which may have fewer; when
            others are read, that is a `ValueError`.
        count: int. Devices.
        index: int. The process's number, for its share; `None`: all of it.
    """

    def __init__(self, data, count, index=None):
        super().__init__(data)
        self.count, self.index = count, index
        last = len(data) - 1
        self.sizes = [batch_items(data[0])] * last + [batch_items(data[last])]
        full = last + (self.sizes[last] == self.sizes[0])
        self.dealt = full // count
        rows = self.dealt * self.sizes[0] + sum(
            n // count + n % count for n in self.sizes[self.dealt * count :]
        )
        self.weight = count * rows / sum(self.sizes)

    def __len__(self):
        return self.dealt + len(self.data) - self.dealt * self.count

    def __getitem__(self, number):
        indices = range(self.count) if self.index is None else [self.index]
        shares = [self._share(number, index) for index in indices]
        return keras.tree.map_structure(lambda *x: np.concatenate(x), *shares)

    def _share(self, number, index):
        """`(x, y, weights)` of one device."""
        if number < self.dealt:
            batch = self._read(number * self.count + index)
            dealt, left = np.arange(batch_items(batch)), []
        else:
            batch = self._read(number + self.dealt * (self.count - 1))
            items = np.arange(batch_items(batch))
            whole = len(items) - len(items) % self.count
            dealt, left = items[index : whole : self.count], items[whole:]
        weights = np.repeat([1, 1 / self.count], [len(dealt), len(left)])
        x, y = _take(batch, [*dealt, *left])
        return x, y, (weights * self.weight).astype("float32")

    def _read(self, number):
        batch = self.data[number]
        items, parts = batch_items(batch), len(batch)
        if (items, parts) != (self.sizes[number], 2):
            raise ValueError(
                "batches must be pairs (x, y), all but the last with the "
                f"items of the first, {self.sizes[0]}; got {parts} parts with "
                f"{items} items in batch {number}"
            )
        return keras.tree.map_structure(np.asarray, batch)


def even_batches(data, count, index=None, batch_size=None):
    """Validation data of `fit` for several devices, as `EvenBatches`.

    Takes a `PyDataset` or grain dataset of batches, or arrays `(x, y)`, of
    which each device gets `batch_size` items at a time.
    """
    if isinstance(data, (tuple, list)) and len(data) == 2:
        size = batch_size or 32  # Keras's default
        data = [
            _take(data, slice(start, start + size))
            for start in range(0, batch_items(data), size)
        ]
    elif not isinstance(data, keras.utils.PyDataset) and not all(
        hasattr(data, name) for name in ("__len__", "__getitem__", "map")
    ):
        raise ValueError(
            "on several devices validation must be arrays (x, y), or a "
            "PyDataset or grain dataset with a length; got "
            f"{type(data).__name__}"
        )
    return EvenBatches(data, count, index)
