"""A frozen encoder's features, computed once and kept on disk."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import pathlib
import threading
from typing import TYPE_CHECKING

import keras
import numpy as np

from keras_bandit.common.files import read_json, replace_file, write_json
from keras_bandit.common.settings import check_same_settings
from keras_bandit.models.separation_training import predict_on_batch
from keras_bandit.training.devices import Devices
from keras_bandit.training.shared_batches import batch_items

if TYPE_CHECKING:
    from typing import Any

    from keras_bandit.common.types import AnyPath
    from keras_bandit.models.mask_separator import MaskSeparator


INDEX = "index.json"

# `np.load` parses headers by `ast`, whose check of its depth fails now and
# then in several threads (python/cpython#106905).
_LOADING = threading.Lock()


def _encoder_digest(separator):
    """SHA-256 of all that features depend on: weights and transform."""
    digest = hashlib.sha256()
    sizes = [
        separator.n_fft,
        separator.hop_length,
        separator.pad_mode,
        separator.backbone.dtype_policy.name,
    ]
    if separator.standardize_spectrogram:
        sizes.append("standardized")
    digest.update(json.dumps(sizes).encode())
    for variable in separator.backbone.variables:
        value = keras.ops.convert_to_numpy(variable)
        digest.update(str(value.shape).encode())
        digest.update(np.ascontiguousarray(value, "float32").tobytes())
    return digest.hexdigest()


def encoder_of(separator):
    """The frozen half of a separator: a `keras.Model`, waveform to features.

    `ValueError` unless all stems have one encoder.
    """
    features = getattr(separator.backbone, "output", None)
    if not isinstance(features, keras.KerasTensor):
        raise ValueError(
            "separator must have one encoder for all stems; got a "
            f"{type(separator).__name__}, which does not"
        )
    waveform = keras.Input((separator.num_channels, None), name="waveform")
    features = separator.backbone(separator.network_input(waveform))
    return keras.Model(waveform, features)


@dataclasses.dataclass(frozen=True)
class _CachedBatches:
    """Source of `FeatureCache.batches`: every `processes`-th example."""

    cache: FeatureCache
    batch_size: int
    seed: int | None
    start_epoch: int
    process: int = 0
    processes: int = 1

    def share(self, index, count):
        """The batches' examples of one of several processes."""
        return dataclasses.replace(self, process=index, processes=count)

    def __len__(self):
        last = self.batch_size - 1 if self.seed is None else 0
        return (len(self.cache) + last) // self.batch_size

    def item(self, index):
        """Batch `index`, counted from the start of epoch `start_epoch`."""
        epoch, step = divmod(index, len(self))
        order = np.arange(len(self.cache))
        if self.seed is not None:
            rng = np.random.default_rng([self.seed, self.start_epoch + epoch])
            order = rng.permutation(len(self.cache))
        numbers = order[step * self.batch_size :][: self.batch_size]
        numbers = numbers[self.process :: self.processes]
        examples = [self.cache.read(number) for number in numbers]
        return keras.tree.map_structure(lambda *x: np.stack(x), *examples)


