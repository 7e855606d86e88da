"""`keras-bandit bulk`: what it passes on, says and returns.

What becomes of films is in `tests/bulk`.
"""

import json
import pathlib
import sys

import numpy as np
import pytest

from keras_bandit import cli
from keras_bandit.bulk import run
from keras_bandit.bulk.manifest import Film
from keras_bandit.cli import bulk as bulk_module
from keras_bandit.cli.console import CommandError
from keras_bandit.inference.runtimes import THREADS

from .command_line import error_line, read, write

pytestmark = pytest.mark.once
OWN = "--preset", "bandit_demo", "--engine", "openvino", "--stems", "speech"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def bulk(*args):
    return cli.main(["bulk", "films.txt", "--output", "out", *OWN, *args])


@pytest.mark.slow
def test_from_a_list_to_stems(capsys, monkeypatch):
    """With the preset that ships, on a Ray of its own."""
    monkeypatch.setenv(THREADS, "1")
    for name in "ab":
        write(f"{name}.wav", 2, 40_000, 44_100)
    pathlib.Path("bad.wav").write_bytes(b"RIFF no")
    pathlib.Path("films.txt").write_text("a.wav\nbad.wav\nb.wav\n")
    assert cli.main(["separate", "a.wav", *OWN, "--quiet"]) == 0
    assert bulk("--models", "1", "--json") == 1
    captured = capsys.readouterr()
    found = [json.loads(line) for line in captured.out.splitlines()]
    found = {entry["name"]: entry for entry in found}
    assert found["a"]["status"] == "done"
    assert list(found["a"]["files"]) == ["speech.wav"]
    assert found["bad"]["reason"].endswith("bad.wav: not a media file")
    assert "error: bad: " in captured.err
    assert "2 of 3 films done, 1 failed, 0 under way" in captured.err
    np.testing.assert_allclose(
        read("out/a/speech.wav"), read("separated/a/speech.wav"), atol=1e-6
    )
    # Again: what is done is, and no Ray is started for it.
    pathlib.Path("films.txt").write_text("a.wav\nb.wav\n")
    monkeypatch.setattr(run, "connected", None)
    assert bulk("--json") == 0
    captured = capsys.readouterr()
    statuses = [json.loads(x)["status"] for x in captured.out.splitlines()]
    assert statuses == ["skipped", "skipped"]
    assert "2 of 2 films done (2 before)" in captured.err
    assert bulk("--mne") == 2
    captured = capsys.readouterr()
    assert captured.err.count("options.mne: False before, True now") == 2


@pytest.mark.parametrize(
    ("manifest", "args", "message"),
    [
        (None, [], "films.txt: No such file or directory"),
        ("", [], "films.txt names no film"),
        ("a/x.wav\nb/x.wav\n", [], "lines 1 and 2 would both"),
        ("x.wav\n", ["--output", "http://a/b"], "--output http://a/b: cannot"),
        ("x.wav\n", ["--output", "nothing://a"], "nothing"),
        ("x.wav\n", ["--output", "films.txt"], "not a directory"),
        ("x.wav\n", ["--gpus-per-film", "1.5"], "whole number, or 0 to 1"),
        ("x.wav\n", ["--ray-address", "127.0.0.1:1"], "127.0.0.1:1"),
    ],
)
def test_bad_arguments(capsys, manifest, args, message):
    if manifest is not None:
        pathlib.Path("films.txt").write_text(manifest)
    assert bulk("--quiet", *args) == 2
    assert message in error_line(capsys)


def test_without_ray(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert bulk() == 2
    assert error_line(capsys).endswith("pip install 'keras-bandit[ray]'")


class UnderWay:
    """A `Bulk` with a film under way."""

    def seconds_done(self):
        return {"a": 90.0}


def reports(**options):
    options = {"json": False, "quiet": False, **options}
    args = bulk_module.argparse.Namespace(**options)
    return bulk_module._Reports(args, None, 3)


def test_lines_and_failures(capsys, monkeypatch):
    monkeypatch.setattr(bulk_module, "_SECONDS_BETWEEN_LINES", 0.0)
    record = {
        "seconds": 60.0,
        "elapsed": 10.0,
        "files": {"speech.wav": 1},
        "warnings": ["clipped"],
    }
    found = reports()
    with found.shown() as show:
        found.take(run.Result(Film("/f/b.wav", "b"), record))
        found.take(run.Result(Film("/f/c.wav", "c"), reason="c.wav: bad"))
        show(UnderWay())
    found.end()
    captured = capsys.readouterr()
    assert captured.out == (
        "/f/b.wav: 60.00 s -> b/: speech.wav, separated in 10.0 s\n"
    )
    warning, line, error, end = captured.err.splitlines()
    assert warning.endswith("warning: b: clipped")
    assert "1 of 3 films done, 1 failed, 1 under way; 2.5 min of" in line
    assert error.endswith("error: c: c.wav: bad")
    assert "1 of 3 films done, 1 failed, 0 under way; 1.0 min of" in end


def test_a_table_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with reports().shown() as show:
        show(UnderWay())
    shown = capsys.readouterr().err
    assert "0 of 3 films done" in " ".join(shown.split())
    assert "1.5" in shown
    with reports(quiet=True).shown() as show:
        show(UnderWay())
    assert capsys.readouterr().err == ""


def test_a_model_is_that_of_separate():
    arguments = {
        "preset": "bandit_demo",
        "engine": "openvino",
        "precision": "float32",
        "engine_cache": None,
        "backend": None,
    }
    separator = bulk_module.load_model(arguments, None)
    assert separator.engine == "openvino"
    assert separator.sample_rate == 44_100
    with pytest.raises(CommandError, match="backend"):
        bulk_module.load_model({**arguments, "backend": "jax"}, None)
