"""Reading sound in blocks: films of all kinds, and sound files."""

import itertools
import struct
import sys

import av
import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_bandit.media import AudioFileError, describe, open_source
from keras_bandit.media.layouts import LAYOUTS
from keras_bandit.media.source import clock, cut

from .films import clicks, lag, make_film, on_grid, skip_start

pytestmark = pytest.mark.once

CLICKS = on_grid(clicks())
LENGTH = CLICKS.shape[1]


def read(source, **options):
    return np.concatenate(list(source.blocks(**options)), axis=1)


# Encoder of the picture, and those of the sound: without loss, with.
FILMS = {
    "mp4": ("libx264", "flac alac pcm_s16le pcm_s24le", "aac ac3 eac3 libopus"),
    "mov": ("libx264", "pcm_s16le pcm_s24le pcm_f32le alac", "aac ac3 eac3"),
    "mkv": (
        "libx264",
        "pcm_s16le pcm_s24le pcm_f32le flac",
        "aac ac3 eac3 libopus libmp3lame",
    ),
    "ts": ("libx264", "", "aac ac3 eac3 libopus mp2"),
    "mxf": ("mpeg2video", "pcm_s16le pcm_s24le", ""),
    "webm": ("libvpx-vp9", "", "libopus"),
    "avi": ("mpeg4", "pcm_s16le", "ac3"),
    "m4a": (None, "alac", "aac ac3"),
    "mpg": ("mpeg2video", "", "mp2 ac3"),
    "aac": (None, "", "aac"),
    "eac3": (None, "", "eac3"),
}

# These do not tell the encoder's delay.
LAG = {("avi", "ac3"): 256, ("aac", "aac"): 1024, ("eac3", "eac3"): 256}


@pytest.mark.parametrize(
    ("container", "codec", "lossless"),
    [
        (container, codec, lossless)
        for container, (_, exact, lossy) in FILMS.items()
        for lossless, codecs in ((True, exact), (False, lossy))
        for codec in codecs.split()
    ],
)
def test_sound_begins_with_the_picture(tmp_path, container, codec, lossless):
    path = tmp_path / f"film.{container}"
    make_film(path, CLICKS, codec, video=FILMS[container][0])
    source = open_source(path)
    assert (source.sample_rate, source.layout) == (48000, "stereo")
    assert source.num_samples is None
    # Guessed by the bit rate, where there is no header.
    within = 0.3 if container == "aac" else 0.03
    assert source.duration_seconds == pytest.approx(2, abs=within)
    audio = read(source)
    assert not source.warnings
    assert source.num_samples == audio.shape[1]
    if lossless:
        assert source.subtype in ("PCM_16", "PCM_24", "FLOAT")
        np.testing.assert_array_equal(audio, CLICKS)
    else:
        expected = LAG.get((container, codec), 0)
        assert lag(audio, CLICKS) == [expected, expected]
        # Codecs pad to a whole frame.
        assert LENGTH <= audio.shape[1] <= LENGTH + 1536


@pytest.mark.parametrize(
    ("container", "codec", "layout", "found"),
    [
        ("mkv", "flac", "5.1", "5.1"),
        ("mkv", "flac", "5.1(side)", "5.1(side)"),
        ("mov", "pcm_s24le", "5.1", "5.1"),
        ("mov", "pcm_s24le", "7.1", "7.1"),
        ("mp4", "ac3", "5.1(side)", "5.1(side)"),
        ("ts", "eac3", "5.1(side)", "5.1(side)"),
        ("mkv", "libopus", "5.1", "5.1"),
        ("mov", "pcm_s16le", "mono", "mono"),
        # Eight planes and more, of which PyAV does not count the end.
        ("mp4", "aac", "7.1", "7.1"),
        ("mov", "pcm_s24le", "7.1.4", "7.1.4"),
        # These do not tell.
        ("mkv", "pcm_s16le", "5.1", "unknown"),
        ("mxf", "pcm_s24le", "5.1", "unknown"),
    ],
)
def test_surround(tmp_path, container, codec, layout, found):
    num_channels = LAYOUTS[layout].bit_count()
    audio = on_grid(clicks(1, num_channels=num_channels))
    if codec.endswith("ac3"):
        # The low frequencies' channel bears no clicks.
        audio[3] = 0.1 * np.sin(np.arange(audio.shape[1]) * 50 / 48000 * 6.283)
    path = tmp_path / f"film.{container}"
    video = "mpeg2video" if container == "mxf" else "mpeg4"
    make_film(path, audio, codec, layout=layout, video=video, video_seconds=1)
    source = open_source(path)
    assert source.layout == found
    assert source.channel_mask == LAYOUTS.get(found)
    assert source.num_channels == num_channels
    assert source.speakers == open_source(path).speakers
    heard = read(source)
    if codec in ("flac", "pcm_s16le", "pcm_s24le"):
        np.testing.assert_array_equal(heard, audio)
    elif codec.endswith("ac3"):
        loud = [0, 1, 2, 4, 5]
        assert lag(heard[loud], audio[loud]) == [0] * 5
    else:
        loud = [0, 1, 2, 4, 5]
        assert lag(heard[loud], audio[loud]) == [0] * 5