class FeatureCache:
    """A directory of examples with their features; see `cache_features`.

    Example:

    ```python
    from keras_bandit.training import FeatureCache, cache_features

    backbone = keras_bandit.BanditBackbone(
        "musical", num_bands=12, embed_dim=8, rnn_dim=8, num_pairs=1
    )
    separator = keras_bandit.BanditAudioSeparator(
        backbone, ["speech"], mlp_dim=16
    )
    mixture = np.zeros((1, 1, 44100), "float32")
    batches = [(mixture, {"speech": mixture})]
    cache_features(separator, batches, "features")
    inputs, targets = FeatureCache("features").read(0)
    inputs["features"].shape  # (1, 12, 87, 8): channels, bands, frames, …
    ```

    Raises:
        ValueError: if the directory holds no complete cache.
    """

    def __init__(self, directory: AnyPath) -> None:
        self.directory = pathlib.Path(directory)
        path = self.directory / INDEX
        if not path.exists():
            raise ValueError(
                f"directory must hold a complete cache, with {INDEX}; got "
                f"{str(directory)!r}"
            )
        self.index = read_json(path)

    def __len__(self):
        return self.index["examples"]

    def read(
        self, number: int
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """One example, as a `FeatureLearner` takes it.

        Returns:
            `({"features": (channels, bands, frames, embed_dim), "waveform":
            (channels, samples)}, {stem: (channels, samples)})`, float32.
        """
        path = _example_path(self.directory, number)
        with _LOADING, np.load(path) as arrays:
            inputs = {
                "features": arrays["features"].astype("float32"),
                "waveform": arrays["waveform"],
            }
            stems = self.index["stems"]
            return inputs, {stem: arrays[f"stem_{stem}"] for stem in stems}

    def batches(
        self, batch_size: int, seed: int | None = 0, start_epoch: int = 0
    ) -> Any:
        """A grain dataset of batches for `fit`, the first of `start_epoch`.

        Each epoch has an order of its own, a function of seed and epoch, and
        leaves out examples that do not fill a last batch. With `seed=None` it
        has the order of the cache, and a last batch that may be smaller.
        """
        # Importing grain takes a second and loads JAX.
        from keras_bandit.data.indexed_dataset import IndexedDataset

        return IndexedDataset(
            _CachedBatches(self, batch_size, seed, start_epoch)
        )


def _example_path(directory, number):
    return directory / f"{number:07}.npz"


def cache_features(
    separator: MaskSeparator,
    dataset: Any,
    directory: AnyPath,
    dtype: str = "float32",
    devices: Devices | None = None,
) -> FeatureCache:
    """Computes a frozen encoder's features of a dataset, once.

    They are large: an example takes `4 * channels * bands * frames *
    embed_dim` bytes, 17 MB for 6 s of mono and `bandit_musical64`, half of
    that in float16. Random crops that are new in every epoch cannot be cached;
    fixed ones can. A complete cache is used as it is, an incomplete one, of a
    process that was killed, is made again.

    Args:
        separator: `MaskSeparator` with one encoder for all stems.
        dataset: a finite one that `fit` takes, not arrays; batches `(mixture,
            {stem: target})`, `(batch, channels, samples)` each.
        directory: path, made if it does not exist.
        dtype: that of the stored features, `"float32"` or `"float16"`.
        devices: `Devices` from `open_devices`, or `None`: one. Several
            processes compute a part of the batches each, and need to see the
            same directory.

    Returns:
        `FeatureCache`.

    Raises:
        ValueError: if stems have encoders of their own, there is no batch, or
            the directory holds features of another encoder.
    """
    if dtype not in ("float32", "float16"):
        raise ValueError(f"dtype must be float32 or float16; got {dtype!r}")
    encoder, digest = encoder_of(separator), _encoder_digest(separator)
    directory = pathlib.Path(directory)
    if (directory / INDEX).exists():
        cache = FeatureCache(directory)
        check_same_settings(
            {"encoder": cache.index["encoder"]},
            {"encoder": digest},
            f"the feature cache {directory}",
            "choose another directory",
        )
        return cache
    devices = devices or Devices()
    directory.mkdir(parents=True, exist_ok=True)
    if isinstance(dataset, keras.utils.PyDataset):
        dataset = map(dataset.__getitem__, range(len(dataset)))
    count, stems = 0, []
    for step, batch in enumerate(dataset):
        first, count = count, count + batch_items(batch)
        if step % devices.process_count != devices.process_index:
            continue
        mixture, targets = keras.tree.map_structure(np.asarray, batch)
        stems = list(targets)
        features = predict_on_batch(encoder, mixture)
        # (batch, channels, bands, frames, embed_dim)
        features = features.reshape(*mixture.shape[:2], *features.shape[1:])
        for i in range(len(mixture)):
            arrays = {
                "features": features[i].astype(dtype),
                "waveform": mixture[i],
                **{f"stem_{stem}": x[i] for stem, x in targets.items()},
            }
            replace_file(
                _example_path(directory, first + i),
                functools.partial(np.savez, **arrays),
            )
    if not count:
        raise ValueError("dataset must have a batch or more; got none")
    index = {"examples": count, "stems": stems, "dtype": dtype}
    index["encoder"] = digest
    devices.barrier()
    if devices.process_index == 0:
        # The last file: with it the cache is complete.
        write_json(directory / INDEX, index)
    devices.barrier()
    return FeatureCache(directory)
