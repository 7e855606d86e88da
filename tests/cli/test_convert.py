"""`keras-bandit convert`, with a converter that gives a model of gains."""

import contextlib
import os
import pathlib
import sys
import types

import pytest

import keras_bandit
from keras_bandit import cli
from keras_bandit.cli import convert

from .command_line import Gains, error_line, found

pytestmark = pytest.mark.once


@pytest.fixture
def converter(monkeypatch, tmp_path):
    """A converter that gives the model of gains, and a checkpoint."""
    monkeypatch.setattr(convert, "import_keras", lambda: None)
    module = types.ModuleType("keras_bandit.convert")

    def from_checkpoint(path, sample_rate):
        gains = Gains()
        gains.sample_rate = sample_rate or gains.sample_rate
        return gains

    module.from_checkpoint = from_checkpoint
    monkeypatch.setitem(sys.modules, "keras_bandit.convert", module)
    process = types.ModuleType("keras_bandit.backend.process")
    process.without_tensorflow = contextlib.nullcontext
    monkeypatch.setitem(sys.modules, process.__name__, process)
    monkeypatch.setattr(keras_bandit, "convert", module, raising=False)
    monkeypatch.chdir(tmp_path)
    pathlib.Path("x.ckpt").touch()
    return module


def test_convert_says_what_was_found(converter, capsys):
    assert cli.main(["convert", "x.ckpt", "a/preset"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "x.ckpt -> a/preset",
        "  class       Gains",
        "  rate        8000 Hz",
    ]
    assert found("a") == ["preset/model.weights.h5", "preset/task.json"]
    assert os.listdir("a") == ["preset"]


def test_convert_passes_the_sample_rate_on(converter, capsys):
    assert cli.main(["convert", "x.ckpt", "a", "--sample-rate", "96000"]) == 0
    assert "rate        96000 Hz" in capsys.readouterr().out


def test_convert_into_an_empty_directory(converter):
    os.mkdir("preset")
    assert cli.main(["convert", "x.ckpt", "preset"]) == 0
    assert found("preset") == ["model.weights.h5", "task.json"]


def test_convert_replaces_presets_only_with_overwrite(converter, capsys):
    os.mkdir("preset")
    for name in ("task.json", "decoder_old.weights.h5"):
        pathlib.Path("preset", name).write_text("old")
    assert cli.main(["convert", "x.ckpt", "preset"]) == 2
    assert error_line(capsys) == "preset: already there; --overwrite replaces"
    assert cli.main(["convert", "x.ckpt", "preset", "--overwrite"]) == 0
    assert found() == [
        "preset/model.weights.h5",
        "preset/task.json",
        "x.ckpt",
    ]
    assert pathlib.Path("preset/task.json").read_text() == "new"


def test_convert_never_replaces_another_directory(converter, capsys):
    os.mkdir("home")
    pathlib.Path("home/letters").write_text("dear")
    assert cli.main(["convert", "x.ckpt", "home", "--overwrite"]) == 2
    assert "not a preset directory" in error_line(capsys)
    # Runs and evaluations have a config.json, too.
    pathlib.Path("home/config.json").touch()
    assert cli.main(["convert", "x.ckpt", "home", "--overwrite"]) == 2
    assert "not a preset directory" in error_line(capsys)
    assert cli.main(["convert", "x.ckpt", "x.ckpt", "--overwrite"]) == 2
    assert "x.ckpt: not a directory" in error_line(capsys)
    assert found() == ["home/config.json", "home/letters", "x.ckpt"]


def test_convert_never_removes_the_checkpoint(converter, capsys):
    os.makedirs("preset/from")
    pathlib.Path("preset/task.json").touch()
    pathlib.Path("preset/from/x.ckpt").touch()
    arguments = ["preset/from/x.ckpt", "preset", "--overwrite"]
    assert cli.main(["convert", *arguments]) == 2
    assert error_line(capsys) == (
        "preset: holds preset/from/x.ckpt, so it is kept"
    )
    assert len(found("preset")) == 2


def test_convert_writes_where_a_link_leads(converter):
    os.makedirs("disk/preset")
    os.symlink("disk/preset", "link")
    assert cli.main(["convert", "x.ckpt", "link"]) == 0
    assert os.path.islink("link")
    assert cli.main(["convert", "x.ckpt", "link", "--overwrite"]) == 0
    assert found("disk") == ["preset/model.weights.h5", "preset/task.json"]
    assert sorted(os.listdir()) == ["disk", "link", "x.ckpt"]


def test_convert_into_a_loop_of_links_is_one_line(converter, capsys):
    os.symlink("b", "a")
    os.symlink("a", "b")
    assert cli.main(["convert", "x.ckpt", "a"]) == 2
    assert error_line(capsys)
    assert sorted(os.listdir()) == ["a", "b", "x.ckpt"]


@pytest.mark.parametrize("out_dir", ["x.ckpt/preset", "n" * 300])
def test_convert_where_nothing_can_be_made(converter, capsys, out_dir):
    assert cli.main(["convert", "x.ckpt", out_dir]) == 2
    assert error_line(capsys)
    assert found() == ["x.ckpt"]


def test_convert_refuses_a_bad_checkpoint_in_one_line(converter, capsys):
    def refuse(path, sample_rate):
        raise ValueError("missing tensors:\n  a.weight\n  b.weight")

    converter.from_checkpoint = refuse
    assert cli.main(["convert", "x.ckpt", "preset"]) == 2
    assert error_line(capsys) == "x.ckpt: missing tensors: a.weight b.weight"
    assert found() == ["x.ckpt"]


@pytest.mark.parametrize(
    ("error", "status"), [(OSError(28, "full"), 2), (KeyboardInterrupt(), 130)]
)
def test_convert_that_breaks_off_leaves_the_former_preset(
    converter, monkeypatch, error, status
):
    os.mkdir("preset")
    pathlib.Path("preset/task.json").write_text("old")
    before = found()

    def break_off(self, folder):
        os.makedirs(folder, exist_ok=True)
        pathlib.Path(folder, "task.json").write_text("half")
        raise error

    monkeypatch.setattr(Gains, "save_to_preset", break_off)
    arguments = ["convert", "x.ckpt", "preset", "--overwrite"]
    assert cli.main(arguments) == status
    assert found() == before
    assert pathlib.Path("preset/task.json").read_text() == "old"


def test_convert_of_a_missing_checkpoint(converter, capsys):
    assert cli.main(["convert", "y.ckpt", "preset"]) == 2
    assert error_line(capsys) == "y.ckpt: No such file or directory"
