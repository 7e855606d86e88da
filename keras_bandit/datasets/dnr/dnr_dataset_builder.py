"""Divide and Remaster (DnR): speech, music and effects of film-like mixtures.

Version 2: Petermann et al. 2022, arXiv:2110.09958, fixed in 2022 (DOI
10.5281/zenodo.6949108). Version 3: Watcharasupat et al. 2024,
arXiv:2407.07275; the folders are those that the authors' generator writes
(kwatcharasupat/divide-and-remaster-v3, dnr-v3/src/dnr/io.py, 2632958).
"""

import dataclasses

import tensorflow_datasets as tfds

from keras_bandit.data.stored_tracks import PARTS, STORAGES
from keras_bandit.data.track_builder import TrackBuilder, TrackConfig
from keras_bandit.data.track_files import (
    FolderError,
    find_splits,
    subfolders,
)

# Subsets that the paper on version 3 names by ISO codes: languages, families
# of them, and all of them mixed. Others are accepted too.
_LANGUAGES = ("eng", "deu", "fao", "fra", "spa", "cmn")
_FAMILIES = ("inc", "dra", "bnt")
_SUBSETS = ("multi", *_LANGUAGES, *_FAMILIES)


@dataclasses.dataclass(frozen=True)
class _Release:
    """Where a version of DnR keeps its files.

    Args:
        folders: `{split: folder}`.
        counts: `{split: tracks in the full release}`; of version 3, of each
            subset.
        homes: folders below the manual directory where the splits may be.
        suffixes: suffixes of audio files.
        file_names: `{stem: names without suffix}`.
    """

    folders: dict
    counts: dict
    homes: tuple
    suffixes: tuple
    file_names: dict


RELEASES = {
    "v2": _Release(
        folders={"train": "tr", "validation": "cv", "test": "tt"},
        counts={"train": 3406, "validation": 487, "test": 973},
        homes=(".", "dnr_v2", "DnR/dnr_v2"),
        suffixes=(".wav", ".flac"),
        file_names={
            "mixture": ("mix",),
            "speech": ("speech",),
            "music": ("music",),
            "effects": ("sfx",),
        },
    ),
    "v3": _Release(
        folders={"train": "train", "validation": "val", "test": "test"},
        counts={"train": 6000, "validation": 600, "test": 1200},
        homes=(".", "flac", "audio"),
        suffixes=(".flac", ".wav"),
        file_names={
            "mixture": ("mixture", "mix"),
            "speech": ("speech",),
            "music": ("music",),
            "effects": ("sfx",),
            "effects_foreground": ("sfx_fg",),
            "effects_background": ("sfx_bg",),
        },
    ),
}


@dataclasses.dataclass(eq=False)
class DnrConfig(TrackConfig):
    """A version of DnR and how its tracks are stored.

    Args:
        storage: see `TrackConfig`.
        release: "v2" or "v3".
        subset: str. Folder of a subset of version 3, such as "eng"; `None`
            takes all that are there.
    """

    release: str = "v2"
    subset: str | None = None

    @classmethod
    def from_name(cls, name):
        """Makes a config from a name: "v2_paths", "v3_eng_segments".

        Raises:
            ValueError: for any other name.
        """
        release, *rest = name.split("_")
        *subset, storage = rest or [""]
        if (
            release not in RELEASES
            or storage not in STORAGES
            or (subset and release == "v2")
        ):
            raise ValueError(
                f"config must be v2_STORAGE, v3_STORAGE or v3_SUBSET_STORAGE "
                f"with STORAGE one of {', '.join(STORAGES)}; got {name!r}"
            )
        subset = "_".join(subset) or None
        return cls(
            name=name,
            description=f"DnR {name.replace('_', ', ')}",
            storage=storage,
            release=release,
            subset=subset,
        )


class Builder(TrackBuilder):
    """TFDS builder of DnR v2 and v3."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}
    HOMEPAGE = "https://cocktail-fork.github.io"
    BUILDER_CONFIGS = [
        DnrConfig.from_name(f"{name}_{storage}")
        for name in ("v2", "v3", *(f"v3_{subset}" for subset in _SUBSETS))
        for storage in STORAGES
    ]
    STEMS = tuple(RELEASES["v3"].file_names)
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    Version 2: download all the parts dnr_v2.tar.gz.00, .01, … from
    https://zenodo.org/records/6949108 (about 10 GB each), then

        cat dnr_v2.tar.gz.* | tar xzf -

    and give the folder with tr, cv and tt (dnr_v2) as manual directory.

    Version 3: download the archives of the subsets you want from the records
    that https://github.com/kwatcharasupat/divide-and-remaster-v3 links,
    unpack them side by side, and give the folder with the subsets (eng, deu,
    multi, …), each with train, val and test, as manual directory.

        keras-bandit prepare dnr --manual-dir dnr_v2 --data-dir data
        keras-bandit prepare dnr --manual-dir dnr_v3 --data-dir data \\
            --config v3_eng_paths
    """

    make_config = DnrConfig.from_name

    def find_tracks(self, manual_dir):
        release = RELEASES[self.builder_config.release]
        splits, problems = {split: [] for split in release.folders}, []
        for prefix, home in self._homes(manual_dir, release):
            found, missing = find_splits(
                home,
                release.folders,
                release.file_names,
                release.suffixes,
                parts=PARTS,
                prefix=prefix,
            )
            problems += missing
            for split, tracks in found.items():
                splits[split] += tracks
            self.note_counts(found, release.counts, prefix)
        return splits, problems

    def _homes(self, manual_dir, release):
        """Folders that hold the splits, with the prefix of their tracks."""
        folders = release.folders.values()
        subset = self.builder_config.subset
        for home in (manual_dir / name for name in release.homes):
            if not home.is_dir():
                continue
            if subset:
                if (home / subset).is_dir():
                    return [("", home / subset)]
            elif any((home / folder).is_dir() for folder in folders):
                return [("", home)]
            elif self.builder_config.release == "v3":
                subsets = [
                    path
                    for path in subfolders(home)
                    if any((path / folder).is_dir() for folder in folders)
                ]
                if subsets:
                    return [(f"{path.name}/", path) for path in subsets]
        wanted = f"the subset {subset}, with " if subset else ""
        raise FolderError(
            f"{manual_dir} is not DnR {self.builder_config.release}: it lacks "
            f"{wanted}the folders {', '.join(folders)}"
        )
