"""A grain dataset over anything that has an item for every index."""

try:
    import grain
    from absl import flags
except ImportError as error:
    raise ImportError(
        "datasets for training need grain, which is not installed: pip "
        "install 'keras-bandit[grain]'"
    ) from error

# Four batches ahead. grain's own numbers are 16 threads and 500 elements: in
# batches of audio several gigabytes.
_READ_OPTIONS = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)


class IndexedDataset(grain.MapDataset):
    """Serves `source.item(index)` for any index ≥ 0.

    Indices beyond the length are the epochs after the first, which is how
    grain's `repeat` asks for them; `grain.MapDataset.source` would give the
    first epoch again.

    Args:
        source: has `len()`, the items of one epoch, `item(index)` and, for
            `share`, `share(index, count)`.
    """

    def __init__(self, source):
        super().__init__()
        self._source = source

    def __len__(self):
        return len(self._source)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return self.slice(index)
        return self._source.item(index)

    def share(self, index, count):
        """The share of process `index` of `count`: every `count`-th item of
        each batch. Nothing else is read.

        Raises:
            ValueError: if batches are no multiples of `count`.
        """
        return IndexedDataset(self._source.share(index, count))

    def __iter__(self):
        return iter(self.to_iter_dataset())

    def to_iter_dataset(self, read_options=None, **kwargs):
        return super().to_iter_dataset(read_options or _READ_OPTIONS, **kwargs)


class ProcessDataset(grain.IterDataset):
    """The endless stream of a dataset's epochs, made by other processes.

    The items and their order are those of the dataset.

    Args:
        dataset: `IndexedDataset`.
        num_workers: int ≥ 1.
    """

    def __init__(self, dataset, num_workers):
        # grain reads flags of absl here, which refuses before they are parsed;
        # a program that is no absl app never parses them.
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()
        # One thread each: the processes already run side by side.
        options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=1)
        workers = grain.MultiprocessingOptions(
            num_workers=num_workers, per_worker_buffer_size=2
        )
        stream = dataset.repeat().to_iter_dataset(options)
        super().__init__(stream.mp_prefetch(workers))
        self.dataset = dataset
        self.num_workers = num_workers

    def share(self, index, count):
        """See `IndexedDataset.share`."""
        shared = self.dataset.share(index, count)
        return ProcessDataset(shared, self.num_workers)

    def __iter__(self):
        return iter(self._parent)
