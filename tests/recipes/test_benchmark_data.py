"""The benchmark of the input pipeline: what it times, and one run, made small."""

import importlib.util
import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

RECIPE = Path(__file__).parents[2] / "recipes" / "benchmark_data.py"


@pytest.fixture(scope="module")
def benchmark():
    pytest.importorskip("tensorflow_datasets")  # the extra `datasets`
    pytest.importorskip("grain")
    spec = importlib.util.spec_from_file_location("benchmark_data", RECIPE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def config(benchmark):
    return benchmark.CONFIG | {
        "sample_rate": 8000,
        "v3_sample_rate": 9600,
        "tracks": 2,
        "track_seconds": 2,
        "crop_seconds": 0.5,
        "batches": 2,
        "rounds": 1,
        "steps": 2,
        "fit_rounds": 1,
        "model": {
            "num_bands": 4,
            "n_fft": 256,
            "embed_dim": 4,
            "rnn_dim": 4,
            "num_pairs": 1,
        },
        "hop_length": 64,
        "mlp_dim": 4,
    }


def test_files_and_their_copies_hold_the_same(benchmark, config, tmp_path):
    benchmark.make_files(tmp_path, config)
    paths = sorted(tmp_path.rglob("*.wav"))
    assert len(paths) == 4 * (2 + 1 + 1)
    for path in paths:
        audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
        assert rate == 8000
        np.testing.assert_array_equal(
            audio.T, np.load(path.with_suffix(".npy"))
        )
        assert audio.shape == (16000, 1)
        assert audio.any()
    paths = sorted(tmp_path.rglob("*.flac"))
    assert len(paths) == 4 * (2 + 1 + 1)
    for path in paths:
        info = soundfile.info(path)
        assert (info.samplerate, info.subtype) == (9600, "PCM_24")
        assert (info.channels, info.frames) == (1, 19200)


def test_all_ways_of_reading_crop_the_same_recordings(
    benchmark, config, tmp_path
):
    benchmark.make_files(tmp_path, config)
    datasets = benchmark.make_datasets(tmp_path, config)
    storages = ["paths", "segments"]
    v3 = [f"v3 {storage}" for storage in storages]
    assert list(datasets) == ["memory maps", *storages, *v3]
    maps = datasets["memory maps"][1][0]
    assert {stem: x.shape for stem, x in maps.items()} == dict.fromkeys(
        benchmark.FILE_NAMES, (2, 1, 4000)
    )
    for samples, (paths, *others) in ((4800, v3), (4000, storages)):
        mixture, targets = datasets[paths][1][3]
        assert mixture.shape == (2, 1, samples)
        for storage in others:
            other, stems = datasets[storage][1][3]
            np.testing.assert_array_equal(mixture, other)
            for stem, target in targets.items():
                np.testing.assert_array_equal(target, stems[stem])
    # What is timed is cut out of the recordings.
    sound = np.load(tmp_path / "tr" / "0000" / "mix.npy")[0]
    sound = [sound, np.load(tmp_path / "tr" / "0001" / "mix.npy")[0]]
    for crop in (*mixture[:, 0], *maps["mixture"][:, 0]):
        windows = np.lib.stride_tricks.sliding_window_view(sound, 4000, axis=1)
        assert (windows[..., :8] == crop[:8]).all(-1).any()


def test_speed_is_counted_in_crops(benchmark, config, monkeypatch):
    clock = iter([10.0, 12.0])
    monkeypatch.setattr(time, "process_time", lambda: next(clock))
    asked = []

    class Batches:
        def __getitem__(self, index):
            asked.append(index)

    # Two batches of two crops in two seconds.
    assert benchmark.time_crops(Batches(), config, first=6) == 2.0
    assert asked == [6, 7]


def test_short_run_prints_a_table_and_writes_json(
    benchmark, config, tmp_path, capsys
):
    path = tmp_path / "times.json"
    benchmark.main(["--json", str(path), "--tracks", "1"], config)
    results = json.loads(path.read_text())
    assert results["config"]["tracks"] == 1
    assert results["versions"]["numpy"] == np.__version__
    text = capsys.readouterr().out
    for name in ("memory maps", "paths", "segments", "v3 paths"):
        speed = results["crops"][name]["crops_per_second_and_core"]
        assert speed > 0
        assert re.search(rf"^{name} +{speed:.0f} ", text, re.MULTILINE)
    for clock in ("wall", "cpu"):
        seconds = results["fit"][clock]
        ratio = results["fit"][f"{clock}_ratio"]
        assert ratio == seconds["pipeline"] / seconds["in memory"]
        assert seconds["pipeline"] > 0
        assert re.search(rf"^fit, {clock} .* ratio {ratio:.3f}$", text, re.M)


def test_without_v3(benchmark, config, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(benchmark, "make_files", lambda *_: None)
    monkeypatch.setattr(benchmark, "prepare", lambda *args: asked.append(args))
    monkeypatch.setattr(benchmark, "open_tracks", lambda *_: [])
    monkeypatch.setattr(benchmark, "random_crops", lambda *_: None)
    monkeypatch.setattr(benchmark, "MemoryMaps", lambda *_: None)
    monkeypatch.setattr(benchmark, "benchmark_reads", lambda *_: {})
    monkeypatch.setattr(benchmark, "report", lambda *_: [])
    path = tmp_path / "times.json"
    arguments = ["--no-v3", "--no-fit", "--json", str(path)]
    benchmark.main(arguments, config)
    assert [args[-1] for args in asked] == ["v2_paths", "v2_segments"]
    assert json.loads(path.read_text())["config"]["v3_sample_rate"] is None


@pytest.mark.parametrize("name", ["--tracks", "--batches", "--steps"])
def test_counts_are_at_least_one(benchmark, name, capsys):
    with pytest.raises(SystemExit, match="2"):
        benchmark.main([name, "0"])
    assert f"{name} must be at least 1" in capsys.readouterr().err
