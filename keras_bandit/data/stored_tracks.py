"""Prepared datasets (`keras-bandit prepare`) as lists of tracks."""

import functools
import io
import json
import os
import pathlib
import re

import numpy as np

from keras_bandit.data.sample_formats import (
    TrackFileError,
    open_audio,
    read_frames,
    to_float,
    unpack,
)
from keras_bandit.data.track import Track
from keras_bandit.data.track_records import STORAGES, segment_length

# A stem that is not stored but is the sum of others that are: DnR v3 has
# foreground and background effects, and not in every copy their sum.
_SUMS = {"effects": ("effects_foreground", "effects_background")}

# Records that a process keeps, so that reading stem after stem decodes a
# record once. Seconds: a chunk of 8 s spans 9 records. Tracks: 60 s of four
# stems are about 12 MB of FLAC.
_CACHED_SEGMENTS = 32
_CACHED_TRACKS = 2


class StoredTrack(Track):
    """A track of a prepared dataset.

    Args:
        entry: dict. The track's entry in the dataset's index.
    """

    def __init__(self, entry):
        self.subtypes = entry["subtypes"]
        stems = list(self.subtypes)
        for stem, parts in _SUMS.items():
            if stem not in stems and set(parts) <= set(stems):
                stems.append(stem)
        super().__init__(
            entry["name"],
            entry["sample_rate"],
            entry["num_channels"],
            entry["num_samples"],
            stems,
        )

    def _read(self, stem, start, stop):
        if stem in self.subtypes:
            return self._read_stored(stem, start, stop)
        first, second = _SUMS[stem]
        return self._read_stored(first, start, stop) + self._read_stored(
            second, start, stop
        )

    def _read_stored(self, stem, start, stop):
        raise NotImplementedError


class PathTrack(StoredTrack):
    """A track whose stems stay in their own files (storage `paths`).

    Every read opens the file, seeks and closes: 0.07 ms, and no open file
    is shared between threads or with forked workers.

    Args:
        entry: see `StoredTrack`.
        paths: `{stem: path}`, absolute.
    """

    def __init__(self, entry, paths):
        super().__init__(entry)
        self.paths = paths

    def _read_stored(self, stem, start, stop):
        return to_float(self._read_frames(stem, start, stop))

    def _read_into(self, stem, start, out):
        if stem not in self.subtypes:
            super()._read_into(stem, start, out)
            return
        frames = self._read_frames(stem, start, start + out.shape[-1])
        to_float(frames, out)

    def _read_frames(self, stem, start, stop):
        path = self.paths[stem]
        try:
            with open_audio(path) as file:
                self._check_unchanged(file)
                return read_frames(file, start, stop)
        except TrackFileError as error:
            raise TrackFileError(
                f"{error}; prepare the dataset again if its files have "
                "moved or changed"
            ) from error

    def _check_unchanged(self, file):
        found = (file.samplerate, file.channels, file.frames)
        indexed = (self.sample_rate, self.num_channels, self.num_samples)
        if found != indexed:
            raise TrackFileError(
                f"{file.name}: has (Hz, channels, samples) {found}, had "
                f"{indexed}"
            )


class _RecordTrack(StoredTrack):
    """A track whose samples are in the dataset's records.

    Args:
        entry: see `StoredTrack`.
        directory: str. The prepared dataset.
        split: str.
    """

    def __init__(self, entry, directory, split):
        super().__init__(entry)
        self._source = (directory, split)
        self._first_record = entry["record"]


class SegmentTrack(_RecordTrack):
    """A track stored as seconds of samples (storage `segments`)."""

    def _read_stored(self, stem, start, stop):
        if start == stop:
            return np.zeros((self.num_channels, 0), "float32")
        length = segment_length(self.sample_rate)
        first, last = start // length, -(-stop // length)
        process = os.getpid()
        data = b"".join(
            _cached_segment(process, self._source, self._first_record + index)[
                stem
            ]
            for index in range(first, last)
        )
        frames = unpack(data, self.subtypes[stem], self.num_channels)
        offset = first * length
        return to_float(frames[start - offset : stop - offset])


class FlacTrack(_RecordTrack):
    """A track stored as FLAC files in records (storage `tracks`).

    The fewest bytes, and slow for short crops: a record holds the whole track
    with all stems. For evaluation.
    """

    def _read_stored(self, stem, start, stop):
        record = _cached_track(os.getpid(), self._source, self._first_record)
        with open_audio(io.BytesIO(record[stem])) as file:
            return to_float(read_frames(file, start, stop))


@functools.lru_cache(maxsize=16)
def _record_source(process, source):
    """Opens a split's records, once per process.

    The process is part of the key because a forked worker must not share
    its parent's readers.
    """
    _check_not_forked(process)
    directory, split = source
    tfds = _tfds()
    return tfds.builder_from_directory(directory).as_data_source(
        split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
    )


