"""A frozen encoder's features, computed once and kept on disk."""

import copy
import functools
import hashlib
import itertools
import json
import pathlib

import keras
import numpy as np

from keras_bandit.backend.predictions import predict_on_batch
from keras_bandit.common.files import replace_file, write_text
from keras_bandit.training.devices import Devices
from keras_bandit.training.shared_batches import batch_items, has_batches

INDEX = "index.json"


def encoder_digest(separator):
    """SHA-256 of all that features depend on: weights and transform."""
    digest = hashlib.sha256()
    sizes = [
        separator.backbone.n_fft,
        separator.hop_length,
        separator.pad_mode,
        separator.backbone.dtype_policy.name,
    ]
    digest.update(json.dumps(sizes).encode())
    for variable in separator.backbone.variables:
        value = keras.ops.convert_to_numpy(variable)
        digest.update(str(value.shape).encode())
        digest.update(np.ascontiguousarray(value, "float32").tobytes())
    return digest.hexdigest()


def encoder_of(separator):
    """The frozen half of a separator, as a model.

    Returns:
        `keras.Model`, waveform `(batch, channels, samples)` to features
        `(batch * channels, bands, frames, embed_dim)`.

    Raises:
        ValueError: if stems have encoders of their own.
    """
    waveform = keras.Input((separator.num_channels, None), name="waveform")
    spectrogram = separator.stft(waveform)
    features = separator.backbone.encode(spectrogram, separator.stems)
    if len({id(x) for x in features.values()}) > 1:
        raise ValueError(
            "separator must have one encoder for all stems; got a "
            f"{type(separator).__name__}, which has one for each"
        )
    return keras.Model(waveform, next(iter(features.values())))


def _batches(dataset, steps, devices):
    """This process's batches of a dataset, as NumPy arrays.

    Yields:
        `(number, batch)`: of the batch's first example, and the batch.

    Raises:
        ValueError: if several processes read batches by number, and one that
            is not the last has not the items of the first.
    """
    index, count = devices.process_index, devices.process_count
    if count > 1 and has_batches(dataset):
        # Only its own are read.
        steps = len(dataset) if steps is None else min(steps, len(dataset))
        size = batch_items(dataset[0])
        for step in range(index, steps, count):
            batch = dataset[step]
            items = batch_items(batch)
            # Examples are numbered without reading the batches before.
            if items != size and step != steps - 1:
                raise ValueError(
                    "on several processes all batches but the last must have "
                    f"the items of the first, {size}; got {items} in batch "
                    f"{step}"
                )
            yield step * size, _as_arrays(batch)
        return
    if isinstance(dataset, keras.utils.PyDataset):
        dataset = map(dataset.__getitem__, range(len(dataset)))
    number = 0
    for step, batch in enumerate(itertools.islice(dataset, steps)):
        if step % count == index:
            yield number, _as_arrays(batch)
        number += batch_items(batch)


def _as_arrays(batch):
    return keras.tree.map_structure(np.asarray, batch)


