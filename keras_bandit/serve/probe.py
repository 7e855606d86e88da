"""Examines files in a process of its own: a bad file may crash it."""

import contextlib
import threading

from keras_bandit.serve.child import Child, ChildDied
from keras_bandit.serve.safety import Refused, title_of

_MOST_SECONDS = 60.0  # for a look at a header
_MOST_CHANNELS = 64
_MOST_RATE = 384_000  # Hz

_MOST_JOINED = 16  # tracks that may be one recording

# FFmpeg's formats that name other files: an upload must not read the server's.
_LISTS = {
    "hls",
    "dash",
    "concat",
    "imf",
    "sdp",
    "rtsp",
    "applehttp",
    "avisynth",
}


def examine(path, max_seconds, track=None):
    """Reads the header of a file.

    Args:
        path: path.
        max_seconds: float. Longer sound is refused.
        track: see `open_source`.

    Returns:
        dict: `seconds` (`None` if the file does not tell), `sample_rate`,
        `num_channels`, `layout`, `codec`, `has_picture`, `track` (a number, or
        a list of those that are joined), `tracks` (a dict for each sound track
        of a film: `number`, `title`, `language`, `codec`, `layout`) and
        `joined`: the layout of all tracks as channels of one recording, `None`
        if that cannot be.

    Raises:
        AudioFileError: if it is no sound and no film.
        ValueError: if it is more than is taken.
    """
    from keras_bandit.media import open_source
    from keras_bandit.media.film import open_container, picture
    from keras_bandit.media.film_track import FilmTrack
    from keras_bandit.media.joining import JoinedTracks

    source = open_source(path, track)
    seconds = source.duration_seconds
    if seconds is not None and seconds > max_seconds:
        raise ValueError(too_long(seconds, max_seconds))
    if seconds == 0:
        raise ValueError("holds no sound: its length is zero")
    if source.num_channels > _MOST_CHANNELS:
        raise ValueError(f"has {source.num_channels} channels, which is absurd")
    if source.sample_rate > _MOST_RATE:
        raise ValueError(f"has a rate of {source.sample_rate} Hz")
    has_picture, tracks, joined = False, [], None
    if isinstance(source, (FilmTrack, JoinedTracks)):
        with open_container(path) as film:
            if _LISTS & set(film.format.name.split(",")):
                raise ValueError("is a list of other files, and no film")
            has_picture = picture(film) is not None
            tracks = [
                _describe(number, stream)
                for number, stream in enumerate(film.streams.audio, 1)
            ]
        joined = _joined_layout(path, len(tracks))
    return {
        "seconds": seconds,
        "sample_rate": source.sample_rate,
        "num_channels": source.num_channels,
        "layout": source.layout,
        "codec": source.codec,
        "has_picture": has_picture,
        "track": source.track,
        "tracks": tracks,
        "joined": joined,
    }


def _describe(number, stream):
    from keras_bandit.media import film

    readable = stream.codec_context is not None
    return {
        "number": number,
        "title": title_of(film.title(stream)) if film.title(stream) else "",
        "language": film.language(stream),
        "codec": film.codec_name(stream),
        "layout": film.stream_layout(stream)[0] if readable else "",
    }


def _joined_layout(path, count):
    """The layout of so many tracks as one recording, or `None`."""
    from keras_bandit.media import open_source
    from keras_bandit.media.audio import AudioFileError

    if not 1 < count <= _MOST_JOINED:
        return None
    try:
        whole = open_source(path, list(range(1, count + 1)))
    except AudioFileError:
        return None
    return whole.layout if whole.num_channels <= _MOST_CHANNELS else None


def too_long(seconds, max_seconds):
    """The line about a file that is longer than allowed."""
    return (
        f"is {seconds / 3600:.1f} hours long, and this server takes "
        f"{max_seconds / 3600:g}"
    )


def _answer(pipe, max_seconds):
    from keras_bandit.media.audio import AudioFileError

    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            path, track = pipe.recv()
            try:
                pipe.send((examine(path, max_seconds, track), None))
            except (AudioFileError, OSError, ValueError) as error:
                pipe.send((None, str(error)))


class Probe:
    """Looks at files, one at a time, in a process that may crash.

    Args:
        max_seconds: float. Longer files are refused.
    """

    def __init__(self, max_seconds):
        self._child = Child(_answer, max_seconds)
        self._one = threading.Lock()

    def look(self, path, title, track=None):
        """What `examine` returns, or `Refused` with a line about `title`."""
        with self._one:
            try:
                self._child.send((str(path), track))
                media, error = self._child.receive(_MOST_SECONDS)
            except (ChildDied, TimeoutError):
                self._child.kill()
                raise Refused(f"{title} cannot be read: damaged") from None
        if error is None:
            return media
        message = error.replace(f"{path}: ", "").replace(str(path), title)
        raise Refused(f"{title}: {message}")

    def stop(self):
        """Ends the process."""
        self._child.kill()
