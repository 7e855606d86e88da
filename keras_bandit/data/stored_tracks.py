"""Prepared datasets (`track_builder` says what is stored) as lists of tracks."""

from __future__ import annotations

import functools
import os
import pathlib
import re
from typing import TYPE_CHECKING

import numpy as np

from keras_bandit.common.checks import check_choice
from keras_bandit.common.extras import require
from keras_bandit.common.files import read_json
from keras_bandit.data.sample_formats import (
    TrackFileError,
    open_audio,
    read_frames,
    to_float,
    unpack,
)
from keras_bandit.data.track import Track

if TYPE_CHECKING:
    from keras_bandit.common.types import AnyPath


STORAGES = ("paths", "segments")
"""Ways to store tracks: the paths of their files, or seconds of samples."""

PARTS = {"effects": ("effects_foreground", "effects_background")}
"""Stems that may be stored as parts: not every copy of DnR v3 has the sum."""


class StoredTrack(Track):
    """A track of a prepared dataset, from its entry in the dataset's index.

    A subclass defines `_read_frames(stem, start, stop)`: samples of a stored
    stem, `(samples, channels)`, not converted.
    """

    def __init__(self, entry):
        self.subtypes = entry["subtypes"]
        sums = [
            stem
            for stem, parts in PARTS.items()
            if stem not in self.subtypes and self.subtypes.keys() >= set(parts)
        ]
        keys = ("name", "sample_rate", "num_channels", "num_samples")
        super().__init__(*[entry[k] for k in keys], [*self.subtypes, *sums])

    def _read(self, stem, start, stop):
        if stem in self.subtypes:
            return to_float(self._read_frames(stem, start, stop))
        first, second = (self._read(s, start, stop) for s in PARTS[stem])
        return first + second

    def read_into(self, stem, start, out):
        if stem not in self.subtypes:
            super().read_into(stem, start, out)
            return
        stop = start + out.shape[-1]
        self._check(stem, start, stop)
        to_float(self._read_frames(stem, start, stop), out)


class PathTrack(StoredTrack):
    """A track whose stems stay in their own files (storage `paths`).

    Every read opens the file, seeks and closes: 0.07 ms, and no open file is
    shared between threads or with forked workers.
    """

    def __init__(self, entry, paths):
        super().__init__(entry)
        self.paths = paths

    def _read_frames(self, stem, start, stop):
        try:
            with open_audio(self.paths[stem]) as file:
                found = (file.samplerate, file.channels, file.frames)
                was = (self.sample_rate, self.num_channels, self.num_samples)
                if found != was:
                    raise TrackFileError(
                        f"{file.name}: has (Hz, channels, samples) {found}, "
                        f"had {was}"
                    )
                return read_frames(file, start, stop)
        except TrackFileError as error:
            raise TrackFileError(
                f"{error}; prepare the dataset again if its files have "
                "moved or changed"
            ) from error


class SegmentTrack(StoredTrack):
    """A track stored as seconds of samples (storage `segments`)."""

    def __init__(self, entry, directory, split):
        super().__init__(entry)
        self.source = directory, split
        self.first_record = entry["record"]

    def _read_frames(self, stem, start, stop):
        if start == stop:
            return np.empty((0, self.num_channels), "float32")
        length = self.sample_rate
        first, last = start // length, -(-stop // length)
        data = b"".join(
            _read_record(*self.source, self.first_record + index)[stem]
            for index in range(first, last)
        )
        frames = unpack(data, self.subtypes[stem], self.num_channels)
        offset = first * length
        return frames[start - offset : stop - offset]


@functools.lru_cache(maxsize=16)
def _record_source(directory, split):
    tfds = require("tensorflow_datasets", "datasets", "a prepared dataset")
    return tfds.builder_from_directory(directory).as_data_source(
        split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
    )


