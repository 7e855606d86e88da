"""What the README shows is run: code blocks in order, in one namespace."""

import os
import re
import shutil

import pytest
import soundfile

from keras_bandit import cli
from keras_bandit.data import film_clip
from keras_bandit.inference import separation
from keras_bandit.models.presets import PRESETS

from .pages import ROOT, block_commands, blocks

README = ROOT / "README.md"
# Datasets: the tutorial's test runs these, with generated ones. A server.
ELSEWHERE = "prepare", "evaluate", "bulk", "serve"
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


@pytest.mark.slow
def test_blocks_run_in_order(newcomer):
    namespace = {}
    for language, block in blocks(README):
        if language == "python":
            exec(compile(block, "README.md", "exec"), namespace)
        for program, *argv in block_commands(language, block):
            if program == "keras-bandit" and argv[0] not in ELSEWHERE:
                assert cli.main(argv) == 0, argv
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


def test_preset_rows_are_true():
    rows = re.findall(
        r"^\| `(\w+)` \|.*\| (.*) \| ([\d,]+) \|$", README.read_text(), re.M
    )
    assert len(rows) >= 5
    for name, stems, parameters in rows:
        assert stems == ", ".join(PRESETS[name].stems)
        assert parameters == f"{PRESETS[name].sizes().parameters:,}"
