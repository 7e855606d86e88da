"""The commands in a process of their own, on this run's backend."""

import os

import keras
import pytest
import soundfile

from .command_line import found, python, write

# TensorFlow's start messages, absl's and libmpg123's notes would appear here.
CODE = """
from keras_bandit import cli, data
from keras_bandit.data.track import ArrayTrack
from keras_bandit.media import open_source

common = ["--preset", "preset", "--engine", "keras", "--chunk-seconds", "0.2"]
assert cli.main(["presets"]) == 0
assert cli.main(["convert", {checkpoint!r}, "preset"]) == 0
assert cli.main(["separate", "film.mp3", *common]) == 0
film = open_source("film.mp3")
stems = dict.fromkeys(["speech", "music", "effects", "mixture"], film.read())
track = ArrayTrack("film", film.sample_rate, stems)
data.open_tracks = lambda *args: [track]
arguments = ["--data-dir", "data", "--oracles", "mixture", "--hop-seconds", "0.2"]
assert cli.main(["evaluate", *common, *arguments]) == 0
"""


@pytest.mark.slow
def test_commands_print_no_notes_of_libraries(
    tmp_path, monkeypatch, checkpoint
):
    monkeypatch.chdir(tmp_path)
    write("film.mp3", 1, 8820, 44100, subtype="MPEG_LAYER_III")
    with open("film.mp3", "r+b") as file:
        content = file.read()
        file.seek(0)
        # A tag whose comment is too short.
        file.write(b"ID3\3\0\0\0\0\0\x0fCOMM\0\0\0\5\0\0\0engx" + content)
    os.makedirs("data/film_mix/paths/1.0.0")
    with open("data/film_mix/paths/1.0.0/dataset_info.json", "w"):
        pass
    env = {**os.environ, "KERAS_BACKEND": keras.config.backend()}
    env.pop("TF_CPP_MIN_LOG_LEVEL", None)
    path = str(checkpoint("bandit_v1_musical12"))
    code = CODE.format(checkpoint=path)
    done = python("-c", code, env=env, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{path} -> preset" in done.stdout
    assert "film.mp3: 0.20 s" in done.stdout
    assert "-> evaluation" in done.stdout
    assert found("separated") == [
        f"film/{stem}.wav" for stem in ("effects", "music", "speech")
    ]
    assert soundfile.info("separated/film/music.wav").frames == 8820
