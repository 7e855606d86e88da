"""What the page draws and plays."""

import io
import math

import numpy as np
import pytest
import soundfile

from keras_bandit.common.files import read_json
from keras_bandit.media import open_source
from keras_bandit.media.writing import WavWriter
from keras_bandit.serve.look import draw, piece, stereo

pytestmark = pytest.mark.once

SURROUND = ["FL", "FR", "FC", "LFE", "SL", "SR"]
RATE = 8000


def test_mono_and_stereo_are_played_as_they_are():
    for channels in (1, 2):
        audio = np.ones((channels, 9), "float32")
        assert stereo(audio, []) is audio


@pytest.mark.parametrize(
    ("speaker", "sides"),
    [
        ("FL", (1, 0)),
        ("SL", (1, 0)),
        ("FR", (0, 1)),
        ("SR", (0, 1)),
        ("FC", (math.sqrt(0.5), math.sqrt(0.5))),
        ("LFE", (math.sqrt(0.5), math.sqrt(0.5))),
    ],
)
def test_surround_is_played_as_a_stereo_downmix(speaker, sides):
    audio = np.zeros((6, 9), "float32")
    audio[SURROUND.index(speaker)] = 1
    # Scaled so that six channels at full scale are full scale.
    whole = 2 + 2 * math.sqrt(0.5)
    expected = np.outer(sides, np.ones(9)) / whole
    np.testing.assert_allclose(stereo(audio, SURROUND), expected, atol=1e-6)
    full = stereo(np.ones((6, 9), "float32"), SURROUND)
    np.testing.assert_allclose(full, 1, atol=1e-6)


def test_channels_of_no_speakers_go_to_both_sides():
    audio = np.random.default_rng(0).uniform(-1, 1, (3, 9)).astype("float32")
    left, right = stereo(audio, [])
    np.testing.assert_allclose(left, audio.mean(axis=0), atol=1e-6)
    np.testing.assert_array_equal(left, right)


def test_a_surround_file_is_drawn_whole_and_played_in_stereo(tmp_path):
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, (6, 9 * RATE))
    audio = audio.astype("float32")
    path = tmp_path / "film.wav"
    with WavWriter(path, RATE, 6, "FLOAT", channel_mask=0x60F) as writer:
        writer.write(audio)
    speakers = open_source(path).speakers
    assert speakers == SURROUND
    names = draw(path, {"speech": path}, tmp_path / "look")
    assert names == ["original", "speech"]
    look = read_json(tmp_path / "look" / "look.json")
    assert look["num_samples"] == 9 * RATE
    expected = stereo(audio, speakers).T
    for file in (path, tmp_path / "look" / "original.flac"):
        pieces = [piece(file, index) for index in range(3)]
        assert pieces.pop() is None
        heard = [soundfile.read(io.BytesIO(one))[0] for one in pieces]
        np.testing.assert_allclose(
            np.concatenate(heard), expected, atol=2 / 2**15
        )
    # What is downloaded keeps all channels.
    assert soundfile.info(path).channels == 6
