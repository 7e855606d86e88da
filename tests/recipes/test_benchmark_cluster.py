"""The benchmark of nodes runs, on films that take no time."""

import json
import pathlib
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.once, pytest.mark.slow]

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize("case", [0, 3])
def test_a_case(case):
    script = ROOT / "recipes" / "benchmark" / "cluster.py"
    command = [sys.executable, script, "--case", str(case)]
    command += ["--films", "2", "--seconds", "2"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["case"] == ["alone", "2 nodes of 1"][case // 3]
    assert found["per_processor"] == pytest.approx(
        4 / found["seconds"] / (1 + case // 3)
    )
