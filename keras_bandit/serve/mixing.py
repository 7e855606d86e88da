"""A mix of stems that were written: what is heard in the mixer, as a file."""

import numpy as np

from keras_bandit.media.sound_file import SoundFile
from keras_bandit.media.writing import stem_writers


def write_mix(paths, gains_db, path):
    """Writes a weighted sum of sound files as WAV FLOAT, which never clips.

    All have one rate, length and layout, as the files of one `separate_file`.
    Chunks, such as timecode, are the first one's.

    Args:
        paths: dict of the files' paths.
        gains_db: dict of the dB of those that are in the mix.
        path: path of the mix; one that exists is replaced.

    Raises:
        AudioFileError, OSError: if a file cannot be read, or written.
    """
    sounds = [SoundFile.open(paths[name]) for name in gains_db]
    gains = [np.float32(10 ** (db / 20)) for db in gains_db.values()]
    blocks = zip(*(sound.blocks() for sound in sounds), strict=True)
    options = {"subtype": "FLOAT", "overwrite": True}
    with stem_writers({"mix": path}, sounds[0], "wav", **options) as writers:
        for found in blocks:
            pairs = zip(gains, found, strict=True)
            writers["mix"].write(sum(gain * block for gain, block in pairs))