# Stem after stem of a crop is read from the same records: 9 for 8 s.
@functools.lru_cache(maxsize=32)
def _cached_record(directory, split, index):
    source = _record_source(directory, split)
    # TFDS would decode a second of four stems in 1.0 ms, with reading; this
    # takes 0.6. DESERIALIZE_NO_DECODE does the same, but needs TensorFlow.
    from tensorflow_datasets.proto import tf_example_pb2

    example = tf_example_pb2.Example.FromString(source[index])
    return {
        key.split("/")[1]: feature.bytes_list.value[0]
        for key, feature in example.features.feature.items()
        if key.endswith("/data")
    }


_reader = None  # the process that reads records


def _read_record(directory, split, index):
    """`{stem: data}` of a record.

    array_record 0.8.6 has threads of its own, which a fork does not copy: of
    48 processes forked from one that had used it, 3 crashed or hung.
    """
    global _reader
    _reader = _reader or os.getpid()
    if os.getpid() != _reader:
        raise RuntimeError(
            "array_record has been used before this process was forked, and "
            "would crash or hang: start workers with 'spawn' or 'forkserver', "
            "or use the config 'paths'"
        )
    return _cached_record(directory, split, index)


def find_prepared(dataset, data_dir, config="paths"):
    """Finds the directory of a prepared dataset's latest version.

    Args:
        dataset: str. A builder's name, "dnr"; with a config, "dnr/v2_paths".
        data_dir: path. Where datasets are prepared.
        config: str. A config, "v2_paths", or only its storage, "paths", when
            one config with that storage is prepared. Ignored where `dataset`
            names a config.

    Raises:
        ValueError: if none is prepared, or several are.
    """
    name, _, named_config = dataset.partition("/")
    config = named_config or config
    root = pathlib.Path(data_dir).absolute() / name
    versions = [
        ([*map(int, info.parent.name.split("."))], info.parent)
        for info in sorted(root.glob("*/*/dataset_info.json"))
        # Not the hidden or incomplete ones of a preparation under way.
        if re.fullmatch(r"\d+\.\d+\.\d+", info.parent.name)
    ]
    prepared = {path.parent.name: path for _, path in sorted(versions)}
    wanted = [config] if config in prepared else []
    wanted = wanted or [c for c in prepared if c.endswith(f"_{config}")]
    if len(wanted) != 1:
        there = f"there are {', '.join(prepared)}" if prepared else "none is"
        count = "several configs" if wanted else "no config"
        raise ValueError(
            f"{count} {config!r} of {name} prepared in {data_dir} ({there}): "
            "name one, or run keras-bandit prepare"
        )
    return prepared[wanted[0]]


def open_tracks(
    dataset: str, split: str, data_dir: AnyPath, config: str = "paths"
) -> list[Track]:
    """Opens a split of a prepared dataset: a list of `Track`, by name.

        keras-bandit prepare dnr --manual-dir DnR --data-dir data

        tracks = open_tracks("dnr", "train", "data")
        tracks[0].read("speech", 44100, 88200)  # (channels, samples)

    TensorFlow is not imported, here or when samples are read.

    Args:
        dataset: str, "dnr", "musdb18_hq" or "film_mix"; with a config, as in
            "dnr/v2_paths".
        split: "train", "validation" or "test".
        data_dir: path. Where datasets are prepared.
        config: str. A config, "v2_paths", or only its storage, "paths".

    Raises:
        ValueError: if the dataset isn't prepared, has no such split, or was
            prepared as `tracks`, which this version does not read.
    """
    directory = find_prepared(dataset, data_dir, config)
    index = read_json(directory / "metadata.json")
    storage, splits = index["storage"], index["tracks"]
    if storage not in STORAGES:
        raise ValueError(
            f"{directory} is stored as {storage!r}, which this version does "
            f"not read: prepare it again as one of {', '.join(STORAGES)}"
        )
    check_choice("split", split, splits)
    source = str(directory), split
    if storage == "segments":
        return [SegmentTrack(entry, *source) for entry in splits[split]]
    tracks = []
    for entry in splits[split]:
        data = _read_record(*source, entry["record"])
        paths = {stem: os.fsdecode(data[stem]) for stem in entry["subtypes"]}
        tracks.append(PathTrack(entry, paths))
    return tracks
