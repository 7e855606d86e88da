"""MUSDB18-HQ: 150 songs in stereo with vocals, drums, bass and the rest.

Rafii et al. 2019, DOI 10.5281/zenodo.3338373.
"""

import tensorflow_datasets as tfds

from keras_bandit.data.stored_tracks import STORAGES
from keras_bandit.data.track_builder import TrackBuilder, TrackConfig
from keras_bandit.data.track_files import FolderError, find_splits

STEMS = ("mixture", "vocals", "drums", "bass", "other")
COUNTS = {"train": 86, "validation": 14, "test": 50}

VALIDATION_TRACKS = (
    "ANiMAL - Rockshow",
    "Actions - One Minute Smile",
    "Alexander Ross - Goodbye Bolero",
    "Clara Berry And Wooldog - Waltz For My Victims",
    "Fergessen - Nos Palpitants",
    "James May - On The Line",
    "Johnny Lokke - Promises & Lies",
    "Leaf - Summerghost",
    "Meaxic - Take A Step",
    "Patrick Talbot - A Reason To Leave",
    "Skelpolu - Human Mistakes",
    "Traffic Experiment - Sirens",
    "Triviul - Angelsaint",
    "Young Griffo - Pennies",
)
"""Songs of the folder `train` that the literature validates on."""


class Builder(TrackBuilder):
    """TFDS builder of MUSDB18-HQ."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}
    HOMEPAGE = "https://sigsep.github.io/datasets/musdb.html"
    BUILDER_CONFIGS = [TrackConfig.from_name(name) for name in STORAGES]
    STEMS = STEMS
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    Download musdb18hq.zip (22.7 GB) from https://zenodo.org/records/3338373,
    unpack it, and give the folder with train and test as manual directory:

        unzip musdb18hq.zip -d musdb18hq
        keras-bandit prepare musdb18_hq --manual-dir musdb18hq --data-dir data

    The compressed MUSDB18 (.stem.mp4 files) is another dataset.
    """

    def find_tracks(self, manual_dir):
        if not any((manual_dir / name).is_dir() for name in ("train", "test")):
            raise FolderError(
                f"{manual_dir} is not MUSDB18-HQ: it lacks the folders "
                "train, test"
            )
        found, problems = find_splits(
            manual_dir,
            {"train": "train", "test": "test"},
            {stem: (stem,) for stem in STEMS},
            suffixes=(".wav",),
        )
        splits = {"train": [], "validation": [], "test": found["test"]}
        for track in found["train"]:
            held_out = track.name in VALIDATION_TRACKS
            splits["validation" if held_out else "train"].append(track)
        self.note_counts(splits, COUNTS)
        # A song under another name would be trained on.
        there = {track.name for track in splits["validation"]}
        absent = [name for name in VALIDATION_TRACKS if name not in there]
        if absent:
            self.notes.append(f"validation lacks {', '.join(absent)}")
        return splits, problems
