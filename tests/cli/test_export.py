"""`keras-bandit export`: arguments, and what is refused in one line."""

import pytest

from keras_bandit import cli
from keras_bandit.cli import export

from .command_line import error_line


class Exported:
    """Stands in for a separator; keeps the arguments of its exports."""

    def __init__(self):
        self.calls = []

    def export_core(self, *args, **kwargs):
        self.calls.append((args, kwargs))


@pytest.fixture
def separator(monkeypatch, tmp_path):
    """A separator behind any preset, on any backend."""
    monkeypatch.chdir(tmp_path)
    separator = Exported()
    monkeypatch.setattr(export, "load_separator", lambda preset: separator)
    monkeypatch.setattr(export, "choose_backend", lambda backend: None)
    return separator


def test_arguments_reach_the_function(separator, tmp_path, capsys):
    command = ["export", "p", "out", "--format", "litert", "--stems", "a,b"]
    assert cli.main([*command, "--chunk-seconds", "2.5", "--overwrite"]) == 0
    (((out, format), options),) = separator.calls
    assert (str(out), format) == ("out", "litert")
    assert options == {
        "stems": ["a", "b"],
        "chunk_seconds": 2.5,
        "overwrite": True,
    }
    assert capsys.readouterr().out == "p -> out (litert)\n"


def test_mistakes_are_one_line_before_loading(separator, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "own.txt").touch()
    for args, message in [
        (["full", "--format", "onnx"], "full: already there; --overwrite"),
        (["full", "--format", "onnx", "--overwrite"], "full: not an export"),
        (["full/own.txt", "--format", "onnx"], "own.txt: not a directory"),
        (
            ["out", "--format", "litert", "--backend", "jax"],
            "--format litert is written on TensorFlow; got --backend jax",
        ),
        (["out", "--format", "onyx"], "invalid choice: 'onyx'"),
        (["out"], "--format"),
    ]:
        assert cli.main(["export", "p", *args]) == 2
        assert message in error_line(capsys)
    assert separator.calls == []


@pytest.mark.parametrize("error", [ValueError, ImportError, OSError])
def test_what_cannot_be_exported_is_one_line(separator, capsys, error):
    def refuse(*args, **kwargs):
        raise error("several\nlines")

    separator.export_core = refuse
    assert cli.main(["export", "p", "out", "--format", "onnx"]) == 2
    assert error_line(capsys) == "several lines"
