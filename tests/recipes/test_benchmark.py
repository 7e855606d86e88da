"""The benchmark's tasks on this backend, made small, in this process."""

import json

import keras
import pytest

# Seconds are anything; two turns, so that medians and spreads are formed.
SHORT = ("--turns", "2", "--chunk-seconds", "0.5", "--hops", "0.25,0.5")
SHORT += ("--file-seconds", "1", "--matmul-size", "64")


@pytest.fixture
def results(benchmark, presets, tmp_path, monkeypatch):
    """Runs the benchmark; returns results and report."""

    class Side:
        """Most of a process's time is imports: all in this one."""

        def __init__(self, case, side, log):
            self.subject = benchmark.sides.make_subject(case, side)

        def ask(self, method="time", *arguments):
            return getattr(self.subject, method)(*arguments)

        def close(self):
            pass

    monkeypatch.setattr(benchmark.main, "Side", Side)

    def run(*arguments):
        backend = keras.config.backend()
        given = ["--output", tmp_path, "--presets", presets / "bandit_dnr"]
        given += ["--backends", backend, *SHORT, *arguments]
        assert benchmark.main.main(list(map(str, given))) == 0
        report = json.loads((tmp_path / "benchmark.json").read_text())
        return report["results"], (tmp_path / "benchmark.md").read_text()

    return run


def test_training_and_whole_files(results):
    (training, whole), text = results("--tasks", "training,separate")
    ours = training["ours"]
    assert training["batch"] == 2
    assert len(ours["seconds"]) == 2
    assert ours["peak_bytes"] > 1e8
    assert "## training\n" in text
    assert [hop["hop_seconds"] for hop in whole["hops"]] == [0.25, 0.5]
    for hop in whole["hops"]:
        assert hop["real_time_factor"] == hop["median_seconds"]  # of 1 s
        lost = whole["hops"][0]["snr_db"] - hop["snr_db"]
        assert hop["snr_lost_db"] == lost
    table = [line.split("|") for line in text.splitlines() if "|" in line]
    heads = [[cell.strip() for cell in row] for row in table]
    start = next(i for i, row in enumerate(heads) if "hop / s" in row)
    column = heads[start].index("hop / s")
    hops = [row[column] for row in heads[start + 2 : start + 4]]
    assert hops == ["0.25", "0.5"]


def test_other_precision_agrees_with_float32(results):
    (float32, bfloat16), _ = results(
        *("--tasks", "inference", "--precisions", "float32,bfloat16")
    )
    assert float32["agreement_db"] is None  # the first: nothing to agree with
    assert 20 < bfloat16["agreement_db"] < 100
