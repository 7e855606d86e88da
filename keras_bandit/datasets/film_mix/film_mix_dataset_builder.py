"""Film mixes: tracks in DnR's manner from folders of sounds, or from none."""

import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils import tqdm_utils

from keras_bandit.data.film_mixer import FOLDERS, mix_film_tracks
from keras_bandit.data.stored_tracks import STORAGES
from keras_bandit.data.track_builder import TrackBuilder, TrackConfig
from keras_bandit.data.track_files import (
    FolderError,
    find_splits,
    subfolders,
)

SOUND_FOLDERS = ("speech", "music", "effects")
MIXED = "mixed"
"""Where mixtures go, below the folder with the sounds."""

COUNTS = {"train": 70, "validation": 10, "test": 20}
"""Tracks of each split: 4.2 GB if they have 60 s."""


class Builder(TrackBuilder):
    """TFDS builder of film mixes.

    Attributes:
        mixing: dict, arguments of `mix_film_tracks` that differ from its
            defaults and from `COUNTS`. Not looked at where the folder holds
            tracks and no sounds.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}
    BUILDER_CONFIGS = [TrackConfig.from_name(name) for name in STORAGES]
    STEMS = ("mixture", "speech", "music", "effects")
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    Nothing is downloaded. Give one of these as manual directory:

    - a folder with the folders speech, music and effects, full of audio files
      of any rate (wav, flac, mp3, …). Where one of the three is missing, its
      sounds are generated.
    - an empty folder: all sounds are generated.
    - a folder that is mixed already, with tr, cv and tt, each with folders of
      mix.wav, speech.wav, music.wav and sfx.wav.

        keras-bandit prepare film_mix --manual-dir sounds --data-dir data

    Mixtures are written to the folder mixed in the manual directory, in DnR
    v2's layout. The config paths reads them there, so keep them.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.mixing = {}

    def find_tracks(self, manual_dir):
        home = self._mixed(manual_dir)
        return find_splits(
            home,
            {s: f for s, f in FOLDERS.items() if (home / f).is_dir()},
            {
                "mixture": ("mix",),
                "speech": ("speech",),
                "music": ("music",),
                "effects": ("sfx",),
            },
            suffixes=(".wav", ".flac"),
        )

    def _mixed(self, manual_dir):
        """The folder with the tracks, mixed first if they are not there."""
        folders = {path.name for path in subfolders(manual_dir)}
        if folders & set(FOLDERS.values()):
            return manual_dir
        sounds = folders & set(SOUND_FOLDERS)
        if not sounds and any(manual_dir.iterdir()) and MIXED not in folders:
            raise FolderError(
                f"{manual_dir} has neither sounds ({', '.join(SOUND_FOLDERS)})"
                f" nor tracks ({', '.join(FOLDERS.values())}), and is not "
                "empty"
            )
        with tqdm_utils.tqdm(desc="Mixing", unit=" tracks") as bar:

            def show(done, total):
                bar.total, bar.n = total, done
                bar.refresh()

            mix_film_tracks(
                manual_dir / MIXED,
                **{
                    "counts": COUNTS,
                    "progress": show,
                    **{f"{name}_dir": manual_dir / name for name in sounds},
                    **self.mixing,
                },
            )
        return manual_dir / MIXED
