"""The tutorial's commands, one after the other, made small."""

import os
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from keras_bandit import AudioSeparator
from keras_bandit.data import film_clip

from .pages import DOCS, ROOT

PAGE = (DOCS / "tutorial.md").read_text()

# What makes it take a minute and not ten, said where it stands in the page.
SMALLER = {
    "--num-tracks 40,4,4": "--num-tracks 2,1,1",
    "--seconds 30": "--seconds 4",
    "--batch-size 4": "--batch-size 1",
    "--epoch-size 200": "--epoch-size 2",
    "--epochs 5": "--epochs 1",
    "--preset bandit_demo": "--preset tiny",
    "python recipes": f"{sys.executable} {ROOT / 'recipes'}",
    "keras-bandit": f"{sys.executable} -m keras_bandit",
}


def commands():
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    for command in "".join(blocks).splitlines():
        for found, smaller in SMALLER.items():
            command = command.replace(found, smaller)
        yield shlex.split(command)


def test_page_has_what_is_made_smaller():
    for found in SMALLER:
        assert found in PAGE, found


@pytest.mark.slow
def test_commands_of_the_page(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    pytest.importorskip("pyloudnorm")
    from keras_bandit.models import BanditAudioSeparator, BanditBackbone

    backbone = BanditBackbone(
        num_bands=4, n_fft=1024, embed_dim=4, rnn_dim=4, num_pairs=1
    )
    tiny = BanditAudioSeparator(
        backbone, ["speech", "music", "effects"], 256, mlp_dim=3
    )
    tiny.save_to_preset(tmp_path / "tiny")
    rate = 22050  # of the user's files; the tracks have 44.1 kHz
    for number in range(6):
        for stem, audio in film_clip(3.0, rate, seed=number).items():
            folder = tmp_path / "sounds" / stem
            folder.mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / f"{number}.flac", audio.T, rate)
    film = np.concatenate(list(film_clip(2.0, 48000, seed=9).values()))
    soundfile.write(tmp_path / "film.wav", film.T, 48000)

    for command in commands():
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout
    table = (tmp_path / "results" / "results.md").read_text()
    for word in ("Mixture", "Ideal Ratio Mask", "speech", "music", "effects"):
        assert word.lower() in table.lower()
    names = {path.name for path in (tmp_path / "separated/film").iterdir()}
    assert names == {"speech.wav", "music.wav", "effects.wav"}
    info = soundfile.info(tmp_path / "separated" / "film" / "music.wav")
    assert (info.frames, info.samplerate, info.channels) == (96000, 48000, 3)
    assert AudioSeparator.from_preset(tmp_path / "run" / "best").stems
