"""What a file is, found out in a process of its own: files may be poisoned."""

import contextlib
import threading

from keras_bandit.serve.child import Child, ChildDied
from keras_bandit.serve.safety import Refused

_MOST_SECONDS = 60.0  # for a look at a header
_MOST_CHANNELS = 64
_MOST_RATE = 384_000  # Hz

# FFmpeg's names of files that name other files, which nobody may read.
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


def examine(path, max_seconds):
    """Reads the header of a file.

    Returns:
        dict: `seconds` (`None` if the file does not tell), `sample_rate`,
        `num_channels`, `layout`, `codec`, `has_picture`.

    Raises:
        AudioFileError: if it is no sound and no film.
        ValueError: if it is more than is taken.
    """
    from keras_bandit.media import open_source
    from keras_bandit.media.film import open_container, picture
    from keras_bandit.media.film_track import FilmTrack

    source = open_source(path)
    seconds = source.duration_seconds
    if seconds is not None and seconds > max_seconds:
        raise ValueError(too_long(seconds, max_seconds))
    if seconds == 0:
        raise ValueError("holds no sound: its length is zero")
    if source.num_channels > _MOST_CHANNELS:
        raise ValueError(f"has {source.num_channels} channels, which is absurd")
    if source.sample_rate > _MOST_RATE:
        raise ValueError(f"has a rate of {source.sample_rate} Hz")
    has_picture = False
    if isinstance(source, FilmTrack):
        with open_container(path) as film:
            if _LISTS & set(film.format.name.split(",")):
                raise ValueError("is a list of other files, and no film")
            has_picture = picture(film) is not None
    return {
        "seconds": seconds,
        "sample_rate": source.sample_rate,
        "num_channels": source.num_channels,
        "layout": source.layout,
        "codec": source.codec,
        "has_picture": has_picture,
    }


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
            path = pipe.recv()
            try:
                pipe.send((examine(path, max_seconds), None))
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

    def look(self, path, title):
        """What `examine` returns, or `Refused` with a line about `title`."""
        with self._one:
            try:
                self._child.send(str(path))
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
