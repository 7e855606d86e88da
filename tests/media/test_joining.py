"""Tracks that are the channels of one recording."""

import numpy as np
import pytest
import soundfile

from keras_bandit.media import AudioFileError, open_source, remux
from keras_bandit.media.layouts import LAYOUTS

from .films import clicks, make_film, on_grid

pytestmark = pytest.mark.once

EIGHT = on_grid(clicks(1, num_channels=8), 24)


def film_of(path, audio, layout="mono", **options):
    """A film with a mono track for each channel."""
    make_film(
        path,
        {str(i): channel[None] for i, channel in enumerate(audio)},
        "pcm_s24le",
        layout=layout,
        video="mpeg2video",
        video_seconds=1,
        **options,
    )
    return path


def read(source, **options):
    return np.concatenate(list(source.blocks(**options)), axis=1)


@pytest.mark.parametrize("container", ["mxf", "mov", "mkv"])
@pytest.mark.parametrize(
    ("tracks", "layout"),
    [
        ([1, 2, 3, 4, 5, 6], "5.1"),
        ([1, 2, 3, 4, 5, 6, 7, 8], "7.1"),
        ([7, 8], "stereo"),
        ([2, 1], "stereo"),
        ([1, 2, 3], "unknown"),
        ([3], "mono"),
    ],
)
def test_mono_tracks_are_channels(tmp_path, container, tracks, layout):
    path = film_of(tmp_path / f"film.{container}", EIGHT)
    source = open_source(path, audio_track=tracks)
    assert source.layout == layout
    assert source.channel_mask == LAYOUTS.get(layout)
    assert (source.num_channels, source.num_tracks) == (len(tracks), 8)
    assert source.subtype == "PCM_24"
    assert source.duration_seconds == pytest.approx(1)
    expected = EIGHT[[track - 1 for track in tracks]]
    np.testing.assert_array_equal(read(source), expected)
    assert source.num_samples == 48000
    np.testing.assert_array_equal(
        read(source, start=20001, size=777), expected[:, 20001:]
    )


def test_tracks_of_several_channels(tmp_path):
    """Stereo pairs: left and right, centre and LFE, surrounds."""
    path = tmp_path / "film.mov"
    pairs = {str(i): EIGHT[i : i + 2] for i in (0, 2, 4)}
    make_film(path, pairs, "pcm_s24le", video_seconds=1)
    source = open_source(path, audio_track=[1, 2, 3])
    assert source.layout == "5.1"
    np.testing.assert_array_equal(read(source), EIGHT[:6])


@pytest.mark.parametrize("video", ["mpeg4", None])
def test_different_starts_and_lengths(tmp_path, video):
    path = tmp_path / "film.mov"
    tracks = {"1": EIGHT[:1], "2": EIGHT[1:2, :30_001]}
    starts = [0.5, 0.25]
    make_film(
        path,
        tracks,
        "pcm_s24le",
        layout="mono",
        video=video,
        audio_start=starts,
        options={"movie_timescale": "48000"},
    )
    source = open_source(path, audio_track=[1, 2])
    first = 0 if video else 12_000  # sample 0 is where the earlier one begins
    expected = np.zeros((2, 72_000 - first), "float32")
    expected[0, 24_000 - first :] = EIGHT[0]
    expected[1, 12_000 - first :][:30_001] = EIGHT[1, :30_001]
    np.testing.assert_array_equal(read(source), expected)
    assert source.start_offset == 12_000 - first
    assert source.duration_seconds == pytest.approx(expected.shape[1] / 48000)
    # In a block in which one of them is over.
    np.testing.assert_array_equal(
        read(source, start=50_000), expected[:, 50_000:]
    )


def test_tracks_that_tell_their_speakers(tmp_path):
    speakers = ["FL", "FR", "FC", "LFE", "SL", "SR"]
    path = film_of(tmp_path / "film.mov", EIGHT[:6], speakers)
    source = open_source(path, audio_track=list(range(1, 7)))
    assert source.layout == "5.1(side)"
    assert source.speakers == speakers
    film = ["FL", "FC", "FR", "SL", "SR", "LFE"]  # as cinemas count
    path = film_of(tmp_path / "cinema.mov", EIGHT[:6], film)
    with pytest.raises(
        AudioFileError, match="in the order of a layout they are 1,3,2,6,4,5"
    ):
        open_source(path, audio_track=list(range(1, 7)))
    source = open_source(path, audio_track=[1, 3, 2, 6, 4, 5])
    assert source.layout == "5.1(side)"
    np.testing.assert_array_equal(read(source), EIGHT[[0, 2, 1, 5, 3, 4]])


def test_what_cannot_be_joined(tmp_path):
    path = tmp_path / "film.mov"
    tracks = {"1": EIGHT[:1], "2": EIGHT[1:2]}
    make_film(path, tracks, layout="mono", sample_rate=[48000, 44100])
    with pytest.raises(
        AudioFileError,
        match=r"film.mov: audio tracks 1, 2 differ in rate, 48000, 44100 Hz",
    ):
        open_source(path, audio_track=[1, 2])
    with pytest.raises(AudioFileError, match="no audio track 3; there are 1"):
        open_source(path, audio_track=[1, 3])
    for tracks in ([], [1, 1]):
        with pytest.raises(ValueError, match="a list of some, each once"):
            open_source(path, audio_track=tracks)
    sound = tmp_path / "x.wav"
    soundfile.write(sound, EIGHT.T, 48000)
    with pytest.raises(AudioFileError, match="no audio track 2; there is 1"):
        open_source(sound, audio_track=[1, 2])


def test_gap_in_all_tracks_is_told_once(tmp_path):
    path = film_of(
        tmp_path / "film.mkv", EIGHT[:2], size=2304, skip=range(5, 9)
    )
    source = open_source(path, audio_track=[1, 2])
    expected = EIGHT[:2].copy()
    expected[:, 5 * 2304 : 9 * 2304] = 0
    np.testing.assert_array_equal(read(source), expected)
    assert len(source.warnings) == 1
    assert "a gap of 9216 samples" in source.warnings[0]


def test_remuxing_takes_the_tracks_too(tmp_path):
    path = film_of(tmp_path / "film.mxf", EIGHT[:6])
    tracks = list(range(1, 7))
    stem = open_source(path, audio_track=tracks)
    output = tmp_path / "out.mov"
    assert remux(path, {"speech": stem}, output, audio_track=tracks) == []
    found = open_source(output, audio_track=7)
    assert found.layout == "5.1"
    np.testing.assert_array_equal(read(found), EIGHT[:6])