# B frames: their picture's timestamps are hidden behind an edit list in MP4
# and MOV, and begin later than those of the sound in MKV and TS.
B_FRAMES = {"bf": "2", "g": "12", "b_strategy": "0"}
B_TYPE = 3  # FFmpeg's number


@pytest.mark.parametrize(
    ("container", "codec"),
    [("mp4", "alac"), ("mov", "pcm_s24le"), ("mkv", "flac"), ("ts", "ac3")],
)
@pytest.mark.parametrize(
    ("video_start", "audio_start"), [(0, 0), (0, 0.25), (0.28, 0)]
)
def test_start_times_and_b_frames(
    tmp_path, container, codec, video_start, audio_start
):
    path = tmp_path / f"film.{container}"
    make_film(
        path,
        CLICKS,
        codec,
        video="libx264",
        video_options=B_FRAMES,
        video_start=video_start,
        audio_start=audio_start,
    )
    with av.open(str(path)) as film:
        types = {int(frame.pict_type) for frame in film.decode(video=0)}
    assert B_TYPE in types
    source = open_source(path)
    late = round(48000 * (audio_start - video_start))
    audio = read(source)
    whole = np.pad(CLICKS, ((0, 0), (max(0, late), 0)))[:, max(0, -late) :]
    if codec == "ac3":
        assert lag(audio, whole) == [0, 0]
    else:
        assert source.start_offset == late
        np.testing.assert_array_equal(audio, whole)


@pytest.mark.parametrize("codec", ["pcm_s24le", "alac", "aac"])
def test_edit_list_that_ends_early(tmp_path, codec):
    """The list's length is that of the track, of which more is kept."""
    path = tmp_path / "film.mov"
    make_film(path, CLICKS, codec, options={"movie_timescale": "48000"})
    data = bytearray(path.read_bytes())
    place = data.rindex(b"elst") + 12  # version, number of entries
    assert struct.unpack_from(">I", data, place) == (LENGTH,)
    struct.pack_into(">I", data, place, 70_001)
    path.write_bytes(data)
    source = open_source(path)
    audio = read(source)
    assert audio.shape[1] == 70_001
    assert not source.warnings
    if codec != "aac":
        np.testing.assert_array_equal(audio, CLICKS[:, :70_001])


@pytest.mark.parametrize("picture", [0, 0.48])
def test_edit_lists_that_skip_the_start(tmp_path, picture):
    """Of the sound or of the picture, after an empty edit or without."""
    path = tmp_path / "film.mov"
    late = round(48000 * picture)
    times = {"audio_start": 0.25, "video_start": picture}
    options = {"movie_timescale": "48000"}
    make_film(path, CLICKS, "pcm_s16le", options=options, **times)
    skip_start(path, 1, 5001, 5001)
    skip_start(path, 0, 3 * 512, 3 * 1920)
    heard = np.pad(CLICKS[:, 5001:], ((0, 0), (12_000, 0)))[:, late:]
    source = open_source(path)
    assert source.start_offset == 12_000 - late
    np.testing.assert_array_equal(read(source), heard)
    assert not source.warnings


def test_edit_list_that_joins_pieces(tmp_path):
    """FFmpeg places what follows only to a packet: that is told."""
    path = tmp_path / "film.mov"
    options = {"movie_timescale": "48000"}
    make_film(path, CLICKS, "pcm_s24le", options=options, audio_start=0.25)
    data = bytearray(path.read_bytes())
    place = data.rindex(b"elst") + 12
    assert struct.unpack_from(">Ii", data, place) == (12_000, -1)
    struct.pack_into(">IiIIi", data, place, 24_000, 0, 1 << 16, 24_000, 50_001)
    path.write_bytes(data)
    source = open_source(path)
    audio = read(source)
    np.testing.assert_array_equal(audio[:, :23_000], CLICKS[:, :23_000])
    off = lag(audio[:, 24_000:], CLICKS[:, 50_001 : 50_001 + 24_000])
    assert max(map(abs, off)) <= 1024
    assert "at 0:00:00.500 an edit list leaves out" in source.warnings[0]


