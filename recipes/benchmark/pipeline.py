"""The input pipeline: crops per second, from every storage.

The authors' code crops DnR v2 from float32 memory maps, made by copying the
whole set; so does one row here.
"""

import statistics
import time
from pathlib import Path

import numpy as np
import soundfile

from keras_bandit.data.film_clip import film_clip

FILE_NAMES = {"mixture": "mix", "effects": "sfx"}
FILE_NAMES |= {stem: stem for stem in ("speech", "music")}
# Rates of the releases of DnR, and their folders, that for training first.
RELEASES = {
    "v2": (44100, ("tr", "cv", "tt")),
    "v3": (48000, ("train", "val", "test")),
}
BATCH = 2


def make_files(folder, release, case):
    """Writes tracks like those of a release of DnR.

    For v2 each stem is 16-bit `.wav` and float32 `.npy`, for v3 24-bit
    `.flac`. Each track is one clip, rolled by another amount for each stem:
    PCM does not care for the content, FLAC needs something like sound.
    """
    rate, splits = RELEASES[release]
    samples = round(case["track_seconds"] * rate)
    clip = film_clip(min(case["track_seconds"], 12), rate)
    rng = np.random.default_rng(0)
    for split in splits:
        count = case["pipeline_tracks"] if split == splits[0] else 1
        for track in (folder / split / f"{i:04d}" for i in range(count)):
            track.mkdir(parents=True)
            stems = {}
            for stem, x in clip.items():
                rolled = np.roll(x[0], rng.integers(x.shape[1]))
                # A third: rolled against each other, stems may add up.
                stems[stem] = np.resize(rolled / 3, samples)
            stems["mixture"] = sum(stems.values())
            for stem, x in stems.items():
                path = track / FILE_NAMES[stem]
                if release == "v3":
                    path = path.with_suffix(".flac")
                    soundfile.write(path, x, rate, subtype="PCM_24")
                    continue
                x = np.rint(x * 32767).astype("int16")
                soundfile.write(path.with_suffix(".wav"), x, rate)
                np.save(
                    path.with_suffix(".npy"), x[None].astype("float32") / 32768
                )


class MemoryMaps:
    """Batches cropped from `.npy` files, as the authors' loader does it.

    The bare reads: no checks, no shuffled order, no grain.
    """

    def __init__(self, folder, samples):
        self.folders, self.samples = sorted(folder.iterdir()), samples

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        crops = {stem: [] for stem in FILE_NAMES}
        for _ in range(BATCH):
            folder = self.folders[rng.integers(len(self.folders))]
            start = None
            for stem, name in FILE_NAMES.items():
                audio = np.load(folder / f"{name}.npy", mmap_mode="r")
                if start is None:
                    start = rng.integers(audio.shape[1] - self.samples)
                crops[stem].append(audio[:, start : start + self.samples])
        return {stem: np.stack(parts) for stem, parts in crops.items()}


def batch_seconds(batches, first, count):
    """CPU seconds of making a batch in one thread."""
    before = time.process_time()
    for index in range(first, first + count):
        batches[index]
    return (time.process_time() - before) / count


class Pipeline:
    """Datasets like DnR, prepared in every storage, `{name: batches}`."""

    def __init__(self, case):
        from keras_bandit.data import open_tracks, random_crops
        from keras_bandit.data.prepare import prepare

        self.case, self.datasets = case, {}
        home, seconds = Path(case["scratch"]), case["crop_seconds"]
        for release in case["releases"]:
            make_files(home / release, release, case)
            rate, (train, *_) = RELEASES[release]
            if release == "v2":
                self.datasets["memory maps"] = MemoryMaps(
                    home / release / train, round(seconds * rate)
                )
            for storage in ("paths", "segments"):
                config = f"{release}_{storage}"
                prepare("dnr", home / release, home / "prepared", config)
                tracks = open_tracks("dnr", "train", home / "prepared", config)
                self.datasets[f"{release} {storage}"] = random_crops(
                    tracks, ["speech", "music", "effects"], seconds, BATCH
                )

    def crops(self):
        """Crops per second of one core, `{name: number}`.

        Medians over turns in which all take part; the first warms up.
        """
        count = self.case["pipeline_batches"]
        times = {name: [] for name in self.datasets}
        for turn in range(self.case["turns"] + 1):
            for name, batches in self.datasets.items():
                seconds = batch_seconds(batches, turn * count, count)
                times[name].append(seconds)
        return {
            name: BATCH / statistics.median(seconds[1:])
            for name, seconds in times.items()
        }
