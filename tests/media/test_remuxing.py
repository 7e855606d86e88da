"""Remuxing: what is copied stays, what is new begins with the picture."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from keras_bandit.media import AudioFileError, open_source, remux
from keras_bandit.media.layouts import LAYOUTS
from keras_bandit.media.remuxing import check_remux
from keras_bandit.media.writing import WavWriter

from .films import clicks, lag, make_film, on_grid, skip_start

pytestmark = pytest.mark.once

SPEECH = on_grid(clicks())
MUSIC = SPEECH[::-1].copy()
B_FRAMES = {"bf": "2", "g": "12", "b_strategy": "0"}


def read(path, track):
    source = open_source(path, audio_track=track)
    return source, np.concatenate(list(source.blocks()), axis=1)


def packets(path, **stream):
    with av.open(str(path)) as film:
        return [bytes(packet) for packet in film.demux(**stream) if packet.size]


def times(path):
    """Seconds at which each picture is shown, from the first one on."""
    with av.open(str(path)) as film:
        shown = [p.pts * p.time_base for p in film.demux(video=0) if p.size]
    return np.array([float(time - min(shown)) for time in shown])


def write(path, audio, subtype="PCM_24", mask=None):
    with WavWriter(path, 48000, len(audio), subtype, mask) as file:
        file.write(audio)
    return path


@pytest.fixture
def stems(tmp_path):
    return {
        "speech": write(tmp_path / "speech.wav", SPEECH, "PCM_16"),
        "music": write(tmp_path / "music.wav", MUSIC),
    }


CODECS = {
    "mkv": ["flac", "flac"],
    "mov": ["pcm_s16le", "pcm_s24le"],
    "mp4": ["aac", "aac"],
}


@pytest.mark.parametrize("container", CODECS)
@pytest.mark.parametrize(
    ("source", "codec", "video", "starts"),
    [
        ("mov", "pcm_s24le", "libx264", (0, 0)),
        ("mp4", "aac", "libx264", (0, 0)),
        ("mkv", "pcm_s16le", "libx264", (0, 0)),
        ("mp4", "alac", "libx264", (0.28, 0)),
        ("mkv", "ac3", "mpeg4", (0, 0.25)),
    ],
)
def test_packets_are_copied_and_stems_added(
    tmp_path, stems, container, source, codec, video, starts
):
    film, output = tmp_path / f"a.{source}", tmp_path / f"out.{container}"
    make_film(
        film,
        SPEECH,
        codec,
        video=video,
        video_options=B_FRAMES if video == "libx264" else None,
        video_start=starts[0],
        audio_start=starts[1],
        timecode="01:00:00:00",
    )
    before = open_source(film)
    assert remux(film, stems, output) == []
    assert packets(output, video=0) == packets(film, video=0)
    assert packets(output, audio=0) == packets(film, audio=0)
    np.testing.assert_allclose(times(output), times(film), atol=0.0011)
    original, audio = read(output, 1)
    expected = np.concatenate(list(before.blocks()), axis=1)
    assert original.codec == before.codec
    assert original.timecode == before.timecode == "01:00:00:00"
    if codec in ("alac", "pcm_s16le", "pcm_s24le"):
        np.testing.assert_array_equal(audio, expected)
    else:
        # Matroska counts milliseconds.
        width = min(audio.shape[1], expected.shape[1])
        off = lag(audio[:, :width], expected[:, :width])
        rounded = "mkv" in (container, source)
        assert max(map(abs, off)) <= (24 if rounded else 0)
    for track, (name, stem) in enumerate(
        {"speech": SPEECH, "music": MUSIC}.items(), 2
    ):
        found, audio = read(output, track)
        assert (found.title, found.language) == (name, "eng")
        assert found.codec == CODECS[container][track - 2]
        assert found.num_samples == stem.shape[1]
        if container == "mp4":
            assert lag(audio, stem) == [0, 0]
        else:
            np.testing.assert_array_equal(audio, stem)
    assert [path.name for path in tmp_path.glob(".*")] == []


def stamps(path, fields):
    """Seconds of each picture after the first packet that is heard."""
    with av.open(str(path)) as film:
        sound = next(p for p in film.demux(audio=0) if not p.is_discard)
    with av.open(str(path)) as film:
        return [
            float(getattr(p, field) * p.time_base - sound.pts * sound.time_base)
            for p in film.demux(video=0)
            for field in fields
            if p.size
        ]


@pytest.mark.parametrize("container", CODECS)
@pytest.mark.parametrize("codec", ["pcm_s24le", "alac"])
@pytest.mark.parametrize(
    ("audio_start", "hidden", "pause"), [(0, 0, 7), (0.25, 0, 0), (0.25, 3, 0)]
)
def test_edit_lists_and_b_frames(
    tmp_path, stems, container, codec, audio_start, hidden, pause
):
    """Lists that begin in the midst of tracks; a picture that stands still."""
    film, output = tmp_path / "a.mov", tmp_path / f"out.{container}"
    make_film(
        film,
        SPEECH,
        codec,
        video="libx264",
        video_options=B_FRAMES,
        audio_start=audio_start,
        pause=pause,
        options={"movie_timescale": "48000"},
    )
    skip_start(film, 1, 5001, 5001)
    skip_start(film, 0, hidden * 512, hidden * 1920)
    before = np.concatenate(list(open_source(film).blocks()), axis=1)
    start = round(audio_start * 48000)
    late = np.pad(SPEECH[:, 5001:], ((0, 0), (start, 0)))
    np.testing.assert_array_equal(before, late)
    assert remux(film, stems, output) == []
    assert packets(output, video=0) == packets(film, video=0)
    if container == "mkv":  # milliseconds
        found, expected = (stamps(path, ["pts"]) for path in (output, film))
        np.testing.assert_allclose(found, expected, atol=0.0011)
        late = hidden * 1920  # Matroska cannot hide pictures
    else:
        found, expected = (
            stamps(path, ["pts", "dts"]) for path in (output, film)
        )
        assert found == pytest.approx(expected, abs=1e-9)
        late = 0
        heard = read(output, 1)[1]
        np.testing.assert_array_equal(heard[:, start:], before[:, start:])
        # FFmpeg's muxer does not hide part of a packet after an empty edit.
        assert not heard[:, : max(0, start - 4096)].any()
    audio = read(output, 2)[1][:, late:]
    assert lag(audio, SPEECH) == [0, 0]
    if container != "mp4":
        np.testing.assert_array_equal(audio, SPEECH)


@pytest.mark.parametrize("container", ["mov", "mp4"])
@pytest.mark.parametrize("start", [0, 0.3])
def test_milliseconds_of_matroska_become_frames(
    tmp_path, stems, container, start
):
    """Of equal length, as programs for cutting and timecode need them."""
    film, output = tmp_path / "a.mkv", tmp_path / f"out.{container}"
    make_film(
        film,
        SPEECH,
        "pcm_s16le",
        video="libx264",
        video_options=B_FRAMES,
        video_start=start,
        timecode="01:00:00;02",
        fps=Fraction(30000, 1001),
    )
    assert remux(film, stems, output) == []
    assert packets(output, video=0) == packets(film, video=0)
    np.testing.assert_allclose(times(output), times(film), atol=0.0011)
    with av.open(str(output)) as found:
        (picture,), (tmcd,) = found.streams.video, found.streams.data
        shown = [p.pts * p.time_base for p in found.demux(video=0) if p.size]
    shown = sorted(time - min(shown) for time in shown)
    assert shown == [Fraction(1001 * i, 30000) for i in range(len(shown))]
    assert picture.average_rate == Fraction(30000, 1001)
    # In tmcd: units of a second, of a frame, numbers of a second.
    assert struct.pack(">IIB", 30000, 1001, 30) in output.read_bytes()
    assert tmcd.metadata["timecode"] == "01:00:00;02"
    before = np.concatenate(list(open_source(film).blocks()), axis=1)
    np.testing.assert_array_equal(read(output, 1)[1], before)
    audio = read(output, 2)[1]
    assert lag(audio, SPEECH) == [0, 0]
    if container == "mov":
        np.testing.assert_array_equal(audio, SPEECH)


def test_picture_that_begins_at_any_millisecond(tmp_path, stems):
    film, output = tmp_path / "a.mkv", tmp_path / "out.mov"
    make_film(film, SPEECH, "pcm_s16le", audio_start=-0.007)
    with av.open(str(film)) as found:
        assert found.streams.video[0].start_time == 7
    remux(film, stems, output)
    np.testing.assert_array_equal(read(output, 1)[1], SPEECH[:, 336:])
    np.testing.assert_array_equal(read(output, 2)[1], SPEECH)


@pytest.mark.parametrize("container", CODECS)
def test_timecode_of_mxf(tmp_path, stems, container):
    film, output = tmp_path / "a.mxf", tmp_path / f"out.{container}"
    make_film(film, SPEECH, video="mpeg2video", timecode="10:02:03:04")
    if container == "mp4":
        film = make_film(
            tmp_path / "a.mov", SPEECH, "alac", timecode="10:02:03:04"
        )
    remux(film, stems, output)
    assert open_source(output).timecode == "10:02:03:04"
    with av.open(str(output)) as found:
        tracks = [stream.metadata["timecode"] for stream in found.streams.data]
    assert tracks == ["10:02:03:04"] * (container != "mkv")  # tmcd


@pytest.mark.parametrize("container", CODECS)
def test_transport_stream(tmp_path, stems, container):
    film, output = tmp_path / "a.ts", tmp_path / f"out.{container}"
    make_film(film, SPEECH, "ac3", video="mpeg2video", audio_start=0.1)
    remux(film, stems, output)
    assert packets(output, video=0) == packets(film, video=0)
    # Sound and picture keep their distance, and the stems begin with it.
    _, audio = read(output, 1)
    late = np.pad(SPEECH, ((0, 0), (4800, 0)))
    off = lag(audio, late)
    assert max(map(abs, off)) <= (24 if container == "mkv" else 0)
    _, audio = read(output, 2)
    assert lag(audio, SPEECH) == [0, 0]
    if container != "mp4":
        np.testing.assert_array_equal(audio, SPEECH)


@pytest.mark.parametrize(
    ("container", "layout", "subtype", "codec", "kept"),
    [
        ("mkv", "5.1", "PCM_24", "flac", "5.1"),
        ("mkv", "5.1(side)", "PCM_16", "flac", "5.1(side)"),
        ("mov", "5.1", "FLOAT", "pcm_f32le", "5.1"),
        ("mov", "7.1.4", "PCM_24", "pcm_s24le", "7.1.4"),
        ("mp4", "5.1", "FLOAT", "aac", "5.1"),
        ("mp4", "7.1", "FLOAT", "aac", "7.1"),
        ("mp4", "5.1(side)", "FLOAT", "aac", "5.1"),
    ],
)
def test_surround_stems(tmp_path, container, layout, subtype, codec, kept):
    mask = LAYOUTS[layout]
    audio = on_grid(clicks(1, num_channels=mask.bit_count()))
    stem = write(tmp_path / "speech.wav", audio, subtype, mask)
    film, output = tmp_path / "a.mov", tmp_path / f"out.{container}"
    make_film(film, SPEECH, "pcm_s16le")
    remux(film, {"speech": open_source(stem)}, output)
    found, heard = read(output, 2)
    assert (found.codec, found.layout) == (codec, kept)
    assert found.num_samples == audio.shape[1]
    if codec != "aac":
        np.testing.assert_array_equal(heard, audio)
    else:
        assert set(lag(heard, audio)) <= {-1, 0, 1}  # LFE: a few bins


def subtitled(path, film):
    """A film with subtitles and chapters."""
    with av.open(str(film)) as source, av.open(str(path), "w") as out:
        copies = [
            out.add_stream_from_template(stream, opaque=True)
            for stream in source.streams
        ]
        text = out.add_mux_stream("subrip")
        text.metadata["language"] = "fre"
        out.set_chapters(
            [
                {
                    "id": 1,
                    "start": 0,
                    "end": 1000,
                    "time_base": Fraction(1, 1000),
                    "metadata": {"title": "One"},
                }
            ]
        )
        for packet in source.demux():
            if packet.size:
                packet.stream = copies[packet.stream.index]
                out.mux(packet)
        line = av.Packet(b"Bonjour")
        line.pts = line.dts = 100
        line.duration, line.time_base = 500, text.time_base
        line.stream = text
        out.mux(line)
    return path


def test_tracks_of_other_languages_stay(tmp_path, stems):
    film, output = tmp_path / "a.mkv", tmp_path / "out.mkv"
    make_film(film, {"eng": SPEECH, "ger": MUSIC}, "flac")
    remux(film, stems, output, audio_track=2)
    languages = [open_source(output, i).language for i in (1, 2, 3, 4)]
    assert languages == ["eng", "ger", "ger", "ger"]
    remux(film, stems, output, language="und", overwrite=True)
    assert open_source(output, 3).language == ""
    np.testing.assert_array_equal(read(output, 2)[1], MUSIC)


@pytest.mark.parametrize("container", CODECS)
def test_track_that_players_choose(tmp_path, stems, container):
    film, output = tmp_path / "a.mkv", tmp_path / f"out.{container}"
    make_film(film, SPEECH, "aac")
    for default, track in ((None, 1), ("music", 3)):
        remux(film, stems, output, default=default, overwrite=True)
        assert open_source(output).track == track
    with pytest.raises(ValueError, match="default must be one of speech, mus"):
        remux(film, stems, output, default="effects", overwrite=True)


@pytest.mark.parametrize(
    ("codec", "container", "found"),
    [
        ("pcm", "mkv", "pcm_s16le"),
        ("flac", "mp4", "flac"),
        ("aac", "mov", "aac"),
    ],
)
def test_codec_that_was_asked_for(tmp_path, stems, codec, container, found):
    film, output = tmp_path / "a.mkv", tmp_path / f"out.{container}"
    make_film(film, SPEECH, "aac")
    remux(film, stems, output, codec=codec)
    assert open_source(output, 2).codec == found


def test_clipping_is_told(tmp_path):
    film, output = tmp_path / "a.mkv", tmp_path / "out.mkv"
    make_film(film, SPEECH, "flac")
    loud = write(tmp_path / "loud.wav", 4 * SPEECH, "FLOAT")
    warnings = remux(film, {"speech": loud}, output, codec="flac")
    clipped = int((np.abs(4 * SPEECH) > 1).sum())
    assert warnings == [
        f"{output}: speech: {clipped} samples clipped to full scale"
    ]


def test_what_is_refused(tmp_path, stems):
    film = make_film(tmp_path / "a.mkv", SPEECH, "flac")
    exact = make_film(tmp_path / "d.mkv", SPEECH, "pcm_s16le")
    text = tmp_path / "text.mkv"
    text.write_text("no film")
    other = make_film(tmp_path / "b.mkv", SPEECH, "flac", video="msmpeg4")
    silent = make_film(tmp_path / "c.mkv", {})
    there = {path.name for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=r"must be one of \.mkv, \.mov, \.mp4"):
        remux(film, stems, tmp_path / "out.avi")
    with pytest.raises(AudioFileError, match="not a media file"):
        remux(text, stems, tmp_path / "out.mkv")
    with pytest.raises(AudioFileError, match="no audio track"):
        remux(silent, stems, tmp_path / "out.mkv")
    with pytest.raises(AudioFileError, match=r"\.mp4 cannot hold its video"):
        remux(other, stems, tmp_path / "out.mp4")
    with pytest.raises(AudioFileError, match=r"\.mov cannot hold these tracks"):
        remux(film, stems, tmp_path / "out.mov")
    with pytest.raises(AudioFileError, match=r"\.mov cannot hold these tracks"):
        remux(exact, stems, tmp_path / "out.mov", codec="flac")
    with pytest.raises(FileExistsError):
        remux(film, stems, other)
    with pytest.raises(AudioFileError, match="would replace an input"):
        remux(film, stems, film, overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == there


def test_what_can_be_known_before(tmp_path, stems):
    """Containers that cannot hold a film are refused without reading it."""
    film = make_film(tmp_path / "a.mkv", SPEECH, "flac")
    other = make_film(tmp_path / "b.mkv", SPEECH, "flac", video="msmpeg4")
    there = sorted(tmp_path.iterdir())
    stem = open_source(stems["speech"])
    for ending in CODECS:
        output = tmp_path / f"out.{ending}"
        if ending == "mov":
            with pytest.raises(AudioFileError, match="cannot hold these trac"):
                check_remux(film, stem, output)
        else:
            check_remux(film, stem, output)
    with pytest.raises(AudioFileError, match=r"\.mp4 cannot hold its video"):
        check_remux(other, stem, output)
    with pytest.raises(AudioFileError, match="no audio track 2"):
        check_remux(film, stem, output, audio_track=[2, 1])
    assert sorted(tmp_path.iterdir()) == there


def test_timestamps_that_begin_again_are_refused(tmp_path, stems):
    film = make_film(tmp_path / "a.ts", SPEECH, "mp2", video="mpeg2video")
    film.write_bytes(2 * film.read_bytes())
    with pytest.raises(AudioFileError, match="timestamps jump back to"):
        remux(film, stems, tmp_path / "out.mkv")


def test_cover_is_left_out_where_it_does_not_fit(tmp_path, stems):
    plain = make_film(tmp_path / "plain.mp4", SPEECH, "aac")
    film, output = tmp_path / "a.mp4", tmp_path / "out.mkv"
    with av.open(str(plain)) as source, av.open(str(film), "w") as out:
        copies = [
            out.add_stream_from_template(stream, opaque=True)
            for stream in source.streams
        ]
        cover = out.add_stream("png", rate=25)
        cover.width, cover.height, cover.pix_fmt = 16, 16, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        out.start_encoding()
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), "uint8"))
        frame.pts = 0
        for packet in [*cover.encode(frame), *cover.encode()]:
            out.mux(packet)
        for packet in source.demux():
            if packet.size:
                packet.stream = copies[packet.stream.index]
                out.mux(packet)
    (warning,) = remux(film, stems, output)
    assert "video stream 2 (png) is left out; .mkv cannot hold it" in warning
    assert packets(output, video=0) == packets(film, video=0)
    assert remux(film, stems, tmp_path / "out.mp4") == []


def test_damaged_film_leaves_nothing(tmp_path, stems):
    film = make_film(tmp_path / "a.mkv", SPEECH, "flac")
    broken = write(tmp_path / "broken.wav", SPEECH)
    stem = open_source(broken)
    broken.write_bytes(broken.read_bytes()[:50000])
    with pytest.raises(AudioFileError, match=r"broken\.wav: damaged"):
        remux(film, {"speech": stem}, tmp_path / "out.mkv")
    assert not (tmp_path / "out.mkv").exists()
    assert not list(tmp_path.glob(".*"))


def test_film_that_breaks_off(tmp_path, stems):
    film, output = tmp_path / "a.mov", tmp_path / "out.mkv"
    options = {"movflags": "faststart"}
    make_film(film, SPEECH, "pcm_s24le", options=options)
    film.write_bytes(film.read_bytes()[:200_000])
    with pytest.raises(AudioFileError, match=r"a\.mov: damaged at 0:00:00"):
        remux(film, stems, output)
    assert not output.exists()
    warnings = remux(film, stems, output, damaged="silence")
    assert len(warnings) == 1
    assert "the copy ends there" in warnings[0]
    np.testing.assert_array_equal(read(output, 2)[1], SPEECH)


def test_full_disk_is_an_error(tmp_path, stems):
    resource = pytest.importorskip("resource")
    film = make_film(tmp_path / "a.mkv", SPEECH, "flac")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="large"):
            remux(film, stems, tmp_path / "out.mkv")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not (tmp_path / "out.mkv").exists()
    assert not list(tmp_path.glob(".*"))


def test_subtitles_and_chapters(tmp_path, stems):
    plain = make_film(tmp_path / "plain.mkv", SPEECH, "flac")
    film = subtitled(tmp_path / "a.mkv", plain)
    output = tmp_path / "out.mkv"
    assert remux(film, stems, output) == []
    assert packets(output, subtitles=0) == packets(film, subtitles=0)
    with av.open(str(output)) as found:
        assert found.chapters()[0]["metadata"] == {"title": "One"}
        assert found.streams.subtitles[0].language == "fre"
    warnings = remux(film, stems, tmp_path / "out.mp4")
    assert len(warnings) == 1
    assert "subtitle stream 2 (srt) is left out" in warnings[0]
