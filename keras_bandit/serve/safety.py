"""What keeps names, paths and addresses of strangers from doing harm."""

import os
import pathlib
import re
import secrets
import unicodedata

_MOST_CHARACTERS = 120  # of a title


class Refused(Exception):
    """A request that is not granted; the message is one line for its sender.

    Args:
        message: str.
        status: int. Of the answer, HTTP.
    """

    def __init__(self, message, status=422):
        super().__init__(message)
        self.status = status


def title_of(name):
    """What a file is called on the page, and in names of downloads.

    A title is shown, never opened. Folders, control characters and what
    changes the direction of text are left out.
    """
    name = re.split(r"[/\\]", unicodedata.normalize("NFC", str(name)))[-1]
    kept = "".join(c for c in name if unicodedata.category(c)[0] != "C")
    return kept.strip(" .")[:_MOST_CHARACTERS] or "untitled"


def new_id():
    """A job's name: who has it may see the job, nobody can guess it."""
    return secrets.token_hex(16)


def is_id(text):
    """Whether a text is the name of a job, and so no path."""
    return re.fullmatch(r"[0-9a-f]{32}", text, re.ASCII) is not None


class Root:
    """The folder of the server from which files may be picked.

    Args:
        folder: path.
    """

    def __init__(self, folder):
        self._folder = pathlib.Path(folder).resolve(strict=True)

    def find(self, relative):
        """The real path of a file or folder below the root.

        `Refused` if there is none, or the path is hidden or leads out:
        absolute, with "..", or through a symbolic link.
        """
        nothing = Refused("there is no such file on the server", 404)
        relative = str(relative)
        parts = pathlib.PurePosixPath(relative).parts
        # "/": absolute; ".": hidden, or ".."
        if any(part.startswith(("/", ".")) for part in parts):
            raise nothing
        if "\\" in relative or "\0" in relative:
            raise nothing
        try:
            path = (self._folder / relative).resolve(strict=True)
        except (OSError, RuntimeError, ValueError):
            raise nothing from None
        if not path.is_relative_to(self._folder):
            raise nothing
        if not (path.is_file() or path.is_dir()):
            raise nothing  # a device would be read for ever
        return path

    def file(self, relative):
        """As `find`, of a file."""
        path = self.find(relative)
        if not path.is_file():
            raise Refused("there is no such file on the server", 404)
        return path

    def list(self, relative=""):
        """`[{"name", "is_folder", "bytes"}]` of a folder, folders first."""
        folder, entries = self.find(relative), []
        if not folder.is_dir():
            raise Refused("there is no such folder on the server", 404)
        for name in os.listdir(folder):
            try:
                name.encode()  # not every name is text
                path = self.find("/".join(filter(None, [relative, name])))
                size = path.stat().st_size
            except (OSError, Refused, UnicodeEncodeError):
                continue
            is_folder = path.is_dir()
            entry = {"name": name, "is_folder": is_folder}
            entries.append({**entry, "bytes": None if is_folder else size})
        return sorted(
            entries, key=lambda e: (not e["is_folder"], e["name"].lower())
        )


def file_inside(folder, name):
    """The path of a plain file that lies in a folder itself, or `Refused`."""
    path = pathlib.Path(folder, name)
    plain = path.name == name and path.is_file() and not path.is_symlink()
    if not plain:
        raise Refused("there is no such file", 404)
    return path
