"""Files and directories that appear complete or not at all."""

import pytest

from keras_bandit.training.files import (
    recover_directory,
    replace_directory,
    write_text,
)


def writer(text):
    return lambda folder: (folder / "file.txt").write_text(text)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_text_is_replaced(tmp_path):
    write_text(tmp_path / "a.txt", "one")
    write_text(tmp_path / "a.txt", "twö")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "twö"
    assert names(tmp_path) == ["a.txt"]


def test_directory_is_replaced_as_a_whole(tmp_path):
    target = tmp_path / "best"
    replace_directory(target, lambda f: (f / "old.txt").write_text("old"))
    replace_directory(target, writer("new"))
    assert names(target) == ["file.txt"]
    assert names(tmp_path) == ["best"]


def test_former_directory_stays_when_writing_fails(tmp_path):
    target = tmp_path / "best"
    replace_directory(target, writer("old"))

    def fail(folder):
        writer("half")(folder)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        replace_directory(target, fail)
    assert (target / "file.txt").read_text() == "old"
    assert names(tmp_path) == ["best"]


@pytest.mark.parametrize("renamed", [0, 1, 2])
def test_killed_between_any_two_renames(tmp_path, monkeypatch, renamed):
    target = tmp_path / "best"
    replace_directory(target, writer("old"))
    rename, done = type(target).rename, []

    def rename_until_killed(path, name):
        if len(done) == renamed:
            raise KeyboardInterrupt
        done.append(name)
        return rename(path, name)

    with monkeypatch.context() as patch:
        patch.setattr(type(target), "rename", rename_until_killed)
        if renamed == 2:
            replace_directory(target, writer("new"))
        else:
            with pytest.raises(KeyboardInterrupt):
                replace_directory(target, writer("new"))
    recover_directory(target)
    expected = "new" if renamed == 2 else "old"
    assert (target / "file.txt").read_text() == expected
    assert names(tmp_path) == ["best"]
