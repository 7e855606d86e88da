"""A film with new sound tracks: its streams copied, stems added."""

from __future__ import annotations

import contextlib
import heapq
import io
import math
import os
import pathlib
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from keras_bandit.common.checks import check_choice
from keras_bandit.common.files import complete_files
from keras_bandit.media.audio import AudioFileError, clipping, to_samples
from keras_bandit.media.film import (
    TOLERATED_END,
    film_end,
    find_track,
    is_cover,
    open_container,
    picture,
    picture_start,
    planes,
    stream_time,
    timecode,
)
from keras_bandit.media.opening import open_source
from keras_bandit.media.source import Source, clock
from keras_bandit.media.timecode import near_common

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from keras_bandit.common.types import AnyPath


CONTAINERS = {".mkv": "matroska", ".mov": "mov", ".mp4": "mp4"}
"""FFmpeg's name of each container that is written, by ending."""

CODECS = ("pcm", "flac", "aac")

_PCM = {"PCM_16": "pcm_s16le", "PCM_24": "pcm_s24le", "FLOAT": "pcm_f32le"}
_FORMAT = {"PCM_16": "s16", "PCM_24": "s32"}  # of FLAC's encoder
_AAC_BIT_RATE = 96_000  # a channel
# AAC's own surround is what FFmpeg calls "back"; many players take no other.
_COMMON_IN_AAC = {"5.1(side)": "5.1", "5.0(side)": "5.0"}
_MOST_IN_FLAC = 8  # channels
_PIECE = 4096  # samples of a packet of PCM
_ROUNDED = Fraction(11, 10_000)  # seconds: Matroska's start and time, rounded
# Codecs whose packets do not depend on those before.
_ALONE = ("pcm_", "flac", "alac")


def remux(
    source: AnyPath,
    stems: Mapping[str, AnyPath | Source],
    output: AnyPath,
    audio_track: int | Sequence[int] | None = None,
    codec: str | None = None,
    language: str | None = None,
    default: str | None = None,
    damaged: str = "error",
    overwrite: bool = False,
) -> list[str]:
    """Copies a film and adds a sound track for each stem.

    Every packet of picture, sound and subtitles is copied as it is, the stems
    follow as tracks of their own, which begin with the picture. `output` has a
    hidden name until it is complete.

    Args:
        source: path of the film.
        stems: dict of name (the track's title) to a path or a `Source`.
        output: path that ends in .mkv, .mov or .mp4.
        audio_track: int. The sound track that the stems are of, from 1 on;
            `None` for the one that the film prefers; a list of those that were
            joined. Stems have its (the first's) language.
        codec: "pcm", "flac", "aac" or `None`: in .mkv FLAC, or PCM for stems in
            FLOAT and of more than 8 channels; in .mov PCM; in .mp4 AAC.
        language: str. Three letters, in place of the track's.
        default: str. The stem that players choose by themselves; `None` leaves
            that to the film's own sound.
        damaged: `"error"`, or `"silence"` to end the film where it cannot be
            read on, as `open_source` then does. Damaged packets are copied.
        overwrite: bool. Whether to replace a file that exists, but never the
            film or a stem.

    Returns:
        List of lines: streams that the container cannot hold, stems that were
        clipped, where the film breaks off.

    Raises:
        AudioFileError: if a file cannot be read, or the container cannot hold
            its picture, its sound or the stems. Names the file.
        ValueError: if an argument is not as described.
        OSError: if `output` cannot be written; `FileExistsError` if it exists.
    """
    output = pathlib.Path(output)
    check_choice("the ending of output", output.suffix.lower(), CONTAINERS)
    if codec is not None:
        check_choice("codec", codec, CODECS)
    if default is not None:
        check_choice("default", default, stems)
    check_choice("damaged", damaged, ("error", "silence"))
    stems = {
        name: stem if isinstance(stem, Source) else open_source(stem)
        for name, stem in stems.items()
    }
    inputs = [source, *(stem.path for stem in stems.values())]
    if os.path.realpath(output) in map(os.path.realpath, inputs):
        raise AudioFileError(
            f"{output}: would replace an input; choose another output"
        )
    warnings = []
    with (
        complete_files([output], overwrite) as temporary,
        open_container(source) as film,
    ):
        job = _Remux(source, film, audio_track, output, damaged, warnings)
        with job.writing(temporary[output], stems) as out:
            copies = job.copy_streams(out)
            tracks = job.add_tracks(out, stems, codec, language)
            if default is not None:
                _choose_default(copies.values(), tracks[default])
            out.start_encoding()
            packets = [job.copied(copies)]
            for name, stem in stems.items():
                packets.append(job.encoded(name, stem, tracks[name]))
            for _, packet in heapq.merge(*packets, key=lambda pair: pair[0]):
                out.mux(packet)
    return warnings