def crc(data):
    """CRC-32 as in MPEG."""
    rest = 0xFFFFFFFF
    for byte in data:
        rest ^= byte << 24
        for _ in range(8):
            rest = (rest << 1) ^ (0x104C11DB7 if rest >> 31 else 0)
    return struct.pack(">I", rest)


def test_programs_of_a_transport_stream(tmp_path):
    """Each sound begins with the picture of its own program."""
    packets, programs = [], b""
    for number, start in ((1, 0), (2, 1)):
        path = tmp_path / f"{number}.ts"
        table = 0x1000 + number
        options = {
            "mpegts_service_id": str(number),
            "mpegts_pmt_start_pid": str(table),
            "mpegts_start_pid": str(0x100 * number),
        }
        times = {"video_start": start, "audio_start": start + 0.1}
        audio = CLICKS if number == 1 else -CLICKS[::-1]
        make_film(path, audio, "ac3", options=options, **times)
        data = path.read_bytes()
        found = [data[i : i + 188] for i in range(0, len(data), 188)]
        # Without the table of programs, which has one.
        packets += [p for p in found if p[1:3] != b"\x40\0"]
        programs += struct.pack(">HH", number, 0xE000 | table)
    table = struct.pack(">BHHBBB", 0, 0xB000 | 17, 1, 0xC1, 0, 0) + programs
    table = b"\x47\x40\0\x10\0" + table + crc(table)
    both = tmp_path / "both.ts"
    both.write_bytes(table.ljust(188, b"\xff") + b"".join(packets))
    for track, audio in ((1, CLICKS), (2, -CLICKS[::-1])):
        source = open_source(both, audio_track=track)
        assert source.start_offset == 4800 - 256
        late = np.pad(audio, ((0, 0), (4800, 0)))
        assert lag(read(source), late) == [0, 0]
    found = [track["start_seconds"] for track in describe(both)["audio"]]
    assert found == [pytest.approx(0.1 - 256 / 48000, abs=1e-4)] * 2


def test_gap_before_the_picture_is_not_told(tmp_path):
    path = tmp_path / "film.mov"
    make_film(path, CLICKS, "alac", size=4096, video_start=0.48, skip=[1, 2])
    source = open_source(path)
    np.testing.assert_array_equal(read(source), CLICKS[:, 23_040:])
    assert not source.warnings


def test_pictures_of_uneven_length(tmp_path):
    """Variable frame rate: the sound does not care."""
    path = tmp_path / "film.mkv"
    make_film(path, CLICKS, "flac", pause=7)
    source = open_source(path)
    np.testing.assert_array_equal(read(source), CLICKS)
    assert not source.warnings


def test_tracks(tmp_path):
    path = tmp_path / "film.mkv"
    german = on_grid(clicks(1, num_channels=1))
    tracks = {"eng": CLICKS[:1], "ger": german}
    make_film(path, tracks, "flac", layout="mono", timecode="01:00:00:00")
    first, second = (open_source(path, audio_track=i) for i in (1, 2))
    assert open_source(path).track == 1
    assert (first.language, second.language) == ("eng", "ger")
    assert second.title == "sound ger"
    assert (second.track, second.num_tracks) == (2, 2)
    np.testing.assert_array_equal(read(second), german)
    with pytest.raises(
        AudioFileError,
        match=r"film.mkv: no audio track 3; there are 1 \(eng, flac, mono\), 2",
    ):
        open_source(path, audio_track=3)


@pytest.mark.parametrize("container", ["mov", "mxf", "mkv"])
def test_timecode(tmp_path, container):
    path = tmp_path / f"film.{container}"
    make_film(
        path,
        CLICKS,
        video="mpeg2video",
        timecode="01:02:03:04",
    )
    assert open_source(path).timecode == "01:02:03:04"


