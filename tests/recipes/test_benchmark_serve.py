"""The load test of `keras-bandit serve` runs, with few clients."""

import json
import pathlib
import subprocess
import sys

import pytest

pytestmark = pytest.mark.once

ROOT = pathlib.Path(__file__).parents[2]


def test_no_job_is_lost(tmp_path):
    script = ROOT / "recipes" / "benchmark" / "serve.py"
    command = [sys.executable, script, "--output", tmp_path]
    command += ["--clients", "3", "--jobs", "4", "--seconds", "0.5"]
    subprocess.run([*command, "--engine", "openvino"], check=True, cwd=ROOT)
    found = json.loads((tmp_path / "serve.json").read_text())
    assert (found["jobs"], found["lost"]) == (4, [])
    assert found["uploads"]["count"] == 4
    assert found["answers"]["count"] >= 4
    assert found["answers"]["median_ms"] <= found["answers"]["max_ms"]
    assert found["memory_mb"]