def check_remux(source, stem, output, audio_track=None):
    """Raises what `remux` would, as far as that is known without reading on.

    Arguments are those of `remux`, but for a `Source` like the stems; nothing
    is written.
    """
    output, stems = pathlib.Path(output), {"stem": stem}
    with open_container(source) as film:
        job = _Remux(source, film, audio_track, output, "error", [])
        with job.writing(io.BytesIO(), stems) as out:
            job.copy_streams(out)
            job.add_tracks(out, stems, None, None)
            out.start_encoding()


def _choose_default(copies, track):
    """Marks one sound track as that which players choose by themselves."""
    import av

    flag = av.stream.Disposition.default
    for copy in copies:
        if copy.type == "audio":
            copy.disposition &= ~flag
    track.disposition |= flag


class _Frames:
    """Frames of equal length, whose times Matroska rounds to milliseconds.

    Programs for cutting need them equal in MOV and MP4, and timecode counts
    them. The first frame stays where it is: sound is rounded as it is.
    """

    def __init__(self, stream, rate):
        self.stream, self.rate = stream, rate
        self.time_scale = math.lcm(rate.numerator, 1000)
        while self.time_scale < 10_000:
            self.time_scale *= 2

    def snap(self, packet):
        """Moves a packet of the picture by a millisecond at most."""
        if packet.stream is not self.stream:
            return
        base, first = packet.time_base, self.stream.start_time

        def scaled(ticks):
            time = ticks * base
            frames = round(time * self.rate) / self.rate
            near = abs(frames - time) <= _ROUNDED
            return round((frames if near else time) * self.time_scale)

        start = round(first * base * self.time_scale)
        if packet.pts is not None:
            packet.pts = start + scaled(packet.pts - first)
        if packet.dts is not None:
            packet.dts = start + scaled(packet.dts - first)
        packet.duration = scaled(packet.duration or 0)
        packet.time_base = Fraction(1, self.time_scale)


def _frames(film, sound):
    """The `_Frames` of a film that needs them, or `None`."""
    stream = picture(film, sound)
    if stream is None or stream.start_time is None or not stream.average_rate:
        return None
    rate = near_common(stream.average_rate)
    needed = rate and stream.time_base == Fraction(1, 1000)
    return _Frames(stream, rate) if needed else None


