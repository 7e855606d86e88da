"""Sound tracks of films, and of all else that FFmpeg reads, as sources."""

import contextlib
import dataclasses
import math
import pathlib
import re
from fractions import Fraction

import numpy as np

from keras_bandit.media.audio import AudioFileError
from keras_bandit.media.film import (
    TELLING,
    TOLERATED_END,
    announced_end,
    find_track,
    frame_rate,
    language,
    open_container,
    picture_start,
    planes,
    stream_layout,
    stream_time,
    timecode,
    title,
)
from keras_bandit.media.source import Source, clock

_PIECE = 2**16  # samples of silence per channel made at a time

# Sample formats without loss, by the depth of what the decoder gives.
_EXACT = ("pcm_", "s302m", "flac", "alac")
_EXACT += ("truehd", "mlp", "wavpack", "tta", "ape")

# Errors in a packet are errors, checksums are looked at; AC-3 as it was mixed,
# without the compression for small loudspeakers.
_DECODING = {"err_detect": "crccheck+explode"}
_AC3 = {**_DECODING, "drc_scale": "0"}

# A jump back by so many seconds, or forward, is a new count of time, as where
# two recordings were joined, and not sound that comes twice or is missing.
_NEW_COUNT = -1, 3600


def to_float(frame):
    """A frame's samples, `(channels, samples)` float32, full scale ±1."""
    from av.audio.frame import format_dtypes

    channels, kind = frame.layout.nb_channels, format_dtypes[frame.format.name]
    samples = np.stack([np.frombuffer(plane, kind) for plane in planes(frame)])
    if frame.format.is_planar:
        samples = samples[:, : frame.samples]
    else:
        samples = samples[0, : frame.samples * channels].reshape(-1, channels).T
    if samples.dtype == np.uint8:
        return (samples.astype("float32") - 128) / 128
    if samples.dtype.kind == "i":
        scale = 2.0 ** (8 * samples.itemsize - 1)
        return (samples / scale).astype("float32")
    return samples.astype("float32", copy=False)


def _subtype(stream):
    """libsndfile's name of the format that keeps what the decoder gives."""
    codec, found = stream.codec_context.name, stream.codec_context.format
    if found is None or not codec.startswith(_EXACT):
        return "FLOAT"
    kind = found.name.removesuffix("p")
    if kind in ("u8", "s16"):
        return "PCM_16"
    bits = re.match(r"pcm_s(\d+)", codec)
    if kind == "s32" and bits and int(bits[1]) > 24:
        return "PCM_32"
    return "PCM_24" if kind == "s32" else "FLOAT"