_first_process = None


def _check_not_forked(process):
    """Refuses what may crash or hang.

    array_record 0.8.6 has threads of its own, which a fork does not copy: of
    48 processes forked from one that had used it, 3 crashed or hung.
    """
    global _first_process
    if _first_process is None:
        _first_process = process
    if process != _first_process:
        raise RuntimeError(
            "array_record has been used before this process was forked, and "
            "would crash or hang: start workers with 'spawn' or 'forkserver', "
            "or use the config 'paths'"
        )


def _read_record(process, source, index):
    """`{stem: data}` of a record.

    TFDS' own decoding gives the same, and takes longer than reading.
    """
    from tensorflow_datasets.proto import tf_example_pb2

    record = _record_source(process, source)[index]
    features = tf_example_pb2.Example.FromString(record).features.feature
    return {
        key.split("/")[1]: feature.bytes_list.value[0]
        for key, feature in features.items()
        if key.endswith("/data")
    }


_cached_segment = functools.lru_cache(maxsize=_CACHED_SEGMENTS)(_read_record)
_cached_track = functools.lru_cache(maxsize=_CACHED_TRACKS)(_read_record)


def _tfds():
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise ImportError(
            "prepared datasets need TensorFlow Datasets: pip install "
            "'keras-bandit[datasets]'"
        ) from error
    return tensorflow_datasets


def find_prepared(dataset, data_dir, config="paths"):
    """Finds a prepared dataset's directory.

    Args:
        dataset: str. A builder's name, "dnr"; with a config, "dnr/v2_paths";
            with a version, "dnr/v2_paths:1.0.0".
        data_dir: path. Where datasets are prepared.
        config: str. A config, "v2_paths", or only its storage, "paths", when
            one config with that storage is prepared. Not looked at where
            `dataset` names a config.

    Returns:
        `pathlib.Path`, `data_dir/name/config/version`.

    Raises:
        ValueError: if none is prepared, or several are.
    """
    dataset, _, version = dataset.partition(":")
    name, _, named_config = dataset.partition("/")
    config = named_config or config
    root = pathlib.Path(data_dir).absolute() / name
    # Not the hidden or incomplete ones of a preparation that is under way.
    prepared = sorted(
        path.parent
        for path in root.glob("*/*/dataset_info.json")
        if re.fullmatch(r"\d+\.\d+\.\d+", path.parent.name)
    )
    configs = list(dict.fromkeys(path.parent.name for path in prepared))
    wanted = [found for found in configs if found == config] or [
        found for found in configs if found.endswith(f"_{config}")
    ]
    if len(wanted) != 1:
        there = f"there are {', '.join(configs)}" if configs else "none is"
        count = "several configs" if wanted else "no config"
        raise ValueError(
            f"{count} {config!r} of {name} prepared in {data_dir} ({there}): "
            "name one, or run keras-bandit prepare"
        )
    paths = {path.name: path for path in prepared if path.parent.name in wanted}
    latest = max(paths, key=lambda text: [int(n) for n in text.split(".")])
    if version and version not in paths:
        raise ValueError(
            f"{name}/{wanted[0]} has no version {version} in {data_dir}; it "
            f"has {', '.join(paths)}"
        )
    return paths[version or latest]


def open_tracks(dataset, split, data_dir, config="paths"):
    """Opens a split of a prepared dataset.

        keras-bandit prepare dnr --manual-dir DnR --data-dir data

        tracks = open_tracks("dnr", "train", "data")
        tracks[0].read("speech", 44100, 88200)  # (channels, samples)

    TensorFlow is not imported, here or when samples are read.

    Args:
        dataset: str, "dnr", "musdb18_hq" or "film_mix", or as
            `find_prepared` takes it.
        split: "train", "validation" or "test".
        data_dir: path. Where datasets are prepared.
        config: str, see `find_prepared`.

    Returns:
        A list of `Track`, by name; they can be pickled.

    Raises:
        ValueError: if the dataset isn't prepared, or has no such split.
    """
    directory = find_prepared(dataset, data_dir, config)
    index = json.loads((directory / "metadata.json").read_text())
    if split not in index["tracks"]:
        raise ValueError(
            f"split must be one of {', '.join(index['tracks'])}; got {split!r}"
        )
    storage, entries = index["storage"], index["tracks"][split]
    assert storage in STORAGES, storage
    if storage == "paths":
        return _path_tracks(str(directory), split, entries)
    kind = SegmentTrack if storage == "segments" else FlacTrack
    return [kind(entry, str(directory), split) for entry in entries]


def _path_tracks(directory, split, entries):
    tracks = []
    for entry in entries:
        data = _read_record(os.getpid(), (directory, split), entry["record"])
        paths = {stem: os.fsdecode(data[stem]) for stem in entry["subtypes"]}
        tracks.append(PathTrack(entry, paths))
    return tracks
