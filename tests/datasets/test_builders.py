"""TFDS' own test of the builders, on generated files."""

import pathlib
import tempfile

import numpy as np
import pytest
import soundfile
import tensorflow_datasets as tfds

from keras_bandit.datasets.dnr import dnr_dataset_builder as dnr
from keras_bandit.datasets.film_mix import film_mix_dataset_builder as film_mix
from keras_bandit.datasets.musdb18_hq import (
    musdb18_hq_dataset_builder as musdb18_hq,
)

pytestmark = pytest.mark.once

NUM_SAMPLES = 1500  # a second and a half
RATE = 1000


def write_tracks(root, folders, names, suffix, num_channels=1):
    """Writes tracks of noise, each its own; returns the root."""
    for number, folder in enumerate(folders):
        rng = np.random.default_rng(number)
        (root / folder).mkdir(parents=True)
        for name in names:
            audio = rng.uniform(-1, 1, (NUM_SAMPLES, num_channels))
            soundfile.write(root / folder / f"{name}{suffix}", audio, RATE)
    return root


class BuilderTest(tfds.testing.DatasetBuilderTestCase):
    """What the cases share; `write` makes the manual directory."""

    # These builders read files of the user's disk with soundfile.
    MOCK_OUT_FORBIDDEN_OS_FUNCTIONS = False
    __test__ = False

    def __init_subclass__(cls):
        cls.__test__ = True

    def _make_builder(self, config=None):
        # tf.data does not read array_record, and this test reads with it.
        return self.dataset_class(
            data_dir=self.tmp_dir, config=config, file_format="tfrecord"
        )

    @classmethod
    def setUpClass(cls):
        cls._directory = tempfile.TemporaryDirectory()
        cls.EXAMPLE_DIR = cls.write(pathlib.Path(cls._directory.name))
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls._directory.cleanup()


class DnrTest(BuilderTest):
    DATASET_CLASS = dnr.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["v2_paths"]
    SPLITS = {"train": 3, "validation": 1, "test": 2}

    @staticmethod
    def write(root):
        folders = ["tr/1", "tr/2", "tr/3", "cv/4", "tt/5", "tt/6"]
        names = ["mix", "speech", "music", "sfx"]
        return write_tracks(root, folders, names, ".wav")


class DnrSegmentsTest(DnrTest):
    BUILDER_CONFIG_NAMES_TO_TEST = ["v2_segments"]
    SPLITS = {"train": 6, "validation": 2, "test": 4}


class Dnr3Test(BuilderTest):
    """All subsets that are there, with and without the effects' layers."""

    DATASET_CLASS = dnr.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["v3_paths"]
    SPLITS = {"train": 2, "validation": 2, "test": 2}

    @staticmethod
    def write(root):
        splits = ("train", "val", "test")
        names = ["mixture", "speech", "music", "sfx"]
        layers = ["sfx_fg", "sfx_bg"]
        folders = [f"flac/deu/{split}/000000" for split in splits]
        write_tracks(root, folders, names + layers, ".flac")
        folders = [f"flac/eng/{split}/000000" for split in splits]
        return write_tracks(root, folders, names, ".flac")


class MusdbTest(BuilderTest):
    DATASET_CLASS = musdb18_hq.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["paths"]
    SPLITS = {"train": 2, "validation": 14, "test": 1}

    @staticmethod
    def write(root):
        songs = [f"train/{name}" for name in musdb18_hq.VALIDATION_TRACKS]
        songs += ["train/A - B", "train/C & D - É", "test/E - F"]
        return write_tracks(root, songs, musdb18_hq.STEMS, ".wav", 2)


class FilmMixTest(BuilderTest):
    """Tracks that are mixed already; nothing is mixed."""

    DATASET_CLASS = film_mix.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["paths"]
    SPLITS = {"train": 1, "test": 1}

    @staticmethod
    def write(root):
        names = ["mix", "speech", "music", "sfx"]
        return write_tracks(root, ["tr/0", "tt/0"], names, ".wav")


@pytest.mark.parametrize("module", [dnr, film_mix, musdb18_hq])
def test_package_is_complete(module, tmp_path):
    """What TFDS asks of a builder's folder, and what a person needs."""
    folder = pathlib.Path(module.__file__).parent
    for name in ("README.md", "CITATIONS.bib", "TAGS.txt"):
        assert (folder / name).read_text().strip()
    info = module.Builder(data_dir=tmp_path).info
    assert info.description.startswith((folder / "README.md").read_text()[:30])
    assert "@" in info.citation
    text = module.Builder.MANUAL_DOWNLOAD_INSTRUCTIONS
    assert f"keras-bandit prepare {module.Builder.name}" in text


def test_validation_songs_are_no_others():
    assert len(set(musdb18_hq.VALIDATION_TRACKS)) == 14
    assert musdb18_hq.COUNTS == {"train": 86, "validation": 14, "test": 50}
    assert sum(musdb18_hq.COUNTS.values()) == 150


def test_configs_of_one_schema(tmp_path):
    features = [
        dnr.Builder(data_dir=tmp_path, config=name).info.features
        for name in dnr.Builder.builder_configs
    ]
    assert len(features) == 24
    assert all(repr(f) == repr(features[0]) for f in features)
