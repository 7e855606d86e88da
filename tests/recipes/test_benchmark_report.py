"""The benchmark's processes, its report, its plan and its errors."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from small import RECIPES

from keras_bandit import cli

pytestmark = pytest.mark.once

SMALL_PIPELINE = {
    "pipeline_tracks": 2,
    "track_seconds": 2.0,
    "crop_seconds": 0.5,
    "pipeline_batches": 2,
    "turns": 1,
}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Of the benchmark as its command runs it; one engine of two exists."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("run")
    command = [sys.executable, RECIPES / "benchmark", "--output", folder]
    command += ["--presets", "bandit_demo", "--chunk-seconds", "0.2"]
    command += ["--turns", "2", "--matmul-size", "64", "--limit-minutes", "5"]
    command += ["--tasks", "inference", "--backends", "torch"]
    command += ["--engines", "missing,keras"]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True
    )
    assert done.returncode == 1, done.stderr  # an engine failed
    text = (folder / "benchmark.md").read_text()
    assert text in done.stdout
    return json.loads((folder / "benchmark.json").read_text()), text


def test_report_says_what_was_measured_where(report):
    report, _ = report
    assert report["format"] == 4
    assert report["date"].startswith("20")
    assert report["machine"]["versions"]["numpy"] == np.__version__
    assert report["machine"]["versions"]["torch"]
    assert report["machine"]["cores"] >= 1
    assert report["reference_commits"] == {}
    assert report["config"]["turns"] == 2


def test_inference_is_measured(report):
    result = report[0]["results"][1]
    ours = result["ours"]
    assert result["status"] == "done"
    for key in ("build_seconds", "first_seconds", "matmul_rate"):
        assert ours[key] > 0
    assert len(ours["seconds"]) == 2
    assert ours["min_seconds"] <= ours["median_seconds"] <= ours["max_seconds"]
    assert ours["peak_bytes"] > 1e8  # Keras alone
    rate = ours["multiply_adds"] / ours["median_seconds"]
    assert ours["matmul_share"] == pytest.approx(rate / ours["matmul_rate"])
    assert "theirs" not in result


def test_failed_case_is_reported_and_the_other_kept(report):
    report, text = report
    failed = report["results"][0]
    assert (failed["engine"], failed["status"]) == ("missing", "failed")
    assert "got 'missing'" in failed["error"]
    assert "backend torch, engine missing, precision float32" in text
    assert "## inference\n" in text


def test_equal_outputs_are_asserted(benchmark):
    agreement_db = benchmark.main.agreement_db
    rng = np.random.default_rng(0)
    theirs = {stem: rng.standard_normal((1, 1, 100)) for stem in "ab"}
    assert agreement_db(theirs, theirs, 60.0) == 300
    # An error of 1e-4 of one stem: 80 dB.
    ours = {**theirs, "b": 1.0001 * theirs["b"]}
    assert agreement_db(theirs, ours, 60.0) == pytest.approx(80)
    ours = {**theirs, "b": 1.01 * theirs["b"]}
    with pytest.raises(
        benchmark.sides.CaseError, match=r"differ: 40\.0 dB.*60"
    ):
        agreement_db(theirs, ours, 60.0)
    # Enough after training steps.
    assert agreement_db(theirs, ours, 30.0) == pytest.approx(40)
    ours = {**theirs, "a": np.nan * theirs["a"]}
    with pytest.raises(benchmark.sides.CaseError, match="differ"):
        agreement_db(theirs, ours, 30.0)


def test_whole_file_of_the_authors_runs_once(benchmark, tmp_path, monkeypatch):
    runs, fails, main = [], [True], benchmark.main

    class Side:
        def __init__(self, case, side, log):
            self.side = side

        def ask(self, method="time", hop=None):
            runs.append((self.side, hop))
            if fails and (self.side, hop) == ("ours", 3.0):
                raise benchmark.sides.CaseError("broken")
            outputs = {"a": np.ones(4)}
            return {"seconds": 2.0, "outputs": outputs, "peak_bytes": 1}

        def close(self):
            pass

    monkeypatch.setattr(main, "Side", Side)
    config = {**main.CONFIG, "reference": {"BanditAudioSeparator": "x"}}
    config |= {"tasks": ["separate"], "backends": ["torch", "jax"]}
    known, folders = {}, (tmp_path, tmp_path)
    first, second = main.plan(config)
    with pytest.raises(benchmark.sides.CaseError, match="broken"):
        main.run_model(first, config, known, *folders)
    assert ("theirs", 0.5) in runs
    # It takes half an hour: what it took outlives our failure.
    runs.clear()
    fails.clear()
    result = main.run_model(second, config, known, *folders)
    assert result["ratio"] == 1.0
    assert [hop["ratio"] for hop in result["hops"]] == [1.0] * 4
    assert all(side == "ours" for side, _ in runs)


def test_ratio_is_that_of_medians(benchmark):
    found = benchmark.report.compare([1.0, 2.0, 4.0], [4.0, 6.0, 6.0])
    assert found == {"ratio": 3.0, "ratio_range": [1.5, 4.0]}


def test_chunks_per_second_of_several_presets(benchmark):
    """As section V-F of the paper has them: a column for each preset."""
    keys = ("preset", "engine", "ours", "theirs")
    fast = {"seconds": [0.5, 1.0, 2.0], "peak_bytes": 1e9}
    slow = {"seconds": [4.0], "peak_bytes": 2e9}
    rows = [("bandit", "keras", slow, None), ("demucs", "keras", fast, slow)]
    rows += [("demucs", "openvino", fast, slow)]
    same = {"backend": "jax", "precision": "float32", "batch": 2}
    results = [{**same, **dict(zip(keys, x, strict=True))} for x in rows]
    authors, keras, openvino = benchmark.report.chunk_rows(results)
    assert authors["code"] == "the authors'"
    assert authors["backend"] == "torch"
    assert authors["bandit, chunks/s"] is None
    assert authors["demucs, chunks/s"] == "0.5"
    assert keras["bandit, chunks/s"] == "0.5"
    assert keras["bandit, peak / GB"] == "2"
    assert openvino["demucs, chunks/s"] == "2"


def test_interrupted_run_keeps_what_is_done(benchmark, tmp_path, monkeypatch):
    def run_case(case, *_):
        if case["task"] == "startup":
            raise KeyboardInterrupt
        return {"crops": {"paths": 9.0}}

    monkeypatch.setattr(benchmark.main, "run_case", run_case)
    status = benchmark.main.main(
        ["--output", str(tmp_path), "--tasks", "pipeline,startup"]
    )
    assert status == 130
    report = json.loads((tmp_path / "benchmark.json").read_text())
    statuses = [result["status"] for result in report["results"]]
    assert statuses == ["done", "interrupted", "not run", "not run", "not run"]
    text = (tmp_path / "benchmark.md").read_text()
    assert re.search(r"\| paths +\| 9 +\|", text)
    assert "startup: command --help, backend tensorflow: interrupted" in text


@pytest.mark.parametrize("engine", ["keras", "openvino"])
def test_commands_are_those_of_a_user(benchmark, tmp_path, monkeypatch, engine):
    main, asked = benchmark.main, []

    class Side:
        def __init__(self, case, side, log):
            command = benchmark.sides.make_subject(case, side).command[3:]
            asked.append([command])
            if command[0] == "separate":
                options = cli.build_parser().parse_args(command)
                assert options.backend == (
                    "torch" if engine == "keras" else None
                )
                assert (options.engine, options.preset) == (
                    engine,
                    "bandit_demo",
                )
                (file,) = options.files
                assert soundfile.info(file).duration == case["seconds_of_audio"]

        def ask(self, method="time"):
            asked[-1].append(method)
            return {"seconds": 2.0} if method == "time" else {"peak_bytes": 10}

        def close(self):
            pass

    monkeypatch.setattr(main, "Side", Side)
    config = main.CONFIG | {"engines": [engine], "turns": 2}
    config |= {"memory_minutes": [0.1], "tasks": ["startup", "memory"]}
    config["backends"] = ["torch"]
    cases = list(main.plan(config))
    lengths = [case.get("seconds_of_audio") for case in cases]
    assert lengths == [None, 10, 6]
    for case, turns in zip(cases, (2, 2, 1), strict=True):
        result = main.run_case(case, config, {}, tmp_path, tmp_path)
        assert (result["seconds"], result["peak_bytes"]) == ([2.0] * turns, 10)
        (command, *calls) = asked.pop()
        assert command[0] == case["command"]
        assert calls == ["time"] * turns + ["facts"]


def test_commands_are_timed(benchmark, tmp_path):
    """In a process of their own, which says why one failed."""
    case = {"device": "cpu", "limit_minutes": 1, "backend": "torch"}
    case |= {"command": "--help", "task": "startup"}
    log = tmp_path / "log.txt"
    side = benchmark.sides.Side(case, "command", log)
    assert side.ask()["seconds"] > 0
    assert side.ask("facts")["peak_bytes"] > 1e6
    assert "separate" in log.read_text()
    side.close()
    error = benchmark.sides.CaseError
    side = benchmark.sides.Side({**case, "command": "--no"}, "command", log)
    with pytest.raises(error, match=r"arguments are required.*\(see .*log"):
        side.ask()
    side.close()
    side = benchmark.sides.Side({**case, "limit_minutes": 0}, "command", log)
    with pytest.raises(error, match="no answer after 0 s"):
        side.ask()
    side.close()


def test_processes_see_no_gpu_and_no_cache_unless_asked(benchmark, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    variables = benchmark.sides.environment("jax", "cpu")
    assert variables["KERAS_BACKEND"] == "jax"
    assert variables["JAX_PLATFORMS"] == "cpu"
    assert variables["JAX_ENABLE_COMPILATION_CACHE"] == "false"
    gpu = benchmark.sides.environment("jax", "gpu")
    assert "CUDA_VISIBLE_DEVICES" not in gpu


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--reference", "nowhere"], "'nowhere', which has none of core/model"),
        (["--tasks", "flying"], "among inference, training, .*got flying"),
        (["--backends", "numpy"], "among tensorflow, jax, torch"),
        (["--batches", "1,x"], "invalid int value: '1,x'"),
        (["--turns", "0"], "--turns: must be positive; got 0"),
    ],
)
def test_mistakes_in_arguments(benchmark, arguments, message, capsys, tmp_path):
    with pytest.raises(SystemExit, match="2"):
        benchmark.main.main(["--output", str(tmp_path), *arguments])
    error = " ".join(capsys.readouterr().err.split())
    assert re.search(message, error)


@pytest.fixture
def pipeline(benchmark, tmp_path):
    """Tracks of DnR v2 and v3, prepared in both storages."""
    pytest.importorskip("tensorflow_datasets")  # the extra `datasets`
    pytest.importorskip("grain")
    case = {**benchmark.main.CONFIG, **SMALL_PIPELINE}
    return benchmark.pipeline.Pipeline({**case, "scratch": str(tmp_path)})


def test_all_ways_of_reading_crop_the_same_recordings(pipeline, tmp_path):
    for path in tmp_path.glob("v2/*/*/*.wav"):
        audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
        assert (rate, audio.shape) == (44100, (88200, 1))
        np.testing.assert_array_equal(
            audio.T, np.load(path.with_suffix(".npy"))
        )
        assert audio.any()
    info = soundfile.info(tmp_path / "v3" / "train" / "0001" / "sfx.flac")
    assert (info.samplerate, info.subtype) == (48000, "PCM_24")
    datasets = pipeline.datasets
    assert list(datasets) == [
        "memory maps",
        *("v2 paths", "v2 segments", "v3 paths", "v3 segments"),
    ]
    maps = datasets["memory maps"][0]
    assert {x.shape for x in maps.values()} == {(2, 1, 22050)}
    for release, samples in (("v3", 24000), ("v2", 22050)):
        mixture, targets = datasets[f"{release} paths"][3]
        assert mixture.shape == (2, 1, samples)
        other, stems = datasets[f"{release} segments"][3]
        np.testing.assert_array_equal(mixture, other)
        for stem, target in targets.items():
            np.testing.assert_array_equal(target, stems[stem])
    # What is timed is cut out of the recordings.
    paths = sorted(tmp_path.glob("v2/tr/*/mix.npy"))
    sound = np.concatenate([np.load(path) for path in paths])
    windows = np.lib.stride_tricks.sliding_window_view(sound, 8, axis=1)
    for crop in (*mixture[:, 0], *maps["mixture"][:, 0]):
        assert (windows == crop[:8]).all(-1).any()


def test_pipeline_is_timed(pipeline):
    crops = pipeline.crops()
    assert crops.keys() == pipeline.datasets.keys()
    assert all(number > 0 for number in crops.values())


def test_speed_is_counted_in_cpu_time(benchmark, monkeypatch):
    clock, asked = iter([10.0, 12.0]), []
    monkeypatch.setattr(
        benchmark.pipeline.time, "process_time", lambda: next(clock)
    )

    class Batches:
        def __getitem__(self, index):
            asked.append(index)

    assert benchmark.pipeline.batch_seconds(Batches(), 6, 2) == 1.0
    assert asked == [6, 7]


def test_a_folder_inside_a_checkout_has_no_commit_of_its_own(
    benchmark, tmp_path
):
    git = ["git", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "--quiet"], check=True)
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    empty = ["commit", "--quiet", "--allow-empty", "-m", "x"]
    subprocess.run([*git, *author, *empty], check=True)
    inside = tmp_path / "reference"
    inside.mkdir()
    assert benchmark.report.commit(inside) is None
    assert re.fullmatch(r"[0-9a-f]{12}", benchmark.report.commit(tmp_path))
