"""Files and directories that appear complete or not at all."""

import os
import stat

import pytest

from keras_bandit.common.files import (
    complete_files,
    recover_directory,
    replace_directory,
    replace_file,
    write_text,
)

pytestmark = pytest.mark.once


def writer(text):
    return lambda folder: (folder / "file.txt").write_text(text)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_files_appear_together_when_all_are_complete(tmp_path):
    paths = [tmp_path / "a", tmp_path / "b"]
    with complete_files(paths) as temporary:
        for path in paths:
            temporary[path].write_text(path.name)
        assert not any(path.exists() for path in paths)
        assert all(name.startswith(".") for name in names(tmp_path))
    assert names(tmp_path) == ["a", "b"]
    assert paths[1].read_text() == "b"


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, SystemExit])
def test_nothing_is_left_after_an_interruption(tmp_path, error):
    paths = [tmp_path / "a", tmp_path / "b"]

    def write_first_and_break_off():
        with complete_files(paths) as temporary:
            temporary[paths[0]].write_text("half")
            raise error

    with pytest.raises(error):
        write_first_and_break_off()
    assert names(tmp_path) == []


def _deny_link(source, target):
    raise PermissionError(1, "Operation not permitted", source)


@pytest.mark.parametrize("hard_links", [True, False])
def test_file_that_appears_meanwhile_is_not_replaced(
    tmp_path, monkeypatch, hard_links
):
    if not hard_links:
        monkeypatch.setattr(os, "link", _deny_link)
    paths = [tmp_path / "a", tmp_path / "b"]

    def write_while_another_does():
        with complete_files(paths) as temporary:
            for path in paths:
                temporary[path].write_text("ours")
            paths[1].write_text("another's")

    with pytest.raises(FileExistsError) as caught:
        write_while_another_does()
    assert caught.value.filename == str(paths[1])
    assert paths[1].read_text() == "another's"
    assert names(tmp_path) == ["b"]


@pytest.mark.parametrize("hard_links", [True, False])
@pytest.mark.parametrize("overwrite", [True, False])
def test_new_file_and_overwriting(tmp_path, monkeypatch, hard_links, overwrite):
    if not hard_links:
        monkeypatch.setattr(os, "link", _deny_link)
    path = tmp_path / "a"
    if overwrite:
        path.write_text("old")
    with complete_files([path], overwrite) as temporary:
        temporary[path].write_text("new")
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a"]


def test_files_have_the_usual_permissions(tmp_path):
    plain, path = tmp_path / "plain", tmp_path / "a"
    plain.touch()
    with complete_files([path]) as temporary:
        temporary[path].write_text("new")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(
        plain.stat().st_mode
    )


def test_former_file_stays_when_writing_fails(tmp_path):
    path = tmp_path / "a.npz"
    path.write_text("old")

    def fail(partial):
        assert partial.suffix == ".npz"
        partial.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        replace_file(path, fail)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.npz"]


def test_an_error_names_the_file(tmp_path):
    def write(path):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match=r"No space left on device: .*report"):
        replace_file(tmp_path / "report.txt", write)


def test_what_a_killed_process_left_is_overwritten(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        for module, name in ((os, "replace"), (os, "unlink")):
            patch.setattr(module, name, lambda *_: None)
        replace_file(tmp_path / "a", lambda path: path.write_text("killed"))
    assert len(names(tmp_path)) == 1
    write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"
    assert names(tmp_path) == ["a"]


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


def test_the_current_directory_is_replaced(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    replace_directory(".", lambda path: (path / "a.txt").write_text("new"))
    assert (tmp_path / "run/a.txt").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


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


def test_of_two_writers_one_fails(tmp_path, monkeypatch):
    """No directory holds files of both."""
    target = tmp_path / "best"

    def write_beside_another(folder):
        (folder / "a.txt").write_text("first")
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda: -1)
            replace_directory(target, writer("second"))
        (folder / "b.txt").write_text("first")

    with pytest.raises(FileNotFoundError):
        replace_directory(target, write_beside_another)
    assert names(target) == ["file.txt"]
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
