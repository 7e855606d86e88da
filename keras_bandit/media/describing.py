"""What a file holds: its tracks and streams, without their samples."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from keras_bandit.media.audio import NotAudioError
from keras_bandit.media.film import (
    announced_end,
    codec_name,
    language,
    open_container,
    picture_start,
    stream_layout,
    stream_time,
    timecode,
    title,
)
from keras_bandit.media.sound_file import SoundFile

if TYPE_CHECKING:
    from keras_bandit.common.types import AnyPath, Config


def describe(path: AnyPath) -> Config:
    """Describes a sound file or a film.

    Returns:
        A dict that JSON can hold: `container`, `duration_seconds`, `timecode`,
        lists `audio`, `video`, `subtitles` and `other`. Of sound tracks:
        `track` (as `open_source` counts), `default`, `language`, `title`,
        `codec`, `layout`, `num_channels`, `sample_rate`, `duration_seconds`
        and `start_seconds`, after the picture's. What is not told is "" or
        `None`.

    Raises:
        AudioFileError: see `open_source`; a film without sound is none.
    """
    try:
        return _describe_sound_file(path)
    except NotAudioError:
        pass
    with open_container(path) as film:
        best = film.streams.best("audio")
        seconds = film.duration and film.duration / 10**6
        return {
            "path": str(path),
            "container": film.format.long_name,
            "duration_seconds": seconds,
            "timecode": timecode(film),
            "audio": [
                _describe_audio(stream, track, stream is best, film)
                for track, stream in enumerate(film.streams.audio, 1)
            ],
            "video": [_describe_video(stream) for stream in film.streams.video],
            "subtitles": [_describe(s) for s in film.streams.subtitles],
            "other": [
                {**_describe(stream), "type": stream.type}
                for stream in film.streams
                if stream.type not in ("audio", "video", "subtitle")
            ],
        }


def _describe_sound_file(path):
    source = SoundFile.open(path)
    return {
        "path": str(path),
        "container": source.codec.partition(" ")[0],
        "duration_seconds": source.duration_seconds,
        "timecode": "",
        "time_reference": source.time_reference,
        "chunks": [chunk.name.strip() for chunk in source.chunks],
        "audio": [
            {
                "track": 1,
                "default": True,
                "language": "",
                "title": "",
                "codec": source.subtype,
                "layout": source.layout,
                "num_channels": source.num_channels,
                "sample_rate": source.sample_rate,
                "duration_seconds": source.duration_seconds,
                "start_seconds": 0.0,
                "num_samples": source.num_samples,
            }
        ],
        "video": [],
        "subtitles": [],
        "other": [],
    }


def _describe(stream):
    return {
        "language": language(stream),
        "title": title(stream),
        "codec": codec_name(stream),
    }


def _describe_audio(stream, track, default, film):
    found = {"track": track, "default": default, **_describe(stream)}
    if stream.codec_context is not None:
        found["layout"] = stream_layout(stream)[0]
        found["num_channels"] = stream.channels
        found["sample_rate"] = stream.sample_rate
    start = stream_time(stream, stream.start_time or 0)
    end, picture = announced_end(stream), picture_start(film, stream)
    found["duration_seconds"] = float(end - start) if end else None
    late = start - picture if picture is not None else Fraction(0)
    return {**found, "start_seconds": float(late)}


def _describe_video(stream):
    found = _describe(stream)
    if stream.codec_context is not None:
        found["width"] = stream.codec_context.width
        found["height"] = stream.codec_context.height
    rate = stream.average_rate
    found["frames_per_second"] = float(rate) if rate else None
    return found