class _Remux:
    """What the steps of `remux` share."""

    def __init__(self, source, film, audio_track, output, damaged, warnings):
        self.source, self.film, self.output = source, film, output
        self.damaged, self.warnings = damaged, warnings
        self.container = output.suffix.lower()
        starts = [
            stream_time(stream, stream.start_time)
            for stream in (*film.streams.video, *film.streams.audio)
            if stream.start_time is not None
        ]
        # Transport streams may begin at any time: what is written begins at 0.
        self.shift = max(Fraction(0), min(starts, default=Fraction(0)))
        if isinstance(audio_track, (list, tuple)):
            audio_track = audio_track[0]
        _, self.track = find_track(source, film, audio_track)
        self.frames = _frames(film, self.track)
        begin = picture_start(film, self.track)
        self.begin = self.shift if begin is None else begin

    @contextlib.contextmanager
    def writing(self, file, stems):
        """Opens the output, and names it in errors of FFmpeg's."""
        import av

        options = {}
        if self.container != ".mkv":
            # Edit lists, which say where tracks begin, count in these units:
            # FFmpeg's milliseconds are too coarse.
            rates = [stem.sample_rate for stem in stems.values()]
            options["movie_timescale"] = str(max(rates, default=48000))
            if self.frames:
                options["video_track_timescale"] = str(self.frames.time_scale)
        try:
            with av.open(
                file if isinstance(file, io.BytesIO) else os.path.abspath(file),
                "w",
                format=CONTAINERS[self.container],
                container_options=options,
            ) as out:
                yield out
        except (av.ArgumentError, av.error.ExperimentalError) as error:
            # Of the muxer or an encoder, such as a rate that AAC lacks.
            raise AudioFileError(
                f"{self.output}: {self.container} cannot hold these tracks "
                f"({error.strerror}); choose another container or codec"
            ) from error
        except av.FFmpegError as error:
            raise OSError(
                error.errno, error.strerror, str(self.output)
            ) from error

    def copy_streams(self, out):
        """Adds a copy of each stream that can be held; by the old one's index."""
        out.metadata.update(self.film.metadata)
        found, copies = timecode(self.film), {}
        for stream in self.film.streams:
            copy = self._copy_stream(out, stream)
            if copy is None:
                continue
            copy.metadata.update(stream.metadata)
            copy.disposition = stream.disposition
            if found and stream is picture(self.film):
                copy.metadata["timecode"] = found  # makes tmcd in MOV and MP4
            copies[stream.index] = copy
        if chapters := self.film.chapters():
            out.set_chapters(chapters)
        return copies

    def _copy_stream(self, out, stream):
        held = stream.type in ("video", "audio", "subtitle")
        held |= stream.type == "attachment" and self.container == ".mkv"
        if stream.type == "data" and "timecode" in stream.metadata:
            return None  # it is written anew
        with contextlib.suppress(ValueError):
            if held:
                copy = out.add_stream_from_template(stream, opaque=True)
                if stream.codec_tag == "hvc1" and self.container != ".mkv":
                    # Apple's players take no other.
                    copy.codec_context.codec_tag = "hvc1"
                if stream.type == "audio" and stream.channels <= 2:
                    # Matroska and AVI do not tell, MP4 wants to know.
                    copy.layout = ("mono", "stereo")[stream.channels - 1]
                return copy
        context = stream.codec_context
        kind = f"{stream.type} stream {stream.index}"
        kind += f" ({context.name})" if context else ""
        cover = stream.type == "video" and is_cover(stream)
        if stream.type in ("video", "audio") and not cover:
            raise AudioFileError(
                f"{self.source}: {self.container} cannot hold its {kind}; "
                "choose another container"
            )
        self.warnings.append(
            f"{self.source}: {kind} is left out; {self.container} cannot hold "
            "it"
        )
        return None

    def add_tracks(self, out, stems, codec, language):
        """Adds a track for each stem, `{name: stream}`."""
        language = language or self.track.metadata.get("language", "und")
        return {
            name: self._add_track(out, name, stem, codec, language)
            for name, stem in stems.items()
        }

    def _add_track(self, out, name, stem, codec, language):
        """Adds a stem's track, and chooses its encoder."""
        subtype = stem.subtype if stem.subtype in _PCM else "FLOAT"
        if codec is None:
            codec = {".mov": "pcm", ".mp4": "aac"}.get(self.container, "flac")
            many = stem.num_channels > _MOST_IN_FLAC
            if codec == "flac" and (many or subtype == "FLOAT"):
                codec = "pcm"
        encoder = _PCM[subtype] if codec == "pcm" else codec
        try:
            stream = out.add_stream(encoder, rate=stem.sample_rate)
        except ValueError as error:
            raise AudioFileError(
                f"{self.output}: {self.container} cannot hold {codec}"
            ) from error
        stream.layout = _layout_name(stem, codec)
        if codec == "flac":
            stream.format = _FORMAT.get(subtype, "s32")
        if codec == "aac":
            stream.bit_rate = _AAC_BIT_RATE * stem.num_channels
        stream.metadata.update(title=name, language=language)
        if self.container != ".mkv":
            stream.metadata["handler_name"] = name  # what many players show
        return stream

    def copied(self, copies):
        """Yields the film's packets, each with its time in seconds."""
        import av

        end, now, heard = film_end(self.film), Fraction(0), Fraction(0)
        last = {}  # timestamp of each stream
        try:
            for packet in self.film.demux():
                copy = copies.get(packet.stream.index)
                if copy is None or not packet.size:
                    continue
                if packet.is_discard and not _is_needed(packet):
                    continue
                if self.frames and self.container != ".mkv":
                    self.frames.snap(packet)
                shift = round(self.shift / packet.time_base)
                if packet.pts is not None:
                    shown = packet.pts + (packet.duration or 0)
                    heard = max(heard, shown * packet.time_base)
                    packet.pts -= shift
                if packet.dts is not None:
                    packet.dts -= shift
                    now = packet.dts * packet.time_base
                    if packet.dts < last.get(copy, packet.dts):
                        raise AudioFileError(
                            f"{self.source}: timestamps jump back to "
                            f"{clock(now)} after {clock(heard)}; such a film "
                            "cannot be copied"
                        )
                    last[copy] = packet.dts
                packet.stream = copy
                yield now, packet
        except av.FFmpegError as error:
            self._break_off(heard, error.strerror)
        else:
            if end is not None and heard + TOLERATED_END < end:
                self._break_off(heard, f"breaks off, of {clock(end)}")

    def _break_off(self, heard, reason):
        """Raises an error, or warns, where the film cannot be read on."""
        message = f"{self.source}: damaged at {clock(heard)} ({reason})"
        if self.damaged == "error":
            raise AudioFileError(message)
        self.warnings.append(f"{message}; the copy ends there")

    def encoded(self, name, stem, stream):
        """Yields the packets of a stem, each with its time in seconds."""
        import av

        kind = stream.codec_context.format.name
        rate, clipped = stem.sample_rate, 0
        place = round((self.begin - self.shift) * rate)
        for block in stem.blocks(
            size=stream.codec_context.frame_size or _PIECE
        ):
            subtype = {"s16": "PCM_16", "s32": "PCM_24"}.get(kind, "FLOAT")
            clipped += clipping(block, subtype)[0]
            samples = to_samples(block, subtype)
            if not kind.endswith("p"):
                samples = samples.T.reshape(1, -1)
            frame = av.AudioFrame(kind, stream.layout.name, block.shape[1])
            for plane, values in zip(planes(frame), samples, strict=True):
                plane.update(np.ascontiguousarray(values))
            frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
            frame.pts = place
            place += block.shape[1]
            for packet in stream.encode(frame):
                yield packet.dts * packet.time_base, packet
        for packet in stream.encode():
            yield packet.dts * packet.time_base, packet
        if clipped:
            self.warnings.append(
                f"{self.output}: {name}: {clipped} samples clipped to full scale"
            )


def _is_needed(packet):
    """Whether a packet that an edit list hides is needed by those shown.

    In the midst of the film none is. Before its start decoders need pictures
    and lossy sound, which MOV and MP4 hide again if they lie before time 0.
    """
    codec, start = packet.stream.codec_context, packet.stream.start_time or 0
    alone = codec is not None and codec.name.startswith(_ALONE)
    return (packet.pts or 0) < start and not alone


def _layout_name(stem, codec):
    """A stem's layout as FFmpeg takes it."""
    if codec == "aac" and stem.layout in _COMMON_IN_AAC:
        return _COMMON_IN_AAC[stem.layout]
    if stem.layout != "unknown":
        return stem.layout
    if stem.channel_mask:
        return "+".join(stem.speakers)
    # "6C": six channels of which nothing is known, which AAC has no word for.
    return f"{stem.num_channels}{'c' if codec == 'aac' else 'C'}"
