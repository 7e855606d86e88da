"""Lists of films: what lines mean, and what is wrong with them."""

import pathlib

import pytest

from keras_bandit.bulk.manifest import Film, read_manifest

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def read(text, name="films.txt"):
    pathlib.Path(name).write_text(text, encoding="utf-8")
    return read_manifest(name)


def test_a_line_a_film(tmp_path):
    films = read(
        "\ufeffa film.mkv\n\n# a comment\n/b/Ç.mov\ns3://bucket/50%20.wav\n"
        "https://host/c%20d.mp4?token=a/b\nfile:///e/f.wav\r\n"
    )
    assert films == [
        Film(str(tmp_path / "a film.mkv"), "a film"),
        Film("/b/Ç.mov", "Ç"),
        Film("s3://bucket/50%20.wav", "50%20"),
        Film("https://host/c%20d.mp4?token=a/b", "c d"),
        Film("/e/f.wav", "f"),
    ]


def test_columns():
    text = 'name,path,audio_track\n,"/a/1,2.wav",\nother,/b/x.wav, 3\n'
    text += "six,/c/x.mxf,1-6\n"
    assert read(text, "films.CSV") == [
        Film("/a/1,2.wav", "1,2"),
        Film("/b/x.wav", "other", 3),
        Film("/c/x.mxf", "six", [1, 2, 3, 4, 5, 6]),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,track\na.wav,1\n", "films.csv must have.*got path, track"),
        ("name\na\n", "column path"),
        ("path,name\na.wav\n", "line 2: must have 2 values"),
        ("path\na.wav\nb.wav,1\n", "line 3: must have 1 values"),
        ("path,audio_track\na.wav,0\n", "line 2: audio_track.*'0'"),
        ("path,name\na.wav,../b\n", r"line 2: name.*'\.\./b'"),
        ("path\n.wav\n", r"line 2: name.*'\.wav'"),
        ("path,name\na.wav,\n\nb/a.wav,\n", "lines 2 and 4.*a/"),
        ("path\n", "names no film"),
    ],
)
def test_what_is_wrong(text, message):
    with pytest.raises(ValueError, match=message):
        read(text, "films.csv")


def test_two_lines_of_one_name():
    with pytest.raises(ValueError, match=r"lines 1 and 3.*column name"):
        read("a/x.wav\n\nb/x.mkv\n")


def test_no_manifest():
    with pytest.raises(FileNotFoundError):
        read_manifest("none.txt")
    pathlib.Path("latin").write_bytes(b"\xff\xfe.wav")
    with pytest.raises(ValueError, match="UTF-8"):
        read_manifest("latin")
