"""`keras-bandit convert`, with a converter that gives a model of gains."""

import os
import pathlib
import sys
import types

import pytest
from command_line import Gains, error_line, found

import keras_bandit
from keras_bandit import cli
from keras_bandit.cli import convert


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
    monkeypatch.setattr(keras_bandit, "convert", module, raising=False)
    monkeypatch.chdir(tmp_path)
    pathlib.Path("x.ckpt").touch()
    return module


def test_convert_says_what_was_found(converter, capsys):
    assert cli.main(["convert", "x.ckpt", "a/preset"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "x.ckpt -> a/preset",
        "  class       Gains",
        "  bands       12 musical",
        "  stems       speech, music, effects",
        "  rate        8000 Hz",
        "  channels    any number",
        "  parameters  1,234,567",
    ]
    assert found("a") == ["preset/config.json", "preset/model.weights.h5"]
    assert os.listdir("a") == ["preset"]


def test_convert_passes_the_sample_rate_on(converter, capsys):
    assert cli.main(["convert", "x.ckpt", "a", "--sample-rate", "96000"]) == 0
    assert "rate        96000 Hz" in capsys.readouterr().out


def test_convert_into_an_empty_directory(converter):
    os.mkdir("preset")
    assert cli.main(["convert", "x.ckpt", "preset"]) == 0
    assert found("preset") == ["config.json", "model.weights.h5"]


def test_convert_replaces_presets_only_with_overwrite(converter, capsys):
    os.mkdir("preset")
    for name in ("config.json", "decoder_old.weights.h5"):
        pathlib.Path("preset", name).write_text("old")
    assert cli.main(["convert", "x.ckpt", "preset"]) == 2
    assert error_line(capsys) == "preset: already there; --overwrite replaces"
    assert cli.main(["convert", "x.ckpt", "preset", "--overwrite"]) == 0
    assert found() == [
        "preset/config.json",
        "preset/model.weights.h5",
        "x.ckpt",
    ]
    assert pathlib.Path("preset/config.json").read_text() == "new"


def test_convert_never_replaces_another_directory(converter, capsys):
    os.mkdir("home")
    pathlib.Path("home/letters").write_text("dear")
    assert cli.main(["convert", "x.ckpt", "home", "--overwrite"]) == 2
    assert "not a preset directory" in error_line(capsys)
    assert cli.main(["convert", "x.ckpt", "x.ckpt", "--overwrite"]) == 2
    assert "x.ckpt: not a directory" in error_line(capsys)
    assert found() == ["home/letters", "x.ckpt"]


def test_bands_of_each_stem_are_named(model):
    model.backbone = types.SimpleNamespace(
        band_layout={"speech": "bass", "music": [(0, 9)], "effects": "bass"},
        decoder_bands=lambda stem: [None] * len(stem),
    )
    assert convert._describe_bands(model) == (
        "speech: 6 bass, music: 5 own, effects: 7 bass"
    )


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
    pathlib.Path("preset/config.json").write_text("old")
    before = found()

    def break_off(self, folder):
        os.makedirs(folder, exist_ok=True)
        pathlib.Path(folder, "config.json").write_text("half")
        raise error

    monkeypatch.setattr(Gains, "save_to_preset", break_off)
    arguments = ["convert", "x.ckpt", "preset", "--overwrite"]
    assert cli.main(arguments) == status
    assert found() == before
    assert pathlib.Path("preset/config.json").read_text() == "old"


def test_convert_of_a_missing_checkpoint(converter, capsys):
    assert cli.main(["convert", "y.ckpt", "preset"]) == 2
    assert error_line(capsys) == "y.ckpt: No such file or directory"
