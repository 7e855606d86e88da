"""Files where fsspec finds them: on this machine, on S3, behind HTTP, …"""

import os
import pathlib
import time

from keras_bandit.common.extras import require
from keras_bandit.common.files import write_text

_TRIES, _SECONDS_BETWEEN_TRIES = 3, 2.0


def open_place(uri):
    """The fsspec file system of a path or URI, and the path on it.

    `ImportError` if a package that it needs is not installed, `ValueError` for
    an unknown protocol.
    """
    fsspec = require("fsspec", "ray", "a manifest")
    return fsspec.core.url_to_fs(str(uri))


def is_local(place):
    """Whether a file system is that of this machine."""
    return "file" in (
        (place.protocol,) if isinstance(place.protocol, str) else place.protocol
    )


def local_path(uri):
    """The absolute path that a path or `file://` URI means; others: `None`."""
    if "://" in str(uri) and not str(uri).startswith(("file://", "local://")):
        return None
    return pathlib.Path(open_place(uri)[1])


def fetch(source, name, folder):
    """A film as a file of this machine: itself, or a copy of that name.

    The copy appears in `folder` when it is complete. A former one is taken.

    Raises:
        OSError: if there is no such film, or it cannot be copied.
    """
    place, path = open_place(source)
    if is_local(place):
        return pathlib.Path(path)
    copy, partial = folder / name, folder / f".{os.getpid()}.partial"
    if copy.exists():
        return copy
    folder.mkdir(parents=True, exist_ok=True)

    def get():
        place.get_file(path, str(partial))
        size, expected = partial.stat().st_size, place.info(path).get("size")
        if expected not in (None, size):
            raise OSError(f"{size} of {expected} bytes came")

    _tried(get, f"cannot read {source}")
    # A job goes on with this copy on another machine, too.
    os.utime(partial, (0, 0))
    os.replace(partial, copy)
    return copy


def publish(path, place, folder):
    """Copies a file to a folder elsewhere, where it appears complete."""
    hidden, final = f"{folder}/.partial.{path.name}", f"{folder}/{path.name}"

    def put():
        place.makedirs(folder, exist_ok=True)
        place.put_file(str(path), hidden)
        place.invalidate_cache()
        size = place.size(hidden)
        if size != path.stat().st_size:
            raise OSError(f"{size} of {path.stat().st_size} bytes went")
        if place.exists(final):
            place.rm_file(final)
        place.mv(hidden, final)

    _tried(put, f"cannot write {final}")


def read_text(place, path):
    """The text of a file; `None` if there is none."""
    try:
        return place.cat_file(path).decode()
    except FileNotFoundError:
        return None


def replace_text(place, path, text):
    """Writes a small file, complete or not at all."""
    if is_local(place):
        pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
        return

    def write():
        place.makedirs(path.rpartition("/")[0], exist_ok=True)
        place.pipe_file(path, text.encode())  # one object, one request

    _tried(write, f"cannot write {path}")


def sizes(place, folder):
    """`{name: bytes}` of a folder's files; empty if there is none."""
    place.invalidate_cache()
    try:
        found = place.ls(folder, detail=True)
    except FileNotFoundError:
        return {}
    return {
        entry["name"].rpartition("/")[2]: entry["size"]
        for entry in found
        if entry["type"] == "file"
    }


def _tried(action, failed):
    """Does it, again after a pause if a network breaks off."""
    for n in range(1, _TRIES + 1):
        try:
            return action()
        except (FileNotFoundError, PermissionError, NotImplementedError):
            raise
        except Exception as error:  # each protocol has classes of its own
            if n == _TRIES:
                reason = str(error) or type(error).__name__
                raise OSError(f"{failed}: {reason}") from error
            time.sleep(n * _SECONDS_BETWEEN_TRIES)
