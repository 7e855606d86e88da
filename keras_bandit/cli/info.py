"""`keras-bandit info`: the tracks of a film or of a sound file."""

from keras_bandit.cli.arguments import path
from keras_bandit.cli.console import say, user_errors


def add_info(commands):
    """Adds the command to the parsers of `build_parser`."""
    parser = commands.add_parser(
        "info",
        help="list the tracks of a film or of a sound file",
        description="Lists the sound tracks of a file, with the numbers that "
        "--audio-track takes, its pictures and its subtitles.",
    )
    parser.set_defaults(command=info_command)
    parser.add_argument("file", type=path, metavar="FILE")
    parser.flag("--json", "print one JSON object, for programs")


def _line(kind, *parts):
    return f"  {kind}: {', '.join(str(part) for part in parts if part)}"


def _count_mono(tracks):
    """How many mono tracks of one rate there are; 0 if there are others."""
    kinds = {(t.get("num_channels"), t.get("sample_rate")) for t in tracks}
    alike = len(kinds) == 1 and kinds.pop()[0] == 1
    return len(tracks) if alike else 0


def _lines(found):
    """The lines of what `describe` found."""
    from keras_bandit.media.source import clock

    def length(seconds):
        return seconds is not None and clock(seconds)

    head = [found["container"], length(found["duration_seconds"])]
    if found["timecode"]:
        head.append(f"timecode {found['timecode']}")
    if found.get("time_reference") is not None:
        rate = found["audio"][0]["sample_rate"]
        head.append(f"from {clock(found['time_reference'] / rate)} of its day")
    if found.get("chunks"):
        head.append(f"chunks {' '.join(found['chunks'])}")
    yield f"{found['path']}: {', '.join(part for part in head if part)}"
    for track in found["audio"]:
        mark = " (default)" if track["default"] else ""
        rate, layout = track.get("sample_rate"), track.get("layout")
        if layout == "unknown":
            layout = f"{track['num_channels']} channels"
        start = track["start_seconds"]
        yield _line(
            f"audio {track['track']}{mark}",
            track["language"],
            track["title"],
            track["codec"],
            layout,
            rate and f"{rate} Hz",
            length(track["duration_seconds"]),
            start and f"begins {start:+.3f} s from the picture",
        )
    if (count := _count_mono(found["audio"])) > 1:
        yield (
            f"  mono tracks, all alike: if they are the {count} channels of one "
            f"recording, --audio-track 1-{count} joins them"
        )
    for stream in found["video"]:
        rate = stream["frames_per_second"]
        yield _line(
            "video",
            stream["title"],
            stream["codec"],
            "width" in stream and f"{stream['width']}x{stream['height']}",
            rate and f"{rate:.6g} frames/s",
        )
    for kind in ("subtitles", "other"):
        for stream in found[kind]:
            name = stream.get("type", kind)
            yield _line(
                name, stream["language"], stream["title"], stream["codec"]
            )


def info_command(args):
    """Runs `keras-bandit info`; returns the exit status."""
    import json

    from keras_bandit.media.audio import AudioFileError
    from keras_bandit.media.describing import describe

    with user_errors(AudioFileError, OSError):
        found = describe(args.file)
    say(json.dumps(found) if args.json else "\n".join(_lines(found)))
    return 0
