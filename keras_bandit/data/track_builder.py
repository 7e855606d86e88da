"""The base of the TFDS builders in `datasets/`: tracks from files on disk."""

import collections
import dataclasses
import inspect

import tensorflow_datasets as tfds
from etils import epath
from tensorflow_datasets.core.utils import tqdm_utils

from keras_bandit.data import track_records
from keras_bandit.data.sample_formats import TrackFileError
from keras_bandit.data.track_files import FolderError, probe_track


@dataclasses.dataclass(eq=False)
class TrackConfig(tfds.core.BuilderConfig):
    """How tracks are stored.

    Args:
        storage: one of `track_records.STORAGES`.
    """

    storage: str = "paths"

    @classmethod
    def from_name(cls, name):
        """Makes a config from a name, here a storage alone.

        Raises:
            ValueError: for any other name.
        """
        if name not in track_records.STORAGES:
            raise ValueError(
                f"config must be one of {', '.join(track_records.STORAGES)}; "
                f"got {name!r}"
            )
        return cls(name=name, description=f"storage {name}", storage=name)


class TrackBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Stores tracks of several stems; subclasses say where the files are.

    No TensorFlow is needed to prepare or read: files are array_record, and
    records follow `track_records`. The index of tracks goes to
    `metadata.json`.

    Attributes:
        STEMS: tuple of str. Stems that a track can have.
        HOMEPAGE: str.
        make_config: function of a config's name; gives the config or raises
            ValueError.
        notes: list of str. What `find_tracks` found worth saying.
    """

    STEMS = ()
    HOMEPAGE = None
    make_config = TrackConfig.from_name

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        # TFDS guesses this from the module's name, wrong where the package
        # is installed in place.
        cls.pkg_dir_path = epath.Path(inspect.getfile(cls)).parent

    def __init__(self, **kwargs):
        kwargs.setdefault("file_format", "array_record")
        super().__init__(**kwargs)
        self.notes = []

    def find_tracks(self, manual_dir):
        """Finds the files, without opening them.

        Args:
            manual_dir: path.

        Returns:
            `{split: list of TrackFiles}`.

        Raises:
            FolderError: if the folder is wrong or incomplete.
        """
        raise NotImplementedError

    def note_counts(self, splits, counts, prefix=""):
        """Notes splits of another size than the full release's.

        Args:
            splits: `{split: list of TrackFiles}`.
            counts: `{split: int}`.
            prefix: str. Put before a split's name, such as a subset.
        """
        self.notes += [
            f"{prefix}{split} has {len(splits[split])} tracks; the full "
            f"release has {count}"
            for split, count in counts.items()
            if len(splits[split]) != count
        ]

    def _info(self):
        return self.dataset_info_from_configs(
            features=track_records.feature_specs(self.STEMS),
            homepage=self.HOMEPAGE,
            supervised_keys=None,
            # The index counts on records in the order of the tracks.
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(),
        )

    def _split_generators(self, dl_manager):
        splits = self.find_tracks(dl_manager.manual_dir)
        infos = _probe(splits)
        self.info.metadata["storage"] = self.builder_config.storage
        self.info.metadata["tracks"] = {
            split: self._index(infos[split]) for split in splits
        }
        # One list for all splits: every damaged file is named, not the first.
        damaged = []
        return {
            split: self._generate_examples(
                tracks, infos[split], damaged, split == list(splits)[-1]
            )
            for split, tracks in splits.items()
        }

    def _index(self, infos):
        entries, record = [], 0
        for info in infos:
            entries.append({**dataclasses.asdict(info), "record": record})
            record += track_records.num_records(
                info, self.builder_config.storage
            )
        return entries

    def _generate_examples(self, tracks, infos, damaged, is_last):
        empty = {stem: {"subtype": "", "data": b""} for stem in self.STEMS}
        key = 0
        for track, info in zip(tracks, infos, strict=True):
            try:
                for record in track_records.make_records(
                    track, info, self.builder_config.storage
                ):
                    record["stems"] = {**empty, **record["stems"]}
                    yield key, record
                    key += 1
            except TrackFileError as error:
                damaged.append(str(error))
        # TFDS then removes what it has written.
        if damaged and is_last:
            raise FolderError(_count(damaged, "damaged file"), damaged)


def _probe(splits):
    """`{split: list of TrackInfo}`; raises if any track cannot be used."""
    infos, problems = collections.defaultdict(list), []
    tracks = [(split, track) for split in splits for track in splits[split]]
    for split, track in tqdm_utils.tqdm(
        tracks, desc="Checking files", unit=" tracks", leave=False
    ):
        try:
            infos[split].append(probe_track(track))
        except FolderError as error:
            problems += error.problems
    problems += _strangers([info for split in infos for info in infos[split]])
    if problems:
        raise FolderError(
            _count(problems, "file") + " cannot be used", problems
        )
    return infos


def _strangers(infos):
    """Names the tracks whose rate or channels are not those of most."""
    kinds = collections.Counter(
        (info.sample_rate, info.num_channels) for info in infos
    )
    usual = kinds.most_common(1)[0][0] if kinds else None
    return [
        f"track {info.name}: {info.sample_rate} Hz, {info.num_channels} "
        f"channel(s); most have {usual[0]} Hz, {usual[1]} channel(s)"
        for info in infos
        if (info.sample_rate, info.num_channels) != usual
    ]


def _count(items, noun):
    return f"{len(items)} {noun}{'s' if len(items) > 1 else ''}"


def check_splits(splits, problems, manual_dir):
    """Raises unless every split has tracks and all tracks are complete.

    Args:
        splits: `{split: list of TrackFiles}`.
        problems: list of str. What is missing.
        manual_dir: path, for the message.

    Raises:
        FolderError: naming everything that is missing.
    """
    problems = list(problems)
    problems += [
        f"no tracks for the split {split}"
        for split, tracks in splits.items()
        if not tracks
    ]
    if problems:
        # Whoever has to mend it shall hear of everything at once.
        try:
            _probe(splits)
        except FolderError as error:
            problems += error.problems
        raise FolderError(f"{manual_dir} is incomplete:", problems)
