"""What FFmpeg tells of a film: its streams, where they begin, timecode."""

import contextlib
import os
import re
from fractions import Fraction

from keras_bandit.common.extras import require
from keras_bandit.media.audio import AudioFileError
from keras_bandit.media.layouts import layout_of, mask_of

TELLING = ("mov", "matroska", "mxf", "avi")
"""Containers whose headers tell how long tracks are; else FFmpeg guesses."""

TOLERATED_END = Fraction(1, 4)
"""Seconds by which a track may be shorter than its file announces."""


@contextlib.contextmanager
def open_container(path):
    """Opens a file with PyAV, other files and addresses it names excluded.

    Raises:
        AudioFileError: if PyAV is not installed, or FFmpeg cannot read it.
    """
    try:
        av = require("av", "video", f"{path}: reading it")
    except ImportError as error:
        raise AudioFileError(str(error)) from error
    try:
        container = av.open(
            # Absolute: "concat:a" or "http:b" would be more than a file's name.
            os.path.abspath(path),
            options={"protocol_whitelist": "file"},
            metadata_errors="replace",
        )
    except av.InvalidDataError as error:
        raise AudioFileError(f"{path}: not a media file") from error
    except av.FFmpegError as error:
        raise AudioFileError(f"{path}: {error.strerror}") from error
    with container:
        yield container


def stream_time(stream, timestamp):
    """Seconds of a timestamp of a stream, or of a frame; exact."""
    return timestamp * Fraction(stream.time_base)


def is_cover(stream):
    """Whether a video stream is a picture of a disc or a poster."""
    import av

    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def picture(container, sound=None):
    """The stream of moving pictures, or `None`: a cover is none.

    A transport stream may hold several programs: of these, that of a sound.
    """
    found = [s for s in container.streams.video if not is_cover(s)]
    if sound is not None and container.format.name == "mpegts":
        related = container.streams.best("video", related=sound)
        found = [related] if related in found else found
    return found[0] if found else None


def picture_start(container, sound=None):
    """Seconds at which a sound's picture begins, exact; `None` without one."""
    stream = picture(container, sound)
    if stream is None or stream.start_time is None:
        return None
    return stream_time(stream, stream.start_time)


def frame_rate(container):
    """Frames a second of the picture, a Fraction; `None` if not told."""
    stream = picture(container)
    return (stream and stream.average_rate) or None


def timecode(container):
    """The timecode of the first frame, or ""."""
    for holder in (picture(container), *container.streams, container):
        found = holder.metadata.get("timecode") if holder else None
        if found := found or (holder and holder.metadata.get("TIMECODE")):
            return found
    return ""


def title(stream):
    """A stream's title, or "": MOV and MP4 keep it as a name."""
    return stream.metadata.get("title") or stream.metadata.get("name") or ""


def language(stream):
    """A stream's language, three letters, or "" where it is not told."""
    found = stream.metadata.get("language", "")
    return "" if found == "und" else found


def codec_name(stream):
    """FFmpeg's name of a codec, or "unknown" where it has no decoder."""
    return stream.codec_context.name if stream.codec_context else "unknown"


def stream_layout(stream):
    """The `layout_of` a stream, or of one of its frames."""
    layout = stream.layout
    mask = mask_of([channel.name for channel in layout.channels])
    return layout_of(layout.nb_channels, mask)


def announced_end(stream):
    """Seconds at which a stream ends, by its header, exact; or `None`."""
    if stream.duration:
        start = stream.start_time or 0
        return stream_time(stream, start + stream.duration)
    # Matroska's statistics.
    tag = stream.metadata.get("DURATION", "")
    if found := re.fullmatch(r"(\d+):(\d+):(\d+\.\d+)", tag):
        hours, minutes, seconds = found.groups()
        return int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)
    return None


def film_end(container):
    """Seconds at which picture or sound ends, by the header, or `None`."""
    if not container.format.name.startswith(TELLING):
        return None
    streams = *container.streams.video, *container.streams.audio
    ends = [announced_end(stream) for stream in streams]
    return max((end for end in ends if end is not None), default=None)


def find_track(path, container, audio_track=None):
    """The stream of a sound track.

    Args:
        audio_track: int, from 1 on; `None` for the one that the container
            prefers.

    Returns:
        `(track, stream)`.

    Raises:
        AudioFileError: if there is none, or none of that number, or no decoder
            for it.
    """
    streams = container.streams.audio
    if not streams:
        raise AudioFileError(f"{path}: no audio track")
    if audio_track is None:
        stream = container.streams.best("audio") or streams[0]
        audio_track = streams.index(stream) + 1
    elif audio_track > len(streams):
        there = ", ".join(
            f"{i} ({', '.join(filter(None, _short(stream)))})"
            for i, stream in enumerate(streams, 1)
        )
        raise AudioFileError(
            f"{path}: no audio track {audio_track}; there are {there}"
        )
    stream = streams[audio_track - 1]
    if stream.codec_context is None:
        raise AudioFileError(
            f"{path}: audio track {audio_track}: FFmpeg has no decoder for it"
        )
    return audio_track, stream


def _short(stream):
    layout = stream_layout(stream)[0] if stream.codec_context else ""
    return [language(stream), codec_name(stream), layout]


def planes(frame):
    """Where a frame of sound keeps each channel, or all in turn.

    PyAV (18.1) counts planes up to a null pointer, which does not come after
    eight: its `planes`, `to_ndarray` and `from_ndarray` read beyond them.
    """
    from av.audio.plane import AudioPlane

    count = frame.layout.nb_channels if frame.format.is_planar else 1
    return [AudioPlane(frame, i) for i in range(count)]
