"""The benchmark: one run of each task made small, its table and its errors."""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile

from keras_bandit import cli
from keras_bandit.models import (
    AudioSeparator,
    BanditAudioSeparator,
    BanditBackbone,
)

RECIPES = Path(__file__).parents[2] / "recipes"
# Seconds are anything; two turns, so that medians and spreads are formed.
SHORT = ("--turns", "2", "--chunk-seconds", "0.5", "--hops", "0.25,0.5")
SHORT += ("--file-seconds", "1", "--limit-minutes", "5")


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(RECIPES)
    yield importlib.import_module("benchmark")
    for name in ("benchmark", "benchmark_report", "benchmark_sides"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """A directory with a model of a few thousand parameters."""
    backbone = BanditBackbone(
        num_bands=4,
        n_fft=256,
        sample_rate=8000,
        embed_dim=4,
        rnn_dim=4,
        num_pairs=1,
    )
    separator = BanditAudioSeparator(
        backbone, ["speech", "music"], hop_length=64, mlp_dim=4
    )
    folder = tmp_path_factory.mktemp("presets") / "tiny"
    separator.save_to_preset(folder)
    return folder


@pytest.fixture(scope="module")
def report(preset, tmp_path_factory):
    """Of the recipe as its command runs it; one engine of two exists."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("run")
    command = [sys.executable, str(RECIPES / "benchmark.py")]
    command += ["--output", str(folder), "--presets", str(preset), *SHORT]
    command += ["--tasks", "inference", "--backends", "torch"]
    command += ["--engines", "missing,keras"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr  # an engine failed
    text = (folder / "benchmark.md").read_text()
    assert text in done.stdout
    return json.loads((folder / "benchmark.json").read_text()), text


@pytest.fixture
def here(benchmark, monkeypatch):
    """Runs a case in this process: most of a process's time is imports."""
    sides = importlib.import_module("benchmark_sides")

    class Side:
        def __init__(self, case, side, scratch, log):
            self.outputs = scratch / f"outputs_{side}.npz"
            outputs = str(self.outputs)
            self.subject = sides.open_side(
                {**case, "side": side, "outputs": outputs}
            )

        def ask(self, request):
            return json.loads(json.dumps(sides.answer(self.subject, request)))

        def close(self):
            pass

    monkeypatch.setattr(benchmark, "Side", Side)


def run_here(benchmark, folder, *arguments):
    """Results of a run in this process."""
    benchmark.main(["--output", str(folder), *SHORT, *arguments])
    report = json.loads((folder / "benchmark.json").read_text())
    return report["results"], (folder / "benchmark.md").read_text()


def test_report_says_what_was_measured_where(report):
    report, _ = report
    assert report["format"] == 1
    assert report["date"].startswith("20")
    assert report["versions"]["numpy"] == np.__version__
    assert report["versions"]["torch"]
    assert report["machine"]["cores"] >= 1
    assert report["reference"] is None
    assert report["config"]["turns"] == 2


def test_inference_is_measured(report):
    result = report[0]["results"][1]
    ours = result["ours"]
    assert result["status"] == "done"
    for key in ("build_seconds", "first_seconds", "matmul_rate"):
        assert ours[key] > 0
    assert len(ours["seconds"]) == 2
    assert ours["min_seconds"] <= ours["median_seconds"] <= ours["max_seconds"]
    assert ours["chunks_per_second"] == 1 / ours["median_seconds"]
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


def test_training_is_measured(benchmark, here, preset, tmp_path):
    (result,), text = run_here(
        benchmark,
        tmp_path,
        *("--presets", str(preset), "--tasks", "training"),
        *("--backends", keras.backend.backend()),
    )
    ours = result["ours"]
    assert result["batch"] == 2
    assert ours["steps_per_second"] == 1 / ours["median_seconds"]
    assert ours["peak_bytes"] > 1e8
    assert "## training\n" in text


def test_whole_file_is_measured_at_each_hop(benchmark, here, preset, tmp_path):
    (result,), text = run_here(
        benchmark,
        tmp_path,
        *("--presets", str(preset), "--tasks", "separate"),
        *("--backends", keras.backend.backend()),
    )
    assert [hop["hop_seconds"] for hop in result["hops"]] == [0.25, 0.5]
    for hop in result["hops"]:
        assert hop["real_time_factor"] == hop["median_seconds"]  # of 1 s
        lost = result["hops"][0]["snr_db"] - hop["snr_db"]
        assert hop["snr_lost_db"] == lost
    assert text.count("| 0.25 |") == text.count("| 0.5 |") == 1


def test_other_precision_agrees_with_float32(benchmark, here, preset, tmp_path):
    (float32, bfloat16), _ = run_here(
        benchmark,
        tmp_path,
        *("--presets", str(preset), "--tasks", "inference"),
        *("--precisions", "float32,bfloat16"),
        *("--backends", keras.backend.backend()),
    )
    assert float32["agreement_db"] is None  # the first: nothing to agree with
    assert 20 < bfloat16["agreement_db"] < 100


def test_multiply_adds_are_those_of_table_1(benchmark):
    separator = AudioSeparator.from_preset("bandit_musical64")
    sides = importlib.import_module("benchmark_sides")
    # Table 1 counts gates, biases and normalization too: 1.1 % more.
    assert sides.multiply_adds(separator, 6.0) == pytest.approx(
        364.07e9, rel=0.012
    )


def test_equal_outputs_are_asserted(benchmark, tmp_path):
    rng = np.random.default_rng(0)
    theirs = {stem: rng.standard_normal((1, 1, 100)) for stem in "ab"}
    np.savez(tmp_path / "theirs.npz", **theirs)

    class Side:
        def __init__(self, name):
            self.outputs = tmp_path / f"{name}.npz"

    sides = {"theirs": Side("theirs"), "ours": Side("ours")}
    case = {"preset": "p", "task": "inference", "batch": 1, "engine": "keras"}
    case["precision"] = "float32"
    # An error of 1e-4 of one stem: 80 dB.
    np.savez(tmp_path / "ours.npz", **{**theirs, "b": 1.0001 * theirs["b"]})
    found = benchmark.agreement_db(case, sides, tmp_path)
    assert found == pytest.approx(80)
    np.savez(tmp_path / "ours.npz", **{**theirs, "b": 1.01 * theirs["b"]})
    with pytest.raises(benchmark.CaseError, match=r"differ: 40\.0 dB.* 60"):
        benchmark.agreement_db(case, sides, tmp_path)
    # Enough after training steps.
    found = benchmark.agreement_db(case, sides, tmp_path, 30.0)
    assert found == pytest.approx(40)
    np.savez(tmp_path / "ours.npz", **{**theirs, "a": np.nan * theirs["a"]})
    with pytest.raises(benchmark.CaseError, match="differ"):
        benchmark.agreement_db(case, sides, tmp_path)


def test_whole_file_of_the_authors_outlives_a_failure(
    benchmark, tmp_path, monkeypatch
):
    class Side:
        runs, fails = [], True

        def __init__(self, case, side, scratch, log):
            self.side, self.outputs = side, scratch / f"{side}.npz"
            np.savez(self.outputs, a=np.ones(4))

        def ask(self, request):
            hop = request.get("hop")
            self.runs.append((self.side, hop))
            if self.fails and (self.side, hop) == ("ours", 3.0):
                raise benchmark.CaseError("broken")
            return {"seconds": 2.0}

        def close(self):
            pass

    monkeypatch.setattr(benchmark, "Side", Side)
    config = {**benchmark.CONFIG, "reference": "bandit"}
    config |= {"tasks": ["separate"], "backends": ["torch"]}
    (case,) = benchmark.plan(config)
    with pytest.raises(benchmark.CaseError, match="broken"):
        benchmark.run_model(case, config, tmp_path, tmp_path)
    assert ("theirs", 0.5) in Side.runs
    Side.runs.clear()
    Side.fails = False
    result = benchmark.run_model(case, config, tmp_path, tmp_path)
    assert result["ratio"] == 1.0
    assert all(side == "ours" for side, _ in Side.runs)


def test_ratio_is_that_of_medians(benchmark):
    found = benchmark.compare([1.0, 2.0, 4.0], [4.0, 6.0, 6.0])
    assert found == {"ratio": 3.0, "ratio_range": [1.5, 4.0]}


def test_interrupted_run_keeps_what_is_done(benchmark, tmp_path, monkeypatch):
    def run_case(case, *_):
        if case["task"] == "startup":
            raise KeyboardInterrupt
        return {
            "crops": {
                "paths": {"crops_per_second_and_core": 9.0, "read_ms": 1.0}
            }
        }

    monkeypatch.setattr(benchmark, "run_case", run_case)
    status = benchmark.main(
        ["--output", str(tmp_path), "--tasks", "pipeline,startup"]
    )
    assert status == 130
    report = json.loads((tmp_path / "benchmark.json").read_text())
    statuses = [result["status"] for result in report["results"]]
    assert statuses == ["done", "interrupted", "not run", "not run", "not run"]
    text = (tmp_path / "benchmark.md").read_text()
    assert "| paths | 9 | 1 |" in text
    assert "startup: command --help, backend tensorflow: interrupted" in text


def test_help_is_timed_as_a_command(benchmark, tmp_path):
    case = {"task": "startup", "command": "--help", "backend": "tensorflow"}
    config = benchmark.CONFIG | {"turns": 2}
    result = benchmark.run_case(case, config, tmp_path, tmp_path)
    assert len(result["seconds"]) == 2
    assert "separate" in (tmp_path / "startup-help.txt").read_text()


@pytest.mark.parametrize("engine", ["keras", "openvino"])
def test_files_are_separated_by_the_command(
    benchmark, tmp_path, monkeypatch, engine
):
    ran = []

    def run_command(command, backend, case, log):
        ran.append(cli.build_parser().parse_args(command[3:]))
        return 2.0, 10

    monkeypatch.setattr(benchmark, "run_command", run_command)
    config = benchmark.CONFIG | {"engines": [engine], "turns": 2}
    config |= {"reference": None, "memory_minutes": [0.1]}
    for task, turns, seconds in (("startup", 2, 10), ("memory", 1, 6)):
        case = benchmark.plan(config | {"tasks": [task]})[-1]
        result = benchmark.run_case(case, config, tmp_path, tmp_path)
        assert (result["seconds"], result["peak_bytes"]) == ([2.0] * turns, 10)
        assert len(ran) == turns
        asked = ran.pop()
        assert (asked.engine, asked.preset) == (engine, "bandit_demo")
        assert asked.backend == ("torch" if engine == "keras" else None)
        (file,) = asked.files
        assert soundfile.info(file).duration == seconds
        ran.clear()


def test_failing_command_is_reported(benchmark, tmp_path):
    case = {"device": "cpu", "limit_minutes": 1}
    command = [sys.executable, "-c", "raise SystemExit('no such thing')"]
    log = tmp_path / "log.txt"
    with pytest.raises(benchmark.CaseError, match=r"no such thing \(see .*log"):
        benchmark.run_command(command, "torch", case, log)
    command[-1] = "import time; time.sleep(60)"
    case["limit_minutes"] = 0.01
    with pytest.raises(benchmark.CaseError, match="out of time or memory"):
        benchmark.run_command(command, "torch", case, log)


def test_processes_see_no_gpu_and_no_cache_unless_asked(benchmark, monkeypatch):
    monkeypatch.setitem(os.environ, "JAX_COMPILATION_CACHE_DIR", "somewhere")
    variables = benchmark.environment("jax", "cpu")
    assert variables["KERAS_BACKEND"] == "jax"
    assert variables["JAX_PLATFORMS"] == "cpu"
    assert "JAX_COMPILATION_CACHE_DIR" not in variables
    gpu = benchmark.environment("jax", "gpu")
    assert gpu.get("CUDA_VISIBLE_DEVICES") == os.environ.get(
        "CUDA_VISIBLE_DEVICES"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--reference", "nowhere"], "'nowhere', which has no core/model"),
        (["--tasks", "flying"], "among inference, training, .*got 'flying'"),
        (["--backends", "numpy"], "among tensorflow, jax, torch"),
        (["--batches", "1,x"], "must be values.*got '1,x'"),
        (["--turns", "0"], "--turns must be positive"),
    ],
)
def test_mistakes_in_arguments(benchmark, arguments, message, capsys, tmp_path):
    with pytest.raises(SystemExit, match="2"):
        benchmark.main(["--output", str(tmp_path), *arguments])
    error = " ".join(capsys.readouterr().err.split())
    assert re.search(message, error)
