"""The command as a process: what it imports, and how it ends."""

import json
import pathlib

import pytest

from keras_bandit import cli

from .command_line import python

pytestmark = pytest.mark.once


def test_help_of_the_module():
    result = python("-m", "keras_bandit", "--help")
    assert (result.returncode, result.stderr) == (0, "")
    for word in ("separate", "presets", "convert", "exit status"):
        assert word in result.stdout


def test_status_of_the_module():
    result = python("-m", "keras_bandit", "separate", "--preset")
    assert result.returncode == 2
    assert result.stderr.startswith("keras-bandit: error: ")


def test_start_imports_neither_numpy_nor_keras():
    code = (
        "import json, sys; from keras_bandit import cli; cli.build_parser(); "
        "print(json.dumps(sorted(sys.modules)))"
    )
    modules = json.loads(python("-c", code).stdout)
    folder = pathlib.Path(cli.__file__).parent
    own = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert "keras_bandit.cli" in modules
    assert {f"keras_bandit.cli.{name}" for name in own} <= set(modules)
    heavy = {"numpy", "keras", "keras_hub", "soundfile", "soxr", "tqdm"}
    assert not heavy & set(modules)


def test_the_command_ends_without_taking_python_apart():
    code = (
        "import atexit, sys; from keras_bandit import cli; "
        "cli.main = lambda: print('done', end='') or 3; "
        "atexit.register(lambda: print(', tidy', end='')); "
        "keep = type('Keep', (), {'__del__': lambda self: print('freed')})(); "
        "cli.run()"
    )
    result = python("-c", code)
    assert (result.returncode, result.stdout) == (3, "done, tidy")
    closed = "import os, sys; os.close(1); os.close(2); sys.stdout = None; "
    closed += "sys.stderr = None; "
    assert python("-c", closed + code).returncode == 3
