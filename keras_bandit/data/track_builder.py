"""The base of the TFDS builders in `datasets/`: tracks from files on disk.

A record is a piece of a track with all its stems:

    track         the track's name
    start         first sample of the piece
    num_samples   length of the piece
    sample_rate   Hz
    num_channels
    stems         {stem: {"subtype": sample format of the file,
                          "data": bytes}}

With storage `paths` a piece is the whole track and `data` the absolute path of
the file; with `segments` a piece is a second and `data` its samples in the
file's own width (`sample_formats.pack`). A stem that the track does not have
has an empty subtype and no data. `metadata.json` has the storage and an index
of the tracks: `probe_track`'s entries, and the number of each one's first
record. All of it is written and read without TensorFlow.
"""

import collections
import contextlib
import dataclasses
import inspect
import os
import pathlib

import numpy as np
import tensorflow_datasets as tfds
from etils import epath
from tensorflow_datasets.core.utils import tqdm_utils

from keras_bandit.common.checks import check_choice
from keras_bandit.data.sample_formats import (
    TrackFileError,
    open_audio,
    pack,
    read_frames,
)
from keras_bandit.data.stored_tracks import STORAGES
from keras_bandit.data.track_files import FolderError, probe_track


@dataclasses.dataclass(eq=False)
class TrackConfig(tfds.core.BuilderConfig):
    """How tracks are stored."""

    storage: str = "paths"  # one of `STORAGES`

    @classmethod
    def from_name(cls, name):
        """Makes a config from its name, the storage; or raises ValueError."""
        check_choice("config", name, STORAGES)
        return cls(name=name, description=f"storage {name}", storage=name)


class TrackBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Stores tracks of several stems; subclasses say where the files are.

    A subclass defines `find_tracks(manual_dir)`, which finds the files without
    opening them: `{split: list of TrackFiles}`, and a list of str, what is
    missing. It raises `FolderError` for another folder altogether.

    `notes` are what it found worth saying, a list of str.
    """

    STEMS = ()  # that a track can have
    HOMEPAGE = None
    make_config = TrackConfig.from_name

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        # TFDS guesses this from the module's name, which is wrong where the
        # package is installed in place.
        cls.pkg_dir_path = epath.Path(inspect.getfile(cls)).parent

    def __init__(self, **kwargs):
        kwargs.setdefault("file_format", "array_record")
        super().__init__(**kwargs)
        self.notes = []

    def note_counts(self, splits, counts, prefix=""):
        """Notes splits of another size than the full release's, `counts`."""
        self.notes += [
            f"{prefix}{split} has {len(splits[split])} tracks; the full "
            f"release has {count}"
            for split, count in counts.items()
            if len(splits[split]) != count
        ]

    def _info(self):
        text, integer = tfds.features.Text, tfds.features.Scalar
        integers = ("start", "num_samples", "sample_rate", "num_channels")
        # TFDS' Text is any bytes; nothing asks for valid UTF-8.
        features = {
            "track": text(),
            **{name: integer(np.int64) for name in integers},
            "stems": {
                stem: {"subtype": text(), "data": text()} for stem in self.STEMS
            },
        }
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features),
            homepage=self.HOMEPAGE,
            supervised_keys=None,
            # The index needs records in the order of the tracks.
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(),
        )

    def _split_generators(self, dl_manager):
        manual_dir = pathlib.Path(dl_manager.manual_dir)
        splits, missing = self.find_tracks(manual_dir)
        missing += [
            f"no tracks for the split {split}"
            for split, tracks in splits.items()
            if not tracks
        ]
        entries, unusable = _probe(splits)
        if missing:
            raise FolderError(
                f"{manual_dir} is incomplete:", missing + unusable
            )
        if unusable:
            raise FolderError(
                _count(unusable, "file") + " cannot be used", unusable
            )
        storage = self.builder_config.storage
        for tracks in entries.values():
            record = 0
            for entry in tracks:
                entry["record"] = record
                length = _piece_length(entry, storage)
                record += -(-entry["num_samples"] // length)
        self.info.metadata["storage"] = storage
        self.info.metadata["tracks"] = entries
        # One list for all splits, so that every damaged file is named.
        damaged = []
        return {
            split: self._generate_examples(
                tracks, entries[split], damaged, split == list(splits)[-1]
            )
            for split, tracks in splits.items()
        }

    def _generate_examples(self, tracks, entries, damaged, is_last):
        empty = {stem: {"subtype": "", "data": b""} for stem in self.STEMS}
        storage = self.builder_config.storage
        key = 0
        for track, entry in zip(tracks, entries, strict=True):
            try:
                for record in _records(track, entry, storage):
                    record["stems"] = empty | record["stems"]
                    yield key, record
                    key += 1
            except TrackFileError as error:
                damaged.append(str(error))
        # TFDS then removes what it has written.
        if damaged and is_last:
            raise FolderError(_count(damaged, "damaged file"), damaged)


def _probe(splits):
    """Entries of all tracks, `{split: list of dict}`, and what is wrong."""
    entries, problems = {split: [] for split in splits}, []
    tracks = [(split, track) for split in splits for track in splits[split]]
    for split, track in tqdm_utils.tqdm(
        tracks, desc="Checking files", unit=" tracks", leave=False
    ):
        try:
            entries[split].append(probe_track(track))
        except FolderError as error:
            problems += error.problems
    kinds = [
        (entry["name"], (entry["sample_rate"], entry["num_channels"]))
        for split in entries.values()
        for entry in split
    ]
    usual = collections.Counter(kind for _, kind in kinds).most_common(1)
    problems += [
        "track {}: {} Hz, {} channel(s); most have {} Hz, {} channel(s)".format(
            name, *kind, *usual[0][0]
        )
        for name, kind in kinds
        if kind != usual[0][0]
    ]
    return entries, problems


def _count(items, noun):
    return f"{len(items)} {noun}{'s' if len(items) > 1 else ''}"


def _piece_length(entry, storage):
    """Samples of a record: all of the track's, or a second."""
    return entry["num_samples" if storage == "paths" else "sample_rate"]


def _records(track, entry, storage):
    """The records of a track.

    Raises:
        TrackFileError: if a file is damaged, breaks off or has changed.
    """
    length, samples = _piece_length(entry, storage), entry["num_samples"]
    with contextlib.ExitStack() as stack:
        if storage == "segments":
            files = {
                stem: stack.enter_context(open_audio(path))
                for stem, path in track.paths.items()
            }
        for start in range(0, samples, length):
            stop = min(start + length, samples)
            stems = {}
            for stem, subtype in entry["subtypes"].items():
                if storage == "paths":
                    data = os.fsencode(track.paths[stem].absolute())
                else:
                    data = pack(read_frames(files[stem], start, stop), subtype)
                stems[stem] = {"subtype": subtype, "data": data}
            yield {
                "track": entry["name"],
                "start": start,
                "num_samples": stop - start,
                "sample_rate": entry["sample_rate"],
                "num_channels": entry["num_channels"],
                "stems": stems,
            }
