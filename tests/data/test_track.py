"""Tracks: ranges are checked, and both ways of reading agree."""

import numpy as np
import pytest
import soundfile

from keras_bandit.data.stored_tracks import PathTrack
from keras_bandit.data.track import ArrayTrack

pytestmark = pytest.mark.once

RATE = 8000
SUBTYPES = {
    "speech": "PCM_16",
    "music": "PCM_24",
    "effects_foreground": "FLOAT",
    "effects_background": "PCM_16",
}


@pytest.fixture(params=["array", "paths"])
def track(request, tmp_path):
    """A stereo track of 500 samples; on disk, effects are a sum of parts."""
    rng = np.random.default_rng(0)
    stems = {stem: rng.uniform(-0.5, 0.5, (2, 500)) for stem in SUBTYPES}
    if request.param == "array":
        return ArrayTrack("song", RATE, stems)
    paths = {stem: str(tmp_path / f"{stem}.wav") for stem in SUBTYPES}
    for stem, subtype in SUBTYPES.items():
        soundfile.write(paths[stem], stems[stem].T, RATE, subtype)
    entry = {
        "name": "song",
        "sample_rate": RATE,
        "num_channels": 2,
        "num_samples": 500,
        "subtypes": SUBTYPES,
    }
    return PathTrack(entry, paths)


def test_reading_into_an_array_gives_what_reading_gives(track):
    for stem in track.stems:
        whole = track.read(stem)
        for start, stop in ((0, 500), (17, 60), (499, 500), (500, 500)):
            piece = track.read(stem, start, stop)
            np.testing.assert_array_equal(piece, whole[:, start:stop])
            # A row of a batch is what is filled in training.
            batch = np.full((3, 2, stop - start), 7, "float32")
            track.read_into(stem, start, batch[1])
            np.testing.assert_array_equal(batch[1], piece)
            assert (batch[[0, 2]] == 7).all()


def test_a_sum_of_stored_parts_is_a_stem_of_its_own(track):
    if "effects" not in track.stems:
        pytest.skip("an array holds what it was given")
    np.testing.assert_array_equal(
        track.read("effects"),
        track.read("effects_foreground") + track.read("effects_background"),
    )


@pytest.mark.parametrize(
    ("stem", "start", "stop", "message"),
    [
        ("vocals", 0, 10, "song has no stem 'vocals'"),
        ("speech", -1, 9, "start=-1, stop=9"),
        ("speech", 495, 505, "start=495, stop=505"),
    ],
)
def test_unknown_stems_and_ranges_are_named(track, stem, start, stop, message):
    with pytest.raises(ValueError, match=message):
        track.read(stem, start, stop)
    out = np.zeros((2, stop - start), "float32")
    with pytest.raises(ValueError, match=message):
        track.read_into(stem, start, out)
