"""Small films, made by PyAV: a few grey frames and a given sound."""

import re
import struct
from fractions import Fraction

import av
import numpy as np

from keras_bandit.media.film import planes

WIDTH, HEIGHT, FPS = 64, 48, 25


def clicks(seconds=2, sample_rate=48000, num_channels=2):
    """Noise bursts at odd places, other ones in each channel."""
    rng = np.random.default_rng(0)
    audio = np.zeros((num_channels, int(seconds * sample_rate)), "float32")
    for channel in audio:
        for start in rng.integers(0, len(channel) - 2000, 12):
            burst = rng.uniform(-0.5, 0.5, 480) * np.hanning(480)
            channel[start : start + 480] = burst
    return audio


def on_grid(audio, bits=16):
    """The nearest audio that PCM of so many bits holds exactly."""
    scale = 2.0 ** (bits - 1)
    return (np.rint(audio * scale) / scale).astype("float32")


def _frames(audio, sample_rate, layout, sample_format, size, first):
    """The sound as frames of so many samples."""
    for start in range(0, audio.shape[1], size):
        piece = audio[:, start : start + size]
        planar, count = sample_format.endswith("p"), piece.shape[1]
        kind = sample_format.removesuffix("p")
        if kind == "s16":
            piece = np.rint(piece * 2**15).astype("int16")
        elif kind == "s32":
            piece = np.rint(piece.astype("float64") * 2**31).astype("int32")
        if not planar:
            piece = piece.T.reshape(1, -1)
        frame = av.AudioFrame(sample_format, layout, count)
        for plane, values in zip(planes(frame), piece, strict=True):
            plane.update(np.ascontiguousarray(values))
        frame.sample_rate = sample_rate
        frame.time_base = Fraction(1, sample_rate)
        frame.pts = first + start
        yield frame


def make_film(
    path,
    tracks,
    codec="pcm_s16le",
    sample_rate=48000,
    layout="stereo",
    video="mpeg4",
    video_seconds=2,
    video_options=None,
    video_start=0,
    audio_start=0,
    size=1024,
    timecode=None,
    format=None,
    subtitles=False,
    skip=(),
    options=None,
    bit_rate=0,
    pause=0,
    fps=FPS,
):
    """Writes a film.

    Args:
        tracks: `(channels, samples)`, or a dict of language to that.
        sample_rate, layout, audio_start: for all tracks, or lists of one for
            each.
        video: encoder of the picture; `None` for none.
        video_start, audio_start: seconds at which picture and sound begin.
        skip: numbers of audio packets that are left out.
        pause: frames for which the picture in the middle stands still.
    """
    if not isinstance(tracks, dict):
        tracks = {"eng": tracks}
    packets = []
    with av.open(str(path), "w", format=format, options=options or {}) as film:
        streams = []
        if video:
            picture = film.add_stream(video, rate=fps)
            picture.width, picture.height = WIDTH, HEIGHT
            picture.pix_fmt = "yuv420p"
            picture.codec_context.time_base = 1 / Fraction(fps)
            picture.codec_context.options = video_options or {}
            if timecode:
                picture.metadata["timecode"] = timecode
        kinds = zip(
            *(
                value if isinstance(value, list) else [value] * len(tracks)
                for value in (sample_rate, layout, audio_start)
            ),
            strict=True,
        )
        for (language, audio), kind in zip(tracks.items(), kinds, strict=True):
            stream = film.add_stream(codec, rate=kind[0])
            stream.layout = kind[1]
            if bit_rate:
                stream.bit_rate = bit_rate
            stream.metadata["language"] = language
            stream.metadata["title"] = f"sound {language}"
            streams.append((stream, audio, *kind))
        film.start_encoding()
        if video:
            grey = np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH, 1))
            grey = np.repeat(grey, 3, axis=2).astype("uint8")
            for i in range(int(video_seconds * fps)):
                moved = np.roll(grey, i, axis=1)
                frame = av.VideoFrame.from_ndarray(moved, "rgb24")
                frame = frame.reformat(format="yuv420p")
                frame.pts = i + round(video_start * fps)
                frame.pts += pause * (i >= video_seconds * fps / 2)
                frame.time_base = 1 / Fraction(fps)
                packets += picture.encode(frame)
            packets += picture.encode()
        for stream, audio, rate, speakers, start in streams:
            context = stream.codec_context
            fixed = context.frame_size or size
            sound = []
            for frame in _frames(
                audio,
                rate,
                speakers,
                context.format.name,
                fixed,
                round(start * rate),
            ):
                sound += stream.encode(frame)
            sound += stream.encode()
            packets += [p for i, p in enumerate(sound) if i not in skip]
        packets.sort(key=lambda p: p.dts * p.time_base)
        for packet in packets:
            film.mux(packet)
    return path


def skip_start(path, track, units, movie_units):
    """Lets the edit list of a MOV's track, from 0 on, begin later in it.

    Args:
        units: how much later, in units of the track: of 1 / sample rate, or of
            1/512 frames.
        movie_units: the same in units of the film.
    """
    data = bytearray(path.read_bytes())
    lists = [match.start() for match in re.finditer(b"elst", data)]
    (count,) = struct.unpack_from(">I", data, lists[track] + 8)
    entry = lists[track] + 12 * count  # the last
    duration, begin = struct.unpack_from(">Ii", data, entry)
    new = duration - movie_units, begin + units
    struct.pack_into(">Ii", data, entry, *new)
    path.write_bytes(data)


def lag(audio, expected):
    """Samples by which each channel comes late, where they match best."""
    size = 2 ** (audio.shape[1] + expected.shape[1]).bit_length()
    lags = []
    for heard, meant in zip(audio, expected, strict=True):
        spectrum = np.fft.rfft(heard, size) * np.fft.rfft(meant, size).conj()
        best = int(np.argmax(np.fft.irfft(spectrum)))
        lags.append(best - size * (best > size // 2))
    return lags