@pytest.mark.parametrize(
    ("container", "codec", "size", "skip"),
    [
        # Nine packets of 48 ms: exact in Matroska's milliseconds as well.
        ("mkv", "pcm_s16le", 2304, range(10, 19)),
        ("mp4", "alac", 4096, range(10, 12)),
        ("mov", "alac", 4096, range(10, 11)),
    ],
)
def test_gap_becomes_silence_of_the_right_length(
    tmp_path, container, codec, size, skip
):
    path = tmp_path / f"film.{container}"
    make_film(path, CLICKS, codec, size=size, skip=skip)
    begin, end = skip[0] * size, (skip[-1] + 1) * size
    expected = CLICKS.copy()
    expected[:, begin:end] = 0
    source = open_source(path)
    np.testing.assert_array_equal(read(source), expected)
    assert len(source.warnings) == 1
    assert f"a gap of {end - begin} samples" in source.warnings[0]
    assert f"at {clock(begin / 48000)}" in source.warnings[0]


@pytest.mark.parametrize(("start", "sign"), [(0, "-"), (4000, "+3")])
def test_timestamps_that_begin_again(tmp_path, start, sign):
    """Two recordings joined, as broadcasters' are: no hour of silence."""
    one, two = tmp_path / "one.ts", tmp_path / "two.ts"
    for path, begin in ((one, 0), (two, start)):
        times = {"video_start": begin, "audio_start": begin}
        make_film(path, CLICKS, "mp2", video="mpeg2video", **times)
    both = tmp_path / "both.ts"
    both.write_bytes(one.read_bytes() + two.read_bytes())
    source = open_source(both)
    audio = read(source)
    assert f"timestamps jump by {sign}" in source.warnings[0]
    single = read(open_source(one)).shape[1]
    assert audio.shape[1] == pytest.approx(2 * single, abs=2304)


@pytest.fixture
def damaged_film(tmp_path):
    """A film whose sound has one bad packet, at 0.48 s."""
    path = tmp_path / "film.mkv"
    make_film(path, CLICKS, "flac")
    with av.open(str(path)) as film:
        packets = list(film.demux(audio=0))
        bad = bytes(packets[5])
    data = path.read_bytes()
    place = data.index(bad) + len(bad) // 2
    path.write_bytes(
        data[:place] + bytes(b ^ 0x55 for b in data[place : place + 8])
        + data[place + 8 :]
    )  # fmt: skip
    return path


def test_damage_is_an_error_with_its_time(damaged_film):
    source = open_source(damaged_film)
    with pytest.raises(AudioFileError, match=r"is damaged at 0:00:00.480") as e:
        read(source)
    assert str(e.value).startswith(f"{damaged_film}: audio track 1")
    assert "\n" not in str(e.value)


def test_damage_as_silence(damaged_film):
    source = open_source(damaged_film, damaged="silence")
    audio = read(source)
    assert len(source.warnings) == 1
    assert "damaged at 0:00:00.480" in source.warnings[0]
    expected = CLICKS.copy()
    expected[:, 5 * 4608 : 6 * 4608] = 0
    np.testing.assert_array_equal(audio, expected)


@pytest.mark.parametrize(
    ("container", "codec"),
    [("mkv", "flac"), ("mxf", "pcm_s16le"), ("mov", "pcm_s24le")],
)
def test_film_that_breaks_off(tmp_path, container, codec):
    path = tmp_path / f"film.{container}"
    # MOV's index comes last, but for this: without it nothing is to be had.
    options = {"movflags": "faststart"} if container == "mov" else None
    make_film(path, CLICKS, codec, video="mpeg2video", options=options)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(AudioFileError, match="damaged at 0:00:0"):
        read(open_source(path))
    source = open_source(path, damaged="silence")
    audio = read(source)
    assert audio.shape == CLICKS.shape
    assert source.warnings
    np.testing.assert_array_equal(audio[:, :40000], CLICKS[:, :40000])


def test_layout_that_changes(tmp_path):
    one, two = tmp_path / "one.ts", tmp_path / "two.ts"
    make_film(one, CLICKS, "ac3", video=None)
    make_film(two, CLICKS[:1], "ac3", video=None, layout="mono")
    both = tmp_path / "both.ts"
    both.write_bytes(one.read_bytes() + two.read_bytes())
    with pytest.raises(
        AudioFileError, match=r"changes at 0:00:0\S+ from stereo, 48000 Hz to"
    ):
        read(open_source(both))


