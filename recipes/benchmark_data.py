"""Time the input pipeline: track reads, random crops, and fit() with and without.

Paper: Watcharasupat et al. 2023, arXiv:2309.02539, whose code crops DnR v2 from
    float32 memory maps made by copying the whole set; so does one row here.
Command: python recipes/benchmark_data.py --json times.json
    (needs the extras: pip install 'keras-bandit[datasets,grain]')
Hardware: any; 4 GB of disk and as much page cache, less with --no-v3. Numbers
    per core come from the CPU time of one thread, so that other programs disturb
    them little.
Time: with --no-fit four minutes on 2 cores that other programs shared, 85 s of
    CPU time; with fit() and --no-v3 about three on 2 cores.
Expected score: at least 150 crops/s per core from `paths` and 80 from
    `segments`, `paths` not slower than memory maps, and fit() not slower than
    with the same batches held in memory; docs/performance.md has what was found.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from pathlib import Path

import grain
import keras
import numpy as np
import soundfile

import keras_bandit
from keras_bandit.data import film_clip, open_tracks, random_crops
from keras_bandit.data.prepare import prepare
from keras_bandit.losses import L1SNR
from keras_bandit.models import BanditAudioSeparator, BanditBackbone

CONFIG = {
    "stems": ["speech", "music", "effects"],
    "sample_rate": 44100,
    # Of tracks like those of DnR v3, or None: without them.
    "v3_sample_rate": 48000,
    "tracks": 24,
    "track_seconds": 60,
    "crop_seconds": 6.0,
    "batch_size": 2,
    "storages": ["paths", "segments"],
    "batches": 40,
    "rounds": 5,
    "steps": 8,
    "fit_rounds": 5,
    "model": {
        "band_layout": "musical",
        "num_bands": 16,
        "n_fft": 2048,
        "embed_dim": 16,
        "rnn_dim": 16,
        "num_pairs": 1,
    },
    "hop_length": 512,
    "mlp_dim": 16,
}

FILE_NAMES = {
    "mixture": "mix",
    "speech": "speech",
    "music": "music",
    "effects": "sfx",
}


def make_tracks(folder, splits, sample_rate, config):
    """Makes tracks of one clip, rolled by another amount for each stem.

    Of PCM, the content makes no difference; FLAC needs something like sound.

    Args:
        folder: path, to which folders of tracks are made.
        splits: names of the splits' folders, that for training first.
        sample_rate: int. Hz.
        config: dict as `CONFIG`.

    Yields:
        `(path, {stem: (1, samples)})` of each track, within ±1.
    """
    samples = config["track_seconds"] * sample_rate
    clip = film_clip(min(config["track_seconds"], 12), sample_rate)
    repeats = -(-samples // clip["speech"].shape[1])
    rng = np.random.default_rng(0)
    counts = [config["tracks"], 1, 1]
    splits = zip(splits, counts, strict=True)
    for split, number in ((s, i) for s, count in splits for i in range(count)):
        track = folder / split / f"{number:04d}"
        track.mkdir(parents=True)
        # A third: rolled against each other, stems may add up.
        stems = {
            stem: np.roll(
                np.tile(x / 3, repeats), rng.integers(x.shape[1]), -1
            )[:, :samples]
            for stem, x in clip.items()
        }
        yield track, {"mixture": sum(stems.values()), **stems}


def make_files(folder, config):
    """Writes tracks like those of DnR, and v2's as memory maps.

    Args:
        folder: path, to which `tr/…`, `cv/…` and `tt/…` are written, each
            stem as 16-bit `.wav` and as float32 `.npy`; and `v3/train/…`,
            `val` and `test` as 24-bit `.flac`, if there is a rate for it.
        config: dict as `CONFIG`.
    """
    rate, splits = config["sample_rate"], ("tr", "cv", "tt")
    for track, stems in make_tracks(folder, splits, rate, config):
        for stem, x in stems.items():
            samples = np.rint(x * 32767)
            path = track / f"{FILE_NAMES[stem]}.wav"
            soundfile.write(path, samples.T.astype("int16"), rate)
            np.save(path.with_suffix(".npy"), samples.astype("float32") / 32768)
    rate, splits = config["v3_sample_rate"], ("train", "val", "test")
    if rate is None:
        return
    for track, stems in make_tracks(folder / "v3", splits, rate, config):
        for stem, x in stems.items():
            path = track / f"{FILE_NAMES[stem]}.flac"
            soundfile.write(path, x.T, rate, subtype="PCM_24")


class MemoryMaps:
    """Batches cropped from `.npy` files, as the authors' loader does it.

    The bare reads: no checks, no shuffled order, no grain.
    """

    def __init__(self, folder, config):
        self.folders = sorted((folder / "tr").iterdir())
        self.config = config
        self.samples = round(config["crop_seconds"] * config["sample_rate"])

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        crops = {stem: [] for stem in FILE_NAMES}
        for _ in range(self.config["batch_size"]):
            folder = self.folders[rng.integers(len(self.folders))]
            start = None
            for stem, name in FILE_NAMES.items():
                audio = np.load(folder / f"{name}.npy", mmap_mode="r")
                if start is None:
                    start = rng.integers(audio.shape[1] - self.samples)
                crops[stem].append(audio[:, start : start + self.samples])
        return {stem: np.stack(parts) for stem, parts in crops.items()}


def make_datasets(folder, config):
    """`{name: (tracks or None, batches by index)}` of everything timed."""
    datasets = {"memory maps": (None, MemoryMaps(folder, config))}
    sources = [("", folder, "v2")]
    if config["v3_sample_rate"]:
        sources.append(("v3 ", folder / "v3", "v3"))
    for prefix, manual_dir, release, storage in (
        (*source, storage)
        for source in sources
        for storage in config["storages"]
    ):
        data_dir = folder / "prepared"
        prepare("dnr", manual_dir, data_dir, f"{release}_{storage}")
        tracks = open_tracks("dnr", "train", data_dir, f"{release}_{storage}")
        crops = random_crops(
            tracks,
            config["stems"],
            config["crop_seconds"],
            config["batch_size"],
        )
        datasets[prefix + storage] = tracks, crops
    return datasets


def time_reads(tracks, config, count):
    """Milliseconds of CPU time per read of a crop of one stem."""
    samples = round(config["crop_seconds"] * tracks[0].sample_rate)
    rng = np.random.default_rng(1)
    before = time.process_time()
    for _ in range(count):
        track = tracks[rng.integers(len(tracks))]
        start = int(rng.integers(track.num_samples - samples))
        track.read("music", start, start + samples)
    return 1e3 * (time.process_time() - before) / count


def time_crops(batches, config, first):
    """Crops per second of CPU time in one thread."""
    before = time.process_time()
    for index in range(first, first + config["batches"]):
        batches[index]
    elapsed = time.process_time() - before
    return config["batch_size"] * config["batches"] / elapsed


def benchmark_reads(datasets, config):
    """Medians over rounds in which all take turns; the first one warms up.

    Returns:
        `{name: {"crops_per_second_and_core": …, "read_ms": …}}`.
    """
    speeds = {name: [] for name in datasets}
    reads = {name: [] for name in datasets}
    for turn in range(config["rounds"] + 1):
        for name, (tracks, batches) in datasets.items():
            first = turn * config["batches"]
            speeds[name].append(time_crops(batches, config, first))
            if tracks is not None:
                reads[name].append(
                    time_reads(tracks, config, config["batches"])
                )
    return {
        name: {
            "crops_per_second_and_core": statistics.median(speeds[name][1:]),
            "read_ms": statistics.median(reads[name][1:])
            if reads[name]
            else None,
        }
        for name in datasets
    }


def build(config):
    """A compiled separator so small that data has to come fast."""
    backbone = BanditBackbone(
        sample_rate=config["sample_rate"], **config["model"]
    )
    model = BanditAudioSeparator(
        backbone,
        config["stems"],
        hop_length=config["hop_length"],
        mlp_dim=config["mlp_dim"],
    )
    model.compile(optimizer="adam", loss=L1SNR())
    return model


def benchmark_fit(crops, config):
    """Seconds per step of `fit`, with the pipeline and without.

    Without: the same batches, held in memory. Both take turns; the first
    `fit`, which compiles the model, is not counted. Of a step that never
    waits, the wall time is the same. It is if other programs are as busy in
    both turns; CPU time, all threads together, does not depend on them, and
    its ratio is what the pipeline would cost if no core were left for it.

    Returns:
        dict of medians, `{"wall": {name: seconds}, "cpu": …}`, and the ratio
        of each, `"wall_ratio"` and `"cpu_ratio"`.
    """
    steps = config["steps"]
    held = grain.MapDataset.source([crops[i] for i in range(steps)])
    datasets = {"pipeline": crops[:steps], "in memory": held}
    model = build(config)
    model.fit(held, verbose=0)
    clocks = {"wall": time.perf_counter, "cpu": time.process_time}
    times = {clock: {name: [] for name in datasets} for clock in clocks}
    for _ in range(config["fit_rounds"]):
        for name, data in datasets.items():
            before = {clock: now() for clock, now in clocks.items()}
            model.fit(data, verbose=0)
            for clock, now in clocks.items():
                times[clock][name].append((now() - before[clock]) / steps)
    results = {}
    for clock, by_name in times.items():
        medians = {name: statistics.median(x) for name, x in by_name.items()}
        results[clock] = medians
        results[f"{clock}_ratio"] = medians["pipeline"] / medians["in memory"]
    return results


def versions():
    """What was measured, for the record."""
    return {
        "keras_bandit": keras_bandit.__version__,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "grain": getattr(grain, "__version__", None),
        "numpy": np.__version__,
        "soundfile": soundfile.__version__,
        "python": platform.python_version(),
    }


def report(results, config):
    """Lines of the table that is printed."""
    crops = results["crops"]
    reference = crops["memory maps"]["crops_per_second_and_core"]
    yield (
        f"{config['crop_seconds']:g} s of {len(FILE_NAMES)} stems, "
        "one thread, CPU time"
    )
    yield f"{'':12} {'crops/s':>8} {'/ memory maps':>14} {'ms per read':>12}"
    for name, row in crops.items():
        speed, read = row["crops_per_second_and_core"], row["read_ms"]
        read = f"{read:12.2f}" if read is not None else ""
        yield f"{name:12} {speed:8.0f} {speed / reference:14.2f} {read}"
    for clock in ("wall", "cpu") if "fit" in results else ():
        seconds = results["fit"][clock]
        yield (
            f"fit, {clock} time: {seconds['pipeline']:.3f} s per step, "
            f"{seconds['in memory']:.3f} s with the same batches in memory, "
            f"ratio {results['fit'][f'{clock}_ratio']:.3f}"
        )


def main(argv=None, config=CONFIG):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write results here")
    parser.add_argument("--tracks", type=int, default=config["tracks"])
    parser.add_argument("--batches", type=int, default=config["batches"])
    parser.add_argument("--steps", type=int, default=config["steps"])
    parser.add_argument(
        "--no-fit", action="store_true", help="time reads and crops alone"
    )
    parser.add_argument(
        "--no-v3", action="store_true", help="without files like DnR v3's"
    )
    arguments = parser.parse_args(argv)
    for name in ("tracks", "batches", "steps"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name} must be at least 1")
    config = config | {
        name: getattr(arguments, name)
        for name in ("tracks", "batches", "steps")
    }
    if arguments.no_v3:
        config["v3_sample_rate"] = None
    results = {"versions": versions(), "config": config}
    with tempfile.TemporaryDirectory() as folder:
        make_files(Path(folder), config)
        datasets = make_datasets(Path(folder), config)
        results["crops"] = benchmark_reads(datasets, config)
        if not arguments.no_fit:
            results["fit"] = benchmark_fit(datasets["paths"][1], config)
    for line in report(results, config):
        print(line)
    text = json.dumps(results, indent=2)
    if arguments.json:
        arguments.json.write_text(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