@dataclasses.dataclass
class FilmTrack(Source):
    """A sound track that PyAV reads, of a file with or without picture.

    Edit lists and encoder delays are honoured as FFmpeg does: what they hide
    is not given. The place of the first sample follows from its timestamp;
    from there on samples are counted, since timestamps may be rounded to
    milliseconds. Where a timestamp is off by more than half a frame's samples
    (10 ms at least), there is a gap, which is filled with silence, or sound
    that comes twice, which is cut.

    `blocks(start)` reads from the beginning in any case: decoders depend on
    what they have seen, and sought timestamps can be off by samples.
    """

    # Seconds, exact: where sample 0 is, where the first sound is, and where the
    # track ends by its header.
    origin: Fraction | None = dataclasses.field(default=None, repr=False)
    _first: Fraction | None = dataclasses.field(default=None, repr=False)
    _end: Fraction | None = dataclasses.field(default=None, repr=False)
    # Seconds by which the last frame may pass that end before it is cut there;
    # `None` if it may always.
    _slack: Fraction | None = dataclasses.field(default=None, repr=False)

    @classmethod
    def open(cls, path, audio_track=None, damaged="error"):
        """Reads the header and decodes until the first sound.

        Errors are those of `open_source`.
        """
        path = pathlib.Path(path)
        with open_container(path) as container:
            track, stream = find_track(path, container, audio_track)
            codec, kind = stream.codec_context.name, container.format.name
            end, slack = announced_end(stream), None
            if kind.startswith("mov"):
                # Edit lists end tracks, to a millisecond at worst.
                exact = codec.startswith(_EXACT)
                slack = Fraction(exact, 1000)
            source = cls(
                path,
                sample_rate=stream.sample_rate,
                num_channels=stream.channels,
                layout="",
                channel_mask=None,
                subtype=_subtype(stream),
                codec=codec,
                track=track,
                num_tracks=len(container.streams.audio),
                title=title(stream),
                language=language(stream),
                timecode=timecode(container),
                frame_rate=frame_rate(container),
                damaged=damaged,
                origin=picture_start(container, stream),
                _end=end if kind.startswith(TELLING) else None,
                _slack=slack,
            )
            if end is None and container.duration:
                start = container.start_time or 0
                end = Fraction(start + container.duration, 10**6)
        source._look_at_first_frame()
        if end is not None:
            source.duration_seconds = float(end - source.origin)
        return source

    def _look_at_first_frame(self):
        """Corrects what headers tell wrongly, such as half of HE-AAC's rate."""
        with contextlib.closing(self._frames()) as frames:
            sound = (pair for pair in frames if pair[0] is not None)
            frame, start = next(sound, (None, None))
        if frame is None:
            raise AudioFileError(
                f"{self.path}: audio track {self.track}: no samples, zero "
                "length"
            )
        self.sample_rate = frame.sample_rate
        self.num_channels = frame.layout.nb_channels
        self.layout, self.channel_mask = stream_layout(frame)
        self._first = start
        self.begin_at(
            start or Fraction(0) if self.origin is None else self.origin
        )
        self.warnings.clear()

    def begin_at(self, origin):
        """Takes another time of the container, in seconds, for sample 0."""
        self.origin = origin
        if self._first is not None:
            self.start_offset = self._sample(self._first)

    def _sample(self, at):
        """The number of the sample at a time of the container."""
        return round((at - self.origin) * self.sample_rate)

    def _clock(self, place):
        return clock(place / self.sample_rate)

    def _frames(self):
        """Yields decoded frames, each with its time in seconds, or `None`.

        Where a packet is damaged and silence may take its place, `None` comes
        with the time at which the packet ends.
        """
        import av

        with open_container(self.path) as container:
            _, stream = find_track(self.path, container, self.track)
            for other in container.streams:
                if other is not stream:
                    other.discard = av.stream.Discard.all
            context, heard = stream.codec_context, None
            given = left_out = False
            is_ac3 = context.name in ("ac3", "eac3")
            context.options = _AC3 if is_ac3 else _DECODING
            for packet in self._packets(container, stream):
                end = None
                if packet.pts is not None:
                    heard = stream_time(stream, packet.pts)
                    end = heard + stream_time(stream, packet.duration or 0)
                try:
                    if packet.is_corrupt:
                        raise av.InvalidDataError(0, "marked as damaged")
                    frames = packet.decode()
                except av.FFmpegError as error:
                    self._damage(heard, error.strerror)
                    yield None, end
                    continue
                left_out |= given and packet.is_discard
                for frame in frames:
                    known = frame.pts is not None
                    at = stream_time(frame, frame.pts) if known else None
                    if left_out:
                        self._tell_edit(at, frame.samples)
                    given, left_out = True, False
                    yield frame, at

    def _packets(self, container, stream):
        """Yields packets; goes on where reading fails, if that is asked for."""
        import av

        heard, failed = None, False
        while True:
            try:
                for packet in container.demux(stream):
                    if packet.has_sidedata("encryption_info"):
                        raise AudioFileError(
                            f"{self.path}: audio track {self.track} is "
                            "encrypted"
                        )
                    if packet.pts is not None:
                        heard, failed = stream_time(stream, packet.pts), False
                    yield packet
                return
            except av.FFmpegError as error:
                self._damage(heard, error.strerror)
                if failed:
                    return
                failed = True

    def _tell_edit(self, at, size):
        """Warns of an edit list that joins pieces of the track."""
        # FFmpeg begins such a piece with its first whole packet.
        where = "" if at is None else f"at {clock(at - (self.origin or 0))} "
        self._warn(
            f"{where}an edit list leaves out sound; what follows may come up "
            f"to {size} samples early or late"
        )

    def _damage(self, at, reason):
        """Raises an error for damage at a time, or warns if that is enough."""
        place = "before its first sound"
        if at is not None:
            place = f"at {clock(at - (self.origin or 0))}"
        message = f"audio track {self.track} is damaged {place} ({reason})"
        if self.damaged != "silence":
            raise AudioFileError(f"{self.path}: {message}")
        self._warn(f"{message}; silence in its place")

    def _pieces(self, start):
        place = 0
        for piece in self._whole():
            if place + piece.shape[1] > start:
                yield piece[:, max(0, start - place) :]
            place += piece.shape[1]
        self.num_samples = place

    def _whole(self):
        """Yields arrays `(channels, any number of samples)` from sample 0 on."""
        place = kind = None  # where the next sample belongs
        skew = lost = 0
        last = self._sample(self._end) if self._end is not None else None
        for frame, at in self._frames():
            told = None if at is None else self._sample(at) + skew
            if frame is None:
                lost = max(lost, told or 0)
                continue
            if place is None:
                place = told or 0
                kind = frame.layout.name, frame.sample_rate
                yield from self._silence(0, place)
            self._check_kind(kind, frame, place)
            samples = to_float(frame)
            jump = self._jump(told, place, frame.samples, lost)
            if self._is_new_count(jump):
                skew, jump = skew - jump, 0
            if jump > 0:
                yield from self._silence(place, place + jump)
                place += jump
            samples = samples[:, max(0, -jump) :]
            samples = self._end_at(last, samples, place - skew)
            yield samples[:, max(0, -place) :]
            place, lost = place + samples.shape[1], 0
        place = place or 0
        if lost > place:
            yield from self._silence(place, lost)
            place = lost
        tolerated = TOLERATED_END * self.sample_rate
        if last is not None and place + tolerated < last + skew:
            self._damage(
                self.origin + Fraction(place, self.sample_rate),
                f"breaks off, of {self._clock(last)}",
            )
            yield from self._silence(place, last + skew)

    def _end_at(self, last, samples, place):
        """Cuts what comes after the track's end, if the file tells that well."""
        if last is None or self._slack is None:
            return samples
        slack = math.ceil(self._slack * self.sample_rate)
        if place + samples.shape[1] <= last + slack:
            return samples
        return samples[:, : max(0, last - place)]

    def _jump(self, told, place, size, lost):
        """Samples from `place` to where a frame belongs, if not a rounding."""
        jump = 0 if told is None else told - place
        if abs(jump) <= max(size // 2, self.sample_rate // 100):
            return 0
        where = self._clock(place)
        if self._is_new_count(jump):
            self._warn(
                f"at {where} timestamps jump by "
                f"{jump / self.sample_rate:+.3f} s; read on without a gap"
            )
        elif jump < 0:
            self._warn(f"at {where} {-jump} samples come twice; cut once")
        elif not lost and place + jump > 0:  # else before the picture
            self._warn(f"at {where} a gap of {jump} samples; silence there")
        return jump

    def _is_new_count(self, jump):
        back, forward = (limit * self.sample_rate for limit in _NEW_COUNT)
        return not back < jump < forward

    def _silence(self, start, stop):
        """Yields silence from a place to another, as far as it is not cut."""
        for begin in range(max(0, start), stop, _PIECE):
            shape = self.num_channels, min(_PIECE, stop - begin)
            yield np.zeros(shape, "float32")

    def _check_kind(self, kind, frame, place):
        """Raises `AudioFileError` if a frame is not of the first one's kind."""
        found = frame.layout.name, frame.sample_rate
        if found != kind:
            before, after = (
                f"{name}, {rate} Hz" for name, rate in (kind, found)
            )
            raise AudioFileError(
                f"{self.path}: audio track {self.track} changes at "
                f"{self._clock(place)} from {before} to {after}"
            )
