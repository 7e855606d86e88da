"""The input pipeline: track reads, random crops, and `fit` with and without.

The authors' code crops DnR v2 from float32 memory maps, made by copying the
whole set; so does one row here.
"""

import statistics
import time
from pathlib import Path

import numpy as np
import soundfile

from keras_bandit.data.film_clip import film_clip

FILE_NAMES = {
    "mixture": "mix",
    "speech": "speech",
    "music": "music",
    "effects": "sfx",
}
STEMS = ["speech", "music", "effects"]
# Rates of the releases of DnR, and their folders, that for training first.
RELEASES = {
    "v2": (44100, ("tr", "cv", "tt")),
    "v3": (48000, ("train", "val", "test")),
}


def make_files(folder, release, case):
    """Writes tracks like those of a release of DnR.

    Each is one clip, rolled by another amount for each stem: PCM does not care
    for the content, FLAC needs something like sound.

    Args:
        folder: path, to which folders of splits and tracks are made: for v2
            each stem as 16-bit `.wav` and as float32 `.npy`, for v3 as 24-bit
            `.flac`.
        release: str, of `RELEASES`.
        case: dict with `pipeline_tracks` and `track_seconds`.
    """
    rate, splits = RELEASES[release]
    samples = round(case["track_seconds"] * rate)
    clip = film_clip(min(case["track_seconds"], 12), rate)
    repeats = -(-samples // clip["speech"].shape[1])
    rng = np.random.default_rng(0)
    counts = (case["pipeline_tracks"], 1, 1)
    for split, count in zip(splits, counts, strict=True):
        for track in (folder / split / f"{i:04d}" for i in range(count)):
            track.mkdir(parents=True)
            # A third: rolled against each other, stems may add up.
            stems = {
                stem: np.roll(
                    np.tile(x / 3, repeats), rng.integers(x.shape[1]), -1
                )[:, :samples]
                for stem, x in clip.items()
            }
            stems["mixture"] = sum(stems.values())
            for stem, x in stems.items():
                path = track / FILE_NAMES[stem]
                if release == "v3":
                    path = path.with_suffix(".flac")
                    soundfile.write(path, x.T, rate, subtype="PCM_24")
                    continue
                x = np.rint(x * 32767)
                path = path.with_suffix(".wav")
                soundfile.write(path, x.T.astype("int16"), rate)
                np.save(path.with_suffix(".npy"), x.astype("float32") / 32768)


class MemoryMaps:
    """Batches cropped from `.npy` files, as the authors' loader does it.

    The bare reads: no checks, no shuffled order, no grain.

    Args:
        folder: path of the training split.
        samples: int. Length of a crop.
        batch_size: int.
    """

    def __init__(self, folder, samples, batch_size):
        self.folders = sorted(folder.iterdir())
        self.samples = samples
        self.batch_size = batch_size

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        crops = {stem: [] for stem in FILE_NAMES}
        for _ in range(self.batch_size):
            folder = self.folders[rng.integers(len(self.folders))]
            start = None
            for stem, name in FILE_NAMES.items():
                audio = np.load(folder / f"{name}.npy", mmap_mode="r")
                if start is None:
                    start = rng.integers(audio.shape[1] - self.samples)
                crops[stem].append(audio[:, start : start + self.samples])
        return {stem: np.stack(parts) for stem, parts in crops.items()}


def read_seconds(tracks, seconds, count):
    """CPU seconds of reading a crop of one stem."""
    samples = round(seconds * tracks[0].sample_rate)
    rng = np.random.default_rng(1)
    before = time.process_time()
    for _ in range(count):
        track = tracks[rng.integers(len(tracks))]
        start = int(rng.integers(track.num_samples - samples))
        track.read("music", start, start + samples)
    return (time.process_time() - before) / count


def batch_seconds(batches, first, count):
    """CPU seconds of making a batch in one thread."""
    before = time.process_time()
    for index in range(first, first + count):
        batches[index]
    return (time.process_time() - before) / count


class Pipeline:
    """Datasets like DnR, prepared in every storage; `crops` and `fit` time them.

    Args:
        case: dict, see CONFIG of `__main__`.
    """

    def __init__(self, case):
        from keras_bandit.data import open_tracks, random_crops
        from keras_bandit.data.prepare import prepare

        self.case = case
        home = Path(case["scratch"])
        size, seconds = case["pipeline_batch"], case["crop_seconds"]
        self.datasets = {}  # {name: (tracks or None, batches by index)}
        for release in case["releases"]:
            make_files(home / release, release, case)
            rate, (train, *_) = RELEASES[release]
            if release == "v2":
                maps = MemoryMaps(
                    home / release / train, round(seconds * rate), size
                )
                self.datasets["memory maps"] = None, maps
            for storage in case["storages"]:
                config = f"{release}_{storage}"
                prepare("dnr", home / release, home / "prepared", config)
                tracks = open_tracks("dnr", "train", home / "prepared", config)
                crops = random_crops(tracks, STEMS, seconds, size)
                self.datasets[f"{release} {storage}"] = tracks, crops

    def crops(self):
        """Medians over turns in which all take part; the first warms up.

        Returns:
            `{name: {"crops_per_second_and_core": …, "read_ms": …}}`.
        """
        case, count = self.case, self.case["pipeline_batches"]
        times = {name: ([], []) for name in self.datasets}
        for turn in range(case["turns"] + 1):
            for name, (tracks, batches) in self.datasets.items():
                making, reading = times[name]
                making.append(batch_seconds(batches, turn * count, count))
                if tracks is not None:
                    seconds = case["crop_seconds"]
                    reading.append(read_seconds(tracks, seconds, count))
        return {
            name: {
                "crops_per_second_and_core": case["pipeline_batch"]
                / statistics.median(making[1:]),
                "read_ms": 1e3 * statistics.median(reading[1:])
                if reading
                else None,
            }
            for name, (making, reading) in times.items()
        }

    def fit(self):
        """Seconds per step of `fit` with the pipeline, and without.

        Without: the same batches, held in memory. Both take turns, after a
        first `fit`, which compiles. If a step never waits for data, the wall
        time is the same, as long as other programs are as busy in both turns.
        CPU time, all threads together, does not depend on them: its ratio is
        what the pipeline would cost if no core were left for it.

        Returns:
            `{clock: {"pipeline": …, "in memory": …, "ratio": …}}`.
        """
        import grain

        from keras_bandit.losses import L1SNR
        from keras_bandit.models import BanditAudioSeparator

        crops = self.datasets["v2 paths"][1]
        steps = self.case["fit_steps"]
        held = grain.MapDataset.source([crops[i] for i in range(steps)])
        datasets = {"pipeline": crops[:steps], "in memory": held}
        # So small that data has to come fast.
        sizes = {"embed_dim": 16, "rnn_dim": 16, "num_pairs": 1}
        model = BanditAudioSeparator.from_architecture(
            {"num_bands": 16, **sizes}, {"stems": STEMS, "mlp_dim": 16}
        )
        model.compile(optimizer="adam", loss=L1SNR())
        model.fit(held, verbose=0)
        clocks = {"wall": time.perf_counter, "cpu": time.process_time}
        times = {clock: {name: [] for name in datasets} for clock in clocks}
        for _ in range(self.case["turns"]):
            for name, data in datasets.items():
                before = {clock: now() for clock, now in clocks.items()}
                model.fit(data, verbose=0)
                for clock, now in clocks.items():
                    seconds = (now() - before[clock]) / steps
                    times[clock][name].append(seconds)
        medians = {
            clock: {name: statistics.median(x) for name, x in found.items()}
            for clock, found in times.items()
        }
        for found in medians.values():
            found["ratio"] = found["pipeline"] / found["in memory"]
        return medians
