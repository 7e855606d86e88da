"""Whether a WAV file breaks off, by libsndfile's log."""

import numpy as np
import pytest
import soundfile

from keras_bandit.common.broken_off import missing_samples

pytestmark = pytest.mark.once


def missing(path, content):
    path.write_bytes(content)
    return missing_samples(soundfile.info(path).extra_info)


def test_what_is_missing_is_counted_in_bytes(tmp_path):
    path = tmp_path / "x.wav"
    soundfile.write(path, np.full((1000, 2), 0.1), 44100, subtype="PCM_16")
    whole = path.read_bytes()
    assert missing(path, whole) is None
    cut = "breaks off after 3900 of 4000 bytes of samples"
    assert missing(path, whole[:-100]) == cut
    # As programs write them into a pipe, whose length they do not know.
    place = whole.index(b"data") + 4
    piped = whole[:place] + bytes([255] * 4) + whole[place + 4 :]
    assert missing(path, piped) is None
    # A chunk behind the samples.
    assert missing(path, whole + b"LIST\4\0\0\0abcd") is None
