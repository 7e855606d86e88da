"""Files and directories that appear complete or not at all."""

import os
import pathlib
import shutil


def write_text(path, text):
    """Writes a text file under another name, then renames it."""
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def _names(path):
    """Names of the new and of the former directory while one is replaced."""
    path = pathlib.Path(path)
    return (
        path.with_name(f".{path.name}.partial"),
        path.with_name(f".{path.name}.former"),
    )


def recover_directory(path):
    """Undoes a `replace_directory` that was killed half-way."""
    path = pathlib.Path(path)
    partial, former = _names(path)
    if former.exists() and not path.exists():
        former.rename(path)
    for remains in (partial, former):
        shutil.rmtree(remains, ignore_errors=True)


def replace_directory(path, write):
    """Makes a directory, in place of a former one of that name.

    A full directory cannot be renamed onto another, so that for a moment
    there is none; `recover_directory` brings the former one back if the
    process was killed then.

    Args:
        path: of the directory.
        write: function of a path, called with an empty directory to fill. If
            it raises, the former directory stays.
    """
    path = pathlib.Path(path)
    recover_directory(path)
    partial, former = _names(path)
    partial.mkdir(parents=True)
    try:
        write(partial)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if path.exists():
        path.rename(former)
    partial.rename(path)
    shutil.rmtree(former, ignore_errors=True)
