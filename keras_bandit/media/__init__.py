"""Sound of films and of sound files, read and written in blocks."""

from keras_bandit.media.audio import AudioFileError
from keras_bandit.media.opening import open_source
from keras_bandit.media.source import Source

__all__ = ["AudioFileError", "Source", "open_source"]
