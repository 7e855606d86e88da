"""A grain dataset over anything that has an item for every index."""

from keras_bandit.common.extras import require

grain = require("grain", "grain", "a dataset for training")

# Four batches ahead. grain's own numbers are 16 threads and 500 elements: in
# batches of audio several gigabytes.
_READ_OPTIONS = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)


class IndexedDataset(grain.MapDataset):
    """Serves `source.item(index)` for any index ≥ 0.

    Indices beyond the length are the epochs after the first, which is how
    grain's `repeat` asks for them; `grain.MapDataset.source` would give the
    first epoch again. For `share` a source has `batch_size` and `share`, too.
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
        """Every `count`-th item of each batch from `index` on, and no other.

        `ValueError` if batches are no multiples of `count`.
        """
        batch_size = self._source.batch_size
        if batch_size % count:
            raise ValueError(
                f"batch_size must be a multiple of the {count} processes; got "
                f"batch_size={batch_size}"
            )
        return IndexedDataset(self._source.share(index, count))

    def __iter__(self):
        return iter(self.to_iter_dataset())

    def to_iter_dataset(self, read_options=None, **kwargs):
        return super().to_iter_dataset(read_options or _READ_OPTIONS, **kwargs)
