"""Names and paths of strangers."""

import os

import pytest

from keras_bandit.serve.safety import (
    Refused,
    Root,
    file_inside,
    is_id,
    new_id,
    title_of,
)

pytestmark = pytest.mark.once

ESCAPES = [
    "..",
    "../secret.wav",
    "films/../../secret.wav",
    "/etc/passwd",
    "//etc/passwd",
    "..\\secret.wav",
    "films\\..\\..\\secret.wav",
    "%2e%2e/secret.wav",
    "out/secret.wav",
    "link.wav",
    ".hidden.wav",
    "film.wav\0",
    "\0",
    "~/secret.wav",
    "loop",
    "pipe",
    "x" * 5000,
]


@pytest.fixture
def root(tmp_path):
    """A folder with films, and a secret beside it."""
    folder = tmp_path / "root"
    (folder / "films").mkdir(parents=True)
    (folder / "films" / "a.wav").write_bytes(b"film")
    (folder / ".hidden.wav").write_bytes(b"hidden")
    (tmp_path / "secret.wav").write_bytes(b"secret")
    (folder / "out").symlink_to(tmp_path)
    (folder / "link.wav").symlink_to(tmp_path / "secret.wav")
    (folder / "inner.wav").symlink_to(folder / "films" / "a.wav")
    (folder / "loop").symlink_to(folder / "loop")
    os.mkfifo(folder / "pipe")
    return Root(folder)


@pytest.mark.parametrize("relative", ESCAPES, ids=lambda p: repr(p)[:20])
def test_nothing_outside_the_root_is_found(root, relative):
    with pytest.raises(Refused, match="no such"):
        root.find(relative)


def test_files_below_the_root_are_found(root, tmp_path):
    expected = tmp_path / "root" / "films" / "a.wav"
    assert root.file("films/a.wav") == expected
    assert root.file("inner.wav") == expected


def test_a_root_lists_what_may_be_picked(root):
    assert [entry["name"] for entry in root.list()] == ["films", "inner.wav"]
    assert root.list("films") == [
        {"name": "a.wav", "is_folder": False, "bytes": 4}
    ]
    with pytest.raises(Refused):
        root.list("out")
    with pytest.raises(Refused):
        root.list("films/a.wav")


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("film.wav", "film.wav"),
        ("../../etc/passwd", "passwd"),
        ("C:\\films\\a.wav", "a.wav"),
        ("a\r\nSet-Cookie: b.wav", "aSet-Cookie: b.wav"),
        ("\u202evaw.exe", "vaw.exe"),
        ("<img src=x onerror=alert(1)>", "<img src=x onerror=alert(1)>"),
        ("", "untitled"),
        ("..", "untitled"),
        ("é" * 500, "é" * 120),
    ],
)
def test_titles_are_for_people(name, title):
    assert title_of(name) == title


def test_names_of_jobs_cannot_be_guessed_and_are_no_paths():
    assert is_id(new_id())
    assert new_id() != new_id()
    for text in ("", "..", "a" * 31, "A" * 32, "a" * 32 + "\n", "\u0661" * 32):
        assert not is_id(text)


@pytest.mark.parametrize("name", ["../b", "/etc/passwd", "link", "sub", "no"])
def test_only_a_folders_own_files_are_given(tmp_path, name):
    (tmp_path / "b").write_bytes(b"")
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "link").symlink_to(tmp_path / "b")
    (folder / "a").write_bytes(b"")
    assert file_inside(folder, "a") == folder / "a"
    with pytest.raises(Refused):
        file_inside(folder, name)
