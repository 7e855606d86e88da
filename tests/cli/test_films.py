"""Films that cannot be separated: a line each, and nothing is left behind."""

import pytest

from ..media.films import clicks, make_film
from .command_line import error_line, found, separate

pytestmark = pytest.mark.once

SOUND = clicks(1)


def no_sound():
    make_film("film.mp4", {}, video_seconds=1)


def no_samples():
    make_film("film.mkv", SOUND[:, :0], "flac", video_seconds=1)


def encrypted():
    options = {
        "encryption_scheme": "cenc-aes-ctr",
        "encryption_key": "0" * 31 + "1",
        "encryption_kid": "0" * 31 + "2",
    }
    make_film("film.mp4", SOUND, "aac", options=options, video_seconds=1)


def damaged():
    path = make_film("film.mkv", SOUND, "pcm_s16le", video_seconds=1)
    with open(path, "r+b") as file:
        file.truncate(100_000)


def changing():
    for name, layout in (("film.ts", "stereo"), ("two.ts", "mono")):
        sound = SOUND if layout == "stereo" else SOUND[:1]
        make_film(name, sound, "ac3", video=None, layout=layout)
    with open("film.ts", "ab") as film, open("two.ts", "rb") as rest:
        film.write(rest.read())


def two_rates():
    tracks = {"1": SOUND[:1], "2": SOUND[1:]}
    options = {"sample_rate": [48000, 44100], "layout": "mono"}
    make_film("film.mov", tracks, video_seconds=1, **options)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (no_sound, [], "film.mp4: no audio track"),
        (no_samples, [], "film.mkv: audio track 1: no samples, zero length"),
        (encrypted, [], "film.mp4: audio track 1 is encrypted"),
        (damaged, [], "film.mkv: audio track 1 is damaged at 0:00:00."),
        (changing, [], "film.ts: audio track 1 changes at 0:00:01."),
        (two_rates, ["--audio-track", "1-2"], "tracks 1, 2 differ in rate"),
        (two_rates, ["--audio-track", "3"], "no audio track 3; there are 1"),
    ],
)
def test_bad_films_are_one_line(model, capsys, make, options, message):
    make()
    model.sample_rate = 48000
    there = found()
    film = next(name for name in there if name.startswith("film."))
    assert separate(film, *options) == 2
    assert message in error_line(capsys)
    assert found() == there
    # Beside a good one, only the bad one fails.
    make_film("good.mov", {"1": SOUND[:1], "2": SOUND[1:]}, layout="mono")
    good = [] if options == ["--audio-track", "3"] else ["good.mov"]
    assert separate(film, *good, *options) == (1 if good else 2)
    errors = capsys.readouterr().err.splitlines()
    assert sum(message in line for line in errors) == 1
    assert sum("error: " in line for line in errors) == 1