class CachedBatches:
    """Batches of a `FeatureCache`, in a new order in each epoch.

    Args:
        cache: `FeatureCache`.
        batch_size: int. Examples that do not fill a last batch are left out.
        seed: int: of the order, a function of seed and epoch; `None`: the
            order of the cache, and a last batch that may be smaller.
        start_epoch: int.
    """

    def __init__(self, cache, batch_size, seed=0, start_epoch=0):
        self.cache = cache
        self.batch_size = batch_size
        self.seed = seed
        self.start_epoch = start_epoch
        # Examples of a batch that are read, by their places in it.
        self.places = slice(None)

    def share(self, index, count):
        """The batches' examples of one of several processes."""
        if self.batch_size % count:
            raise ValueError(
                f"batch_size must be a multiple of the {count} processes; got "
                f"batch_size={self.batch_size}"
            )
        part = copy.copy(self)
        part.places = slice(index, None, count)
        return part

    def __len__(self):
        count = len(self.cache)
        if self.seed is None:
            return -(-count // self.batch_size)
        return count // self.batch_size

    def item(self, index):
        """Batch `index`, counted from the start of epoch `start_epoch`."""
        epoch, step = divmod(index, len(self))
        order = _order(self.seed, self.start_epoch + epoch, len(self.cache))
        start = step * self.batch_size
        numbers = order[start : start + self.batch_size][self.places]
        examples = [self.cache.read(number) for number in numbers]
        return keras.tree.map_structure(lambda *x: np.stack(x), *examples)


@functools.lru_cache(maxsize=4)
def _order(seed, epoch, count):
    """The examples' numbers in the order of an epoch."""
    if seed is None:
        return np.arange(count)
    return np.random.default_rng([seed, epoch]).permutation(count)


class FeatureCache:
    """A directory of examples with their features; see `cache_features`.

    Args:
        directory: path.

    Raises:
        ValueError: if there is no complete cache.
    """

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        path = self.directory / INDEX
        if not path.exists():
            raise ValueError(
                f"directory must hold a complete cache, with {INDEX}; got "
                f"{str(directory)!r}"
            )
        self.index = json.loads(path.read_text(encoding="utf-8"))

    def __len__(self):
        return self.index["examples"]

    def read(self, number):
        """One example, as a `FeatureLearner` takes it.

        Returns:
            `({"features": (channels, bands, frames, embed_dim), "waveform":
            (channels, samples)}, {stem: (channels, samples)})`, float32.
        """
        with np.load(self.directory / example_file(number)) as arrays:
            inputs = {
                "features": arrays["features"].astype("float32"),
                "waveform": arrays["waveform"],
            }
            stems = self.index["stems"]
            return inputs, {stem: arrays[f"stem_{stem}"] for stem in stems}

    def batches(self, batch_size, seed=0, start_epoch=0):
        """A grain dataset for `fit`; see `CachedBatches`."""
        # Importing grain takes a second and loads JAX.
        from keras_bandit.data.indexed_dataset import IndexedDataset

        return IndexedDataset(
            CachedBatches(self, batch_size, seed, start_epoch)
        )

    def check_encoder(self, separator):
        """Raises `ValueError` if the features are not this encoder's."""
        digest = encoder_digest(separator)
        if digest != self.index["encoder"]:
            raise ValueError(
                f"{self.directory} holds features of another encoder (SHA-256 "
                f"{self.index['encoder']}, here {digest}); cache them anew "
                "in another directory"
            )


def example_file(number):
    return f"{number:07}.npz"


def _encode(encoder, mixture):
    """Features of a batch, `(batch, channels, bands, frames, embed_dim)`."""
    features = predict_on_batch(encoder, mixture)
    return features.reshape(*mixture.shape[:2], *features.shape[1:])


def cache_features(
    separator, dataset, directory, steps=None, dtype="float32", devices=None
):
    """Computes a frozen encoder's features of a dataset, once.

    They are large: an example takes `4 * channels * bands * frames *
    embed_dim` bytes, 17 MB for 6 s of mono and `bandit_musical64`, half of
    that in float16. Random crops that are new in every epoch cannot be cached;
    fixed ones can.

    A complete cache is used as it is; an incomplete one, of a process that
    was killed, is made anew.

    Args:
        separator: `AudioSeparator` with one encoder for all stems.
        dataset: what `fit` takes as a dataset, batches `(mixture, {stem:
            target})`, `(batch, channels, samples)` each, of any kind but
            arrays.
        directory: path, made if it does not exist.
        steps: int, batches to take, or `None`: all of a finite dataset.
        dtype: that of the stored features, `"float32"` or `"float16"`.
        devices: `Devices` from `open_devices`, or `None`: one. Several
            processes compute a part of the batches each, and need to see the
            same directory.

    Returns:
        `FeatureCache`.

    Raises:
        ValueError: if stems have encoders of their own, there is no batch, the
            directory holds features of another encoder, or, on several
            processes, a batch that is not the last has not the items of the
            first.
    """
    directory = pathlib.Path(directory)
    if (directory / INDEX).exists():
        cache = FeatureCache(directory)
        cache.check_encoder(separator)
        return cache
    if dtype not in ("float32", "float16"):
        raise ValueError(f"dtype must be float32 or float16; got {dtype!r}")
    devices = devices or Devices()
    encoder = encoder_of(separator)
    directory.mkdir(parents=True, exist_ok=True)
    count, stems = 0, []
    for number, (mixture, targets) in _batches(dataset, steps, devices):
        stems = list(targets)
        for i, features in enumerate(_encode(encoder, mixture)):
            arrays = {
                "features": features.astype(dtype),
                "waveform": mixture[i],
                **{f"stem_{stem}": x[i] for stem, x in targets.items()},
            }
            replace_file(
                directory / example_file(number + i),
                functools.partial(np.savez, **arrays),
            )
            count += 1
    count = devices.total(count)
    if not count:
        raise ValueError("dataset must have a batch or more; got none")
    index = {
        "examples": count,
        "stems": stems,
        "dtype": dtype,
        "encoder": encoder_digest(separator),
    }
    if devices.process_index == 0:
        # The last file: with it the cache is complete.
        write_text(directory / INDEX, json.dumps(index, indent=2) + "\n")
    devices.barrier()
    return FeatureCache(directory)
