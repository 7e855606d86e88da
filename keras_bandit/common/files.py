"""Files and directories that appear complete or not at all."""

import contextlib
import errno
import glob
import json
import os
import pathlib
import shutil


def check_writable(folder):
    """Checks that a directory can be made, or written to if it exists.

    Raises:
        NotADirectoryError: if it or one above it is a file.
        PermissionError: if files may not be made there.
    """
    existing = pathlib.Path(folder)
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        reason = "not a directory; cannot write there"
        raise NotADirectoryError(errno.ENOTDIR, reason, str(existing))
    if not os.access(existing, os.W_OK | os.X_OK):
        reason = "no permission to write there"
        raise PermissionError(errno.EACCES, reason, str(existing))


def check_replaceable(directory, overwrite, kind, is_kind):
    """Refuses what is there, unless it is empty or a `kind` to replace.

    Raises `FileExistsError`, whose message says why.
    """
    if directory.exists() and not directory.is_dir():
        raise FileExistsError(f"{directory}: not a directory")
    if not directory.is_dir() or not any(directory.iterdir()):
        return
    if not overwrite:
        raise FileExistsError(f"{directory}: already there; overwrite replaces")
    if not is_kind(directory):
        raise FileExistsError(f"{directory}: not {kind}, so it is not replaced")


@contextlib.contextmanager
def complete_files(paths, overwrite=False, folder=None):
    """Lets files appear together, and only when they are complete.

    Yields a dict of each path's temporary one, a hidden name in the same
    directory (or in `folder`) with the same ending, and renames all when the block ends without
    an exception; otherwise, Ctrl-C included, removes what was written. The
    names are the process's own, so that two may write at once. Without
    `overwrite` a file that exists, or comes into being in the meantime, is a
    `FileExistsError`.

        with complete_files([path]) as temporary:
            temporary[path].write_bytes(content)
    """
    temporary = {
        path: (folder or path.parent) / f".{os.getpid()}.tmp.{path.name}"
        for path in paths
    }
    claimed = []
    try:
        yield temporary
        for path, written in temporary.items():
            if not overwrite:
                _claim(path, written)
                claimed.append(path)
            os.replace(written, path)
    except BaseException:
        for path in claimed:
            path.unlink(missing_ok=True)
        raise
    finally:
        for written in temporary.values():
            written.unlink(missing_ok=True)


def _claim(path, written):
    """Makes `path` ours, or raises FileExistsError if it exists."""
    try:
        # Complete from the first moment, and never over another file.
        os.link(written, path)
    except FileExistsError as error:
        raise FileExistsError(error.errno, error.strerror, str(path)) from None
    except OSError:
        # A file system without hard links: an empty file holds the name
        # until the rename a moment later.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))


def replace_file(path, write):
    """Makes a file, in place of a former one of that name.

    Killed at any time, it is the former file or the new one. What a killed
    process left beside it is overwritten the next time, where
    `complete_files` would leave one more: for one writer, which starts anew.

    `write` is a function of a path, a hidden one with the same ending, that
    writes the file there. If it raises, the former file stays.
    """
    path = pathlib.Path(path)
    partial = path.with_name(f".partial.{path.name}")
    try:
        write(partial)
        os.replace(partial, path)
    except OSError as error:
        # A write that breaks off does not say of what.
        if error.errno and error.filename is None:
            error.filename = str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)


def write_text(path, text):
    """Writes a text file, UTF-8, as `replace_file` does."""
    replace_file(path, lambda p: p.write_text(text, encoding="utf-8"))


def read_json(path):
    """Reads a JSON file of one object, a dict, or raises `ValueError`."""
    try:
        content = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} must hold a JSON object; got {type(content).__name__}"
        )
    return content


def write_json(path, content):
    """Writes a JSON file as `replace_file` does."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def _names(path):
    """A directory, and the new and the former one while it is replaced."""
    # Absolute, since "." has no name.
    path = pathlib.Path(os.path.abspath(path))
    return (
        path,
        # The process's own: another one's is never filled by two.
        path.with_name(f".{path.name}.{os.getpid()}.partial"),
        path.with_name(f".{path.name}.former"),
    )


def recover_directory(path):
    """Undoes a `replace_directory` that was killed half-way."""
    path, _, former = _names(path)
    if former.exists() and not path.exists():
        former.rename(path)
    partial = path.parent.glob(f".{glob.escape(path.name)}.*.partial")
    for remains in (*partial, former):
        shutil.rmtree(remains, ignore_errors=True)


def replace_directory(path, write):
    """Makes a directory, in place of a former one of that name.

    A full directory cannot be renamed onto another, so that for a moment
    there is none; `recover_directory` brings the former one back if the
    process was killed then. `write` is given an empty directory to fill; if
    it raises, the former directory stays.
    """
    recover_directory(path)
    path, partial, former = _names(path)
    partial.mkdir(parents=True)
    try:
        write(partial)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    try:
        if path.exists():
            path.rename(former)
        partial.rename(path)
    except BaseException:
        recover_directory(path)
        raise
    shutil.rmtree(former, ignore_errors=True)
