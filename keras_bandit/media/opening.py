"""Opening the sound of any file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_bandit.common.checks import check_choice, check_integer
from keras_bandit.media.audio import AudioFileError, NotAudioError
from keras_bandit.media.film_track import FilmTrack
from keras_bandit.media.joining import JoinedTracks
from keras_bandit.media.sound_file import SoundFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keras_bandit.common.types import AnyPath
    from keras_bandit.media.source import Source


def open_source(
    path: AnyPath,
    audio_track: int | Sequence[int] | None = None,
    damaged: str = "error",
) -> Source:
    """Opens the sound of a file: through libsndfile, or else through FFmpeg.

    Args:
        path: path of a sound file or of a film.
        audio_track: int. Which sound track, from 1 on; `None` for the one that
            the file prefers. A list joins tracks of one rate as channels, in
            this order: broadcasters keep six mono tracks for 5.1. Tracks that
            do not tell their speakers are stereo, 5.1 or 7.1 by their number.
        damaged: `"error"`, or `"silence"` to put silence where the file is
            damaged, and a line into the source's warnings.

    Returns:
        `Source`. Its `blocks(start, size)` gives the samples.

    Raises:
        AudioFileError: one line that names the file, if it is missing, no
            media file, damaged, encrypted, of zero length, without sound or
            without that track, if tracks to be joined differ in rate or tell
            speakers in another order, or if it takes PyAV and that is not
            installed.
        ValueError: if an argument is not as described.

    Example:
        source = open_source("film.mkv", audio_track=2)
        for block in source.blocks():
            print(block.shape)  # (source.num_channels, 65536)
    """
    check_choice("damaged", damaged, ("error", "silence"))
    if isinstance(audio_track, (list, tuple)):
        tracks = [check_integer("audio_track", n, 1) for n in audio_track]
        if not tracks or len(set(tracks)) < len(tracks):
            raise ValueError(
                "audio_track must be a track or a list of some, each once; got "
                f"{audio_track!r}"
            )
    elif audio_track is not None:
        tracks = [check_integer("audio_track", audio_track, 1)]
    else:
        tracks = [None]
    try:
        source = SoundFile.open(path, damaged)
    except NotAudioError:
        if len(tracks) > 1:
            return JoinedTracks.open(path, tracks, damaged)
        return FilmTrack.open(path, tracks[0], damaged)
    if tracks not in ([None], [1]):
        raise AudioFileError(
            f"{path}: no audio track {max(tracks)}; there is 1 ({source.codec})"
        )
    return source


def parse_tracks(text):
    """Parses "2" as a number, and "1-6" or "1,2,5" as a list of numbers.

    `ValueError` if it is neither, or has a track twice.
    """
    found = []
    for part in text.split(","):
        first, dash, last = (n.strip() for n in part.partition("-"))
        numbers = [first, last if dash else first]
        if not all(n.isdecimal() and 1 <= int(n) <= 999 for n in numbers):
            raise ValueError(
                f"must be tracks, such as 2, 1-6 or 1,2,5; got {text!r}"
            )
        found += range(int(numbers[0]), int(numbers[1]) + 1)
    if not found or len(set(found)) < len(found):
        raise ValueError(
            f"must be tracks in ascending ranges, each once; got {text!r}"
        )
    return found if len(found) > 1 else found[0]
