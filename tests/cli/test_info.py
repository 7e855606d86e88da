"""`keras-bandit info`: tracks of films and of sound files."""

import json

import numpy as np
import pytest
import soundfile

from keras_bandit.cli import main

from ..media.films import clicks, make_film
from .command_line import error_line

pytestmark = pytest.mark.once


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "film.mov"
    audio = clicks(1)
    make_film(
        path,
        {"eng": audio, "ger": audio},
        "pcm_s24le",
        video_seconds=1,
        timecode="01:00:00:00",
        audio_start=0.25,
    )
    return path


def test_film(film, capsys):
    assert main(["info", str(film)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(
        f"{film}: QuickTime / MOV, 0:00:01.250, timecode"
    )
    assert lines[1] == (
        "  audio 1 (default): eng, sound eng, pcm_s24le, stereo, 48000 Hz, "
        "0:00:01.000, begins +0.250 s from the picture"
    )
    assert lines[2].startswith("  audio 2: ger, sound ger")
    assert lines[3] == "  video: mpeg4, 64x48, 25 frames/s"


def test_film_as_json(film, capsys):
    assert main(["info", "--json", str(film)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["timecode"] == "01:00:00:00"
    assert [track["track"] for track in found["audio"]] == [1, 2]
    assert found["audio"][1]["language"] == "ger"
    assert found["audio"][0]["start_seconds"] == 0.25
    assert found["audio"][0]["duration_seconds"] == 1
    assert found["video"][0]["frames_per_second"] == 25


def test_sound_file(tmp_path, capsys):
    path = tmp_path / "x.wav"
    soundfile.write(path, np.zeros((4000, 6)), 8000)
    assert main(["info", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{path}: WAV, 0:00:00.500",
        "  audio 1 (default): PCM_16, 6 channels, 8000 Hz, 0:00:00.500",
    ]
    assert main(["info", "--json", str(path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["audio"][0]["num_samples"] == 4000


def test_bad_file(tmp_path, capsys):
    path = tmp_path / "x.mkv"
    path.write_text("no film")
    assert main(["info", str(path)]) == 2
    assert error_line(capsys) == f"{path}: not a media file"


def test_mono_tracks_that_may_be_channels(tmp_path, capsys):
    path = tmp_path / "film.mxf"
    tracks = {str(i): channel[None] for i, channel in enumerate(clicks(1))}
    make_film(path, tracks, layout="mono", video="mpeg2video")
    assert main(["info", str(path)]) == 0
    assert (
        "  mono tracks, all alike: if they are the 2 channels of one recording, "
        "--audio-track 1-2 joins them"
    ) in capsys.readouterr().out.splitlines()
