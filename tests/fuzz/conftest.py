"""A folder to work in, and a file that only code from an input would make."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from fuzz import Runs


@pytest.fixture
def runs(tmp_path, monkeypatch, capfd):
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def read():
        return tuple(capfd.readouterr())

    return Runs(read, "out", tmp_path / "marker")