def test_what_cannot_be_opened(tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("no film at all " * 100)
    nothing = tmp_path / "nothing.mkv"
    nothing.touch()
    silent = tmp_path / "silent.mp4"
    make_film(silent, {})
    empty = tmp_path / "empty.mkv"
    make_film(empty, CLICKS[:, :0], "flac")
    for path, message in [
        (tmp_path / "missing.mkv", "No such file"),
        (tmp_path, "a directory"),
        (text, "not a media file"),
        (nothing, "not a media file"),
        (silent, "no audio track"),
        (empty, "no samples, zero length"),
    ]:
        with pytest.raises(AudioFileError, match=message) as caught:
            open_source(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)


def test_encrypted_film_is_refused(tmp_path):
    path = tmp_path / "film.mp4"
    key = {"encryption_key": "0" * 31 + "1", "encryption_kid": "0" * 31 + "2"}
    make_film(
        path,
        CLICKS,
        "aac",
        options={"encryption_scheme": "cenc-aes-ctr", **key},
    )
    with pytest.raises(AudioFileError, match="audio track 1 is encrypted"):
        open_source(path)


def test_without_pyav_the_extra_is_named(tmp_path, monkeypatch):
    path = tmp_path / "film.mkv"
    make_film(path, CLICKS, "flac")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(AudioFileError, match=r"keras-bandit\[video\]"):
        open_source(path)


def test_arguments_are_checked(tmp_path):
    path = tmp_path / "x.wav"
    soundfile.write(path, CLICKS.T, 48000)
    with pytest.raises(ValueError, match="damaged must be one of"):
        open_source(path, damaged="skip")
    with pytest.raises(ValueError, match="audio_track must be an integer"):
        open_source(path, audio_track=0)
    with pytest.raises(ValueError, match="start must be an integer"):
        open_source(path).blocks(-1)
    with pytest.raises(AudioFileError, match="no audio track 2; there is 1"):
        open_source(path, audio_track=2)
    assert open_source(path, audio_track=1).track == 1


def with_chunks(path, *chunks):
    """Adds chunks to a WAV file, before its samples."""
    data = path.read_bytes()
    added = b"".join(
        name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
        for name, body in chunks
    )
    place = data.index(b"data")
    data = data[:place] + added + data[place:]
    path.write_bytes(data[:4] + struct.pack("<I", len(data) - 8) + data[8:])


BEXT = bytes(338) + struct.pack("<Q", 172_800_000) + bytes(256)


def test_broadcast_wave(tmp_path):
    path = tmp_path / "x.wav"
    soundfile.write(path, CLICKS.T, 48000, subtype="PCM_24")
    carried = [
        (b"bext", BEXT),
        (b"iXML", b"<BWFXML/>"),
        (b"cue ", struct.pack("<I", 0)),
        (b"LIST", b"adtl" + bytes(8)),
    ]
    with_chunks(path, *carried, (b"LIST", b"INFO"), (b"junk", bytes(3)))
    source = open_source(path)
    assert source.time_reference == 172_800_000
    found = [(chunk.name.encode(), chunk.data) for chunk in source.chunks]
    assert found == carried
    np.testing.assert_array_equal(read(source), CLICKS)


@pytest.mark.parametrize(
    ("file_format", "num_channels", "mask", "layout"),
    [
        ("WAV", 1, 0, "mono"),
        ("WAV", 2, 0, "stereo"),
        ("WAV", 6, 0, "unknown"),
        ("WAVEX", 6, LAYOUTS["5.1"], "5.1"),
        ("WAVEX", 6, LAYOUTS["5.1(side)"], "5.1(side)"),
        ("WAVEX", 12, LAYOUTS["7.1.4"], "7.1.4"),
        ("WAVEX", 3, 0b10101, "unknown"),
        ("RF64", 2, 0, "stereo"),
        ("AIFF", 6, 0, "unknown"),
        ("FLAC", 6, 0, "5.1"),
        ("FLAC", 8, 0, "7.1"),
    ],
)
def test_layouts_of_sound_files(
    tmp_path, file_format, num_channels, mask, layout
):
    path = tmp_path / "sound"
    audio = np.zeros((100, num_channels))
    soundfile.write(path, audio, 8000, subtype="PCM_16", format=file_format)
    if file_format == "WAVEX":
        data = bytearray(path.read_bytes())
        struct.pack_into("<I", data, data.index(b"fmt ") + 28, mask)
        path.write_bytes(data)
    source = open_source(path)
    assert source.layout == layout
    if mask:
        assert source.channel_mask == mask
    assert (source.num_samples, source.num_channels) == (100, num_channels)


def test_sound_file_that_breaks_off(tmp_path):
    path = tmp_path / "x.flac"
    soundfile.write(path, CLICKS.T, 48000)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(AudioFileError, match=r"breaks off after \d+ of 96000"):
        read(open_source(path))
    source = open_source(path, damaged="silence")
    audio = read(source)
    assert audio.shape == CLICKS.shape
    assert "breaks off" in source.warnings[0]
    np.testing.assert_array_equal(audio[:, :10000], CLICKS[:, :10000])
    np.testing.assert_array_equal(
        read(open_source(path, damaged="silence"), start=1000),
        audio[:, 1000:],
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Sources of every kind, with all of their samples."""
    folder = tmp_path_factory.mktemp("files")
    short = CLICKS[:, :20000]
    soundfile.write(folder / "x.wav", short.T, 48000, subtype="PCM_24")
    soundfile.write(folder / "x.flac", short.T, 48000)
    soundfile.write(folder / "x.mp3", short.T, 48000)
    soundfile.write(folder / "x.ogg", short.T, 48000)
    for name, codec in [
        ("x.mp4", "aac"),
        ("x.mkv", "libopus"),
        ("x.mov", "pcm_s24le"),
        ("x.ts", "ac3"),
    ]:
        make_film(folder / name, short, codec, video_seconds=0.4)
    sources = [open_source(path) for path in sorted(folder.iterdir())]
    return [(source, read(source)) for source in sources]


@settings(deadline=None, max_examples=100)
@given(
    which=st.integers(0, 7),
    places=st.lists(st.floats(0, 1, exclude_max=True), max_size=5),
    end=st.floats(0.1, 2),
    byte=st.integers(0, 255),
)
def test_any_damage_is_told_in_one_line(files, which, places, end, byte):
    path = files[which][0].path
    data = bytearray(path.read_bytes())
    for place in places:
        # Headers are short, and more is damaged there.
        data[int(place**3 * len(data))] = byte
    damaged = path.parent.parent / f"damaged{path.suffix}"
    damaged.write_bytes(data[: int(end * len(data))])
    for policy in ("error", "silence"):
        told = f"{damaged}: "
        try:
            for _ in open_source(damaged, damaged=policy).blocks():
                pass
        except AudioFileError as error:
            told = str(error)
        assert told.startswith(f"{damaged}: ")
        assert "\n" not in told


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    which=st.integers(0, 7),
    start=st.integers(0, 22000),
    size=st.integers(500, 30000),
)
def test_blocks_from_any_start_equal_the_whole(files, which, start, size):
    source, whole = files[which]
    blocks = list(source.blocks(start, size))
    left = whole[:, start:]
    sizes = [block.shape[1] for block in blocks]
    full, rest = divmod(left.shape[1], size)
    assert sizes == [size] * full + [rest] * bool(rest)
    joined = np.concatenate([left[:, :0], *blocks], axis=1)
    np.testing.assert_array_equal(joined, left)
    assert all(block.dtype == np.float32 for block in blocks)


def test_blocks_are_read_as_they_are_asked_for(tmp_path):
    """A place ten minutes on is sought, and the rest is left alone."""
    path = tmp_path / "long.flac"
    zeros = np.zeros((48000 * 60, 1), "float32")
    with soundfile.SoundFile(path, "w", 48000, 1) as file:
        for _ in range(10):
            file.write(zeros)
    source = open_source(path)
    first = next(source.blocks(48000 * 599, 48000))
    assert first.shape == (1, 48000)


@pytest.mark.parametrize("name", ["x.wav", "x.mkv"])
def test_file_that_is_gone(tmp_path, name):
    path = tmp_path / name
    if name == "x.wav":
        soundfile.write(path, CLICKS.T, 48000)
    else:
        make_film(path, CLICKS, "flac")
    source = open_source(path)
    path.unlink()
    with pytest.raises(AudioFileError, match=f"^{path}: "):
        read(source)


def test_cut_makes_blocks_of_their_own():
    pieces = [np.arange(7)[None], np.zeros((1, 0)), np.arange(7, 10)[None]]
    blocks = list(cut(iter(pieces), 4))
    assert [block.shape[1] for block in blocks] == [4, 4, 2]
    assert np.concatenate(blocks, axis=1)[0].tolist() == list(range(10))
    assert not any(
        np.shares_memory(*pair) for pair in itertools.product(blocks, pieces)
    )


def test_clock():
    assert clock(3723.4564) == "1:02:03.456"
    assert clock(-0.02) == "-0:00:00.020"
    assert clock(59.9996) == "0:01:00.000"
