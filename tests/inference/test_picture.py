"""Envelope and spectrogram of a stream."""

import base64
import struct
import zlib

import numpy as np
import pytest

from keras_bandit.inference import picture
from keras_bandit.inference.picture import Picture

pytestmark = pytest.mark.once


def picture_of(audio, rate=8000, block=1000):
    made = Picture(rate)
    for start in range(0, audio.shape[1], block):
        made.push(audio[:, start : start + block])
    made.finish()
    return made


def pixels(png):
    """`(height, width)` of an image without filters, and its palette."""
    data, found = base64.b64decode(png)[8:], {}
    while data:
        size, name = struct.unpack(">I4s", data[:8])
        found[name] = data[8 : 8 + size]
        assert zlib.crc32(data[4 : 8 + size]) == int.from_bytes(
            data[8 + size : 12 + size]
        )
        data = data[12 + size :]
    width, height, *rest = struct.unpack(">IIBBBBB", found[b"IHDR"])
    assert rest == [8, 3, 0, 0, 0]
    lines = np.frombuffer(zlib.decompress(found[b"IDAT"]), "uint8")
    lines = lines.reshape(height, width + 1)
    assert not lines[:, 0].any()
    return lines[:, 1:], np.frombuffer(found[b"PLTE"], "uint8").reshape(-1, 3)


def noise(samples, channels=2):
    rng = np.random.default_rng(0)
    return rng.uniform(-0.5, 0.5, (channels, samples)).astype("float32")


@pytest.mark.parametrize("samples", [1, 255, 256, 5000, 40_001])
def test_blocks_do_not_count(samples):
    audio = noise(samples)
    whole = picture_of(audio, block=samples)
    parts = picture_of(audio, block=777)
    assert whole.envelope() == parts.envelope()
    assert whole.spectrogram(0) == parts.spectrogram(0)
    assert len(whole.low) == -(-samples // 256) == np.ceil(whole.width)


@pytest.mark.parametrize("samples", [50_000, 51_200, 77_777])
def test_columns_are_halved_when_they_run_out(monkeypatch, samples):
    monkeypatch.setattr(picture, "_MOST_COLUMNS", 100)
    audio = noise(samples)
    made, size = picture_of(audio), 256 * (2 if samples <= 51_200 else 4)
    assert made.width == samples / size
    for i, (low, high) in enumerate(zip(made.low, made.high, strict=True)):
        column = audio[:, i * size : (i + 1) * size]
        assert (low, high) == (column.min(), column.max())
    assert made.peak == np.abs(audio).max()


def test_a_tone_is_where_and_as_loud_as_it_is():
    time = np.arange(4 * 8000) / 8000
    audio = 0.1 * np.sin(2 * np.pi * 1000 * time)[None]
    audio[:, :16000] = 0
    made = picture_of(audio)
    assert -25 < made.loudest_db < -20  # the band is wider than the tone
    shades, palette = pixels(made.spectrogram(made.loudest_db))
    height, width = shades.shape
    assert palette.shape == (64, 3)
    loud = shades[::-1].argmax(axis=0)[width // 2 + 1 :]
    np.testing.assert_allclose(loud / height, made.height_of(1000), atol=0.03)
    assert not shades[:, : width // 2 - 1].any()
    assert shades.max() == 63


def test_the_envelope_is_a_path():
    audio = np.array([[0.5] * 256 + [-0.25] * 256], "float32")
    path = picture_of(audio).envelope()
    assert path == "M0 0v-500h1v750h1v0h-1v-750h-1Z"


def test_channels_that_cancel_are_seen():
    audio = noise(8000, 1)
    made = picture_of(np.concatenate([audio, -audio]))
    assert made.peak > 0.49
    assert "NaN" not in made.envelope()
