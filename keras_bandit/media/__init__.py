"""Sound of films and of sound files, read and written in blocks."""

from keras_bandit.media.audio import AudioFileError
from keras_bandit.media.describing import describe
from keras_bandit.media.opening import open_source
from keras_bandit.media.remuxing import remux
from keras_bandit.media.source import Source
from keras_bandit.media.writing import FlacWriter, WavWriter, stem_writers

__all__ = [
    "AudioFileError",
    "FlacWriter",
    "Source",
    "WavWriter",
    "describe",
    "open_source",
    "remux",
    "stem_writers",
]
