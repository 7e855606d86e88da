"""A grain dataset over anything that has an item for every index."""

try:
    import grain
    from absl import flags
except ImportError as error:
    raise ImportError(
        "datasets for training need grain, which is not installed: pip "
        "install 'keras-bandit[grain]'"
    ) from error


class IndexedDataset(grain.MapDataset):
    """Serves `source.item(index)` for any index ≥ 0.

    Indices beyond the length are the epochs after the first, which is how
    grain's `repeat` asks for them; `grain.MapDataset.source` would give the
    first epoch again.

    Args:
        source: has `len()`, the items of one epoch, and `item(index)`.
        read_ahead: int. Items made ahead of the one being used, when the
            dataset is iterated as it is (grain's own number is 500, in
            batches of audio several gigabytes).
        num_threads: int. Threads that make them; 0: none, nor read ahead.
    """

    def __init__(self, source, read_ahead=4, num_threads=2):
        super().__init__()
        self._source = source
        self._read_options = grain.ReadOptions(
            num_threads=num_threads,
            prefetch_buffer_size=max(read_ahead, num_threads),
        )

    def __len__(self):
        return len(self._source)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return self.slice(index)
        return self._source.item(index)

    def share(self, index, count):
        """A process's share: every `count`-th item of each batch.

        Args:
            index: int. The process's number, from 0.
            count: int. Processes.

        Returns:
            `IndexedDataset`, which reads nothing else.

        Raises:
            ValueError: if batches are no multiples of `count`.
        """
        source = self._source.share(index, count)
        return IndexedDataset(
            source,
            self._read_options.prefetch_buffer_size,
            self._read_options.num_threads,
        )

    def __iter__(self):
        return iter(self.to_iter_dataset(self._read_options))

    def to_iter_dataset(self, read_options=None, **kwargs):
        return super().to_iter_dataset(
            read_options or self._read_options, **kwargs
        )


class ProcessDataset(grain.IterDataset):
    """The endless stream of a dataset's epochs, made by other processes.

    Items and their order are those of the dataset; only who makes them
    changes.

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
        stream = (
            dataset.repeat()
            .to_iter_dataset(options)
            .mp_prefetch(
                grain.MultiprocessingOptions(
                    num_workers=num_workers, per_worker_buffer_size=2
                )
            )
        )
        super().__init__(stream)
        self.dataset = dataset
        self.num_workers = num_workers

    def share(self, index, count):
        """As of `IndexedDataset`."""
        return ProcessDataset(
            self.dataset.share(index, count), self.num_workers
        )

    def __iter__(self):
        return iter(self._parent)
