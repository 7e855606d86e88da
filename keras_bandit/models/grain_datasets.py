"""grain's datasets as Keras's trainers take them."""

import sys

# Batches made ahead, by as many threads; grain's own 500 are gigabytes of
# audio. Eight is what Keras reads to know shapes.
READ_AHEAD = 8


def as_steps(dataset, steps, epochs=1, name="steps"):
    """A grain dataset as a stream of which the trainer knows the length.

    Keras does not ask a grain dataset for its length: it would run it dry,
    warn, and begin each epoch with the first one's batches. Takes and returns
    `(dataset, steps)` of `fit`, `evaluate` or `predict`; only of a finite
    `grain.MapDataset` they change. `ValueError`, about the argument `name`, if
    there are fewer batches than steps.
    """
    module = sys.modules.get("grain")
    if module is None or not isinstance(dataset, module.MapDataset):
        return dataset, steps
    try:
        length = len(dataset)
    except TypeError:
        return dataset, steps
    if length == sys.maxsize:  # repeated without end
        return dataset, steps
    if steps is not None and steps > length:
        raise ValueError(
            f"{name} must be at most the dataset's length, {length} batches; "
            f"got {steps} (a dataset can be repeated)"
        )
    options = module.ReadOptions(
        num_threads=READ_AHEAD, prefetch_buffer_size=READ_AHEAD
    )
    stream = dataset.repeat(epochs).to_iter_dataset(options)
    return stream, length if steps is None else steps
