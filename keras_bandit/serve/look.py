"""Sounds for the page: pictures, and pieces in stereo to play."""

import base64
import io
import math
import os
import pathlib

import numpy as np
import soundfile

from keras_bandit.common.files import write_json
from keras_bandit.inference.picture import Picture
from keras_bandit.media import open_source
from keras_bandit.media.sound_file import SoundFile

ORIGINAL = "original"
"""The recording itself, among the sounds."""

PIECE_SECONDS = 8.0
"""Length of what a page fetches at a time."""


def stereo(audio, speakers):
    """Sound for two loudspeakers, none of it louder than full scale.

    Args:
        audio: `(channels, samples)`.
        speakers: list of the channels' speakers, "FL"; empty if unknown.

    Returns:
        `(channels, samples)`: mono and stereo as they are, of more channels
        two, where the centre goes to both sides 3 dB lower.
    """
    if len(audio) <= 2:
        return audio
    weights = np.full((2, len(audio)), math.sqrt(0.5))
    for channel, name in enumerate(speakers):
        left, right = "L" in name and name != "LFE", "R" in name
        if left != right:
            weights[:, channel] = (1, 0) if left else (0, 1)
    weights /= weights.sum(axis=1, keepdims=True)
    return (weights @ audio).astype("float32")


def draw(source, paths, folder, audio_track=None, progress=None):
    """Draws a recording and its stems, and keeps the recording for playing.

    Args:
        source: path of the recording.
        paths: dict of the stems' files.
        folder: `pathlib.Path`. Gets `look.json`, a PNG for each spectrogram and
            `original.flac`.
        audio_track: of the recording; see `open_source`.
        progress: called with the seconds of sound that are drawn, and with how
            many there are.

    Returns:
        list of str, what can be played.
    """
    folder.mkdir(exist_ok=True)
    recording = open_source(source, audio_track)
    stems = {name: SoundFile.open(path) for name, path in paths.items()}
    length = next(iter(stems.values())).num_samples
    sounds = {ORIGINAL: recording, **stems}
    rate, drawn = recording.sample_rate, 0
    pictures = {name: Picture(rate) for name in sounds}
    partial = folder / ".original.flac"
    with soundfile.SoundFile(
        partial,
        "w",
        rate,
        min(recording.num_channels, 2),
        "PCM_16",
        format="FLAC",
    ) as file:
        for name, sound in sounds.items():
            for block in sound.blocks():
                pictures[name].push(block)
                if sound is recording:
                    file.write(stereo(block, recording.speakers).T)
                drawn += block.shape[1]
                if progress:
                    progress(drawn / rate, len(sounds) * length / rate)
            pictures[name].finish()
    os.replace(partial, folder / "original.flac")
    loudest = max(picture.loudest_db for picture in pictures.values())
    look = {"sample_rate": rate, "num_samples": length, "sounds": {}}
    look["piece_seconds"] = PIECE_SECONDS
    for name, picture in pictures.items():
        image = base64.b64decode(picture.spectrogram(loudest))
        (folder / f"{name}.png").write_bytes(image)
        look["sounds"][name] = {
            "envelope": picture.envelope(),
            "width": picture.width,
            "peak": picture.peak,
            "highest_hz": picture.highest_hz,
        }
    write_json(folder / "look.json", look)
    return list(pictures)


def piece(path, index):
    """A piece of a sound file as FLAC; the page plays pieces one after another.

    Args:
        path: path of a sound file.
        index: int, from 0. Piece n begins at `n * PIECE_SECONDS`.

    Returns:
        bytes; `None` beyond the end.
    """
    sound = SoundFile.open(pathlib.Path(path))
    size = round(PIECE_SECONDS * sound.sample_rate)
    start = index * size
    if not 0 <= start < sound.num_samples:
        return None
    with soundfile.SoundFile(path) as file:
        file.seek(start)
        audio = file.read(size, "float32", always_2d=True).T
    content = io.BytesIO()
    soundfile.write(
        content,
        stereo(audio, sound.speakers).T,
        sound.sample_rate,
        "PCM_16",
        format="FLAC",
    )
    return content.getvalue()
