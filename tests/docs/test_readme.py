"""What the README shows is run: code blocks in order, in one namespace."""

import os
import pathlib
import re
import shlex
import shutil

import pytest
import soundfile

from keras_bandit import cli
from keras_bandit.data import film_clip
from keras_bandit.inference import separation
from keras_bandit.models.presets import PRESETS

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall(README)
COMMANDS = [
    line
    for language, block in BLOCKS
    if not language
    for line in block.splitlines()
]
CHECKPOINT = "dnr-3s-mus64-l1snr-plus.ckpt"


@pytest.fixture
def newcomer(tmp_path, monkeypatch, checkpoint):
    """A directory with what the README's reader has: a film, a checkpoint.

    Both are small, and the command line's chunks as short as the film.
    """
    monkeypatch.chdir(tmp_path)
    chunk_and_hop = separation.chunk_and_hop
    monkeypatch.setattr(
        separation,
        "chunk_and_hop",
        lambda model, chunk, hop: chunk_and_hop(model, chunk or 1.0, hop),
    )
    film = sum(film_clip(seconds=1.0, sample_rate=48000).values())
    soundfile.write("film.wav", film.T, 48000, subtype="FLOAT")
    shutil.copy(checkpoint("bandit_v1_musical12"), CHECKPOINT)


def needs_data(command):
    """Datasets; the tutorial's test runs these, with generated ones."""
    return command.split()[1] in ("prepare", "evaluate")


@pytest.mark.slow
def test_blocks_run_in_order(newcomer):
    namespace = {}
    for language, block in BLOCKS:
        if language == "python":
            exec(compile(block, "README.md", "exec"), namespace)
            continue
        for line in block.splitlines():
            if line.startswith("keras-bandit ") and not needs_data(line):
                assert cli.main(shlex.split(line)[1:]) == 0, line
    # What the README says that they leave behind.
    assert sorted(os.listdir("separated/film")) == [
        "effects.wav",
        "music.wav",
        "speech.wav",
    ]
    assert sorted(os.listdir("try")) == ["film"]
    assert sorted(os.listdir("out/film")) == ["mne.flac", "speech.flac"]
    film, speech = soundfile.info("film.wav"), soundfile.info("speech.wav")
    assert (speech.frames, speech.channels) == (film.frames, film.channels)
    assert namespace["mixtures"].shape == (4, 1, 44100)
    assert os.path.isfile("mne.weights.h5")
    assert namespace["separator"].metadata["source"] == CHECKPOINT


def test_commands_are_all_known():
    """Guards the test above: it would pass over a line it does not know."""
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M)
    for line in COMMANDS:
        program, argument, *_ = line.split()
        if program == "make":
            assert argument in targets
        elif program == "python":
            assert (ROOT / argument).is_file()
        else:
            assert program == "keras-bandit"
            cli.build_parser().parse_args(shlex.split(line)[1:])
    assert len(COMMANDS) >= 6


def test_links_lead_to_files():
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", README)
    assert "LICENSE" in links
    missing = [link for link in links if not (ROOT / link).is_file()]
    assert not missing


def test_preset_rows_are_true():
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.*) \| ([\d,]+) \|$", README, re.M)
    assert len(rows) >= 5
    for name, stems, parameters in rows:
        assert stems == ", ".join(PRESETS[name].stems)
        assert parameters == f"{PRESETS[name].sizes().parameters:,}"
