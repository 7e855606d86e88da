"""Lists of films: a text file with a path or URI a line, or a CSV."""

import csv
import dataclasses
import io
import pathlib
from urllib.parse import unquote, urlsplit

from keras_bandit.bulk.places import local_path, open_place
from keras_bandit.media.opening import parse_tracks

_COLUMNS = "path", "name", "audio_track"


@dataclasses.dataclass(frozen=True)
class Film:
    """A line of a manifest.

    Args:
        source: str. Absolute path or URI of the film.
        name: str. Folder of its stems, in the output's.
        audio_track: int from 1, or a list of them; `None`: that of all films.
    """

    source: str
    name: str
    audio_track: int | list | None = None


def file_name(source):
    """The name of a path's or URI's file."""
    if source.startswith(("http://", "https://")):
        source = unquote(urlsplit(source).path)
    return source.replace("\\", "/").rpartition("/")[2]


def read_manifest(manifest):
    """Reads a list of `Film` from a path or URI.

    A name that ends with `.csv` is that of a CSV with the column `path` and
    perhaps `name` (otherwise: the film's, without suffix) and `audio_track`.
    Any other file has a path or URI a line; empty lines and those that begin
    with `#` are passed over. Relative paths are those of the working
    directory.

    Raises:
        ValueError: if a line is not as described, or two films have one name.
            Names the line.
        OSError: if it cannot be read.
    """
    place, path = open_place(manifest)
    try:
        text = place.cat_file(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{manifest} must be UTF-8: {error}") from error
    rows = _csv_rows if manifest.lower().endswith(".csv") else _text_rows
    films, lines = [], {}
    for line, row in rows(manifest, text):
        try:
            film = _film(row)
        except ValueError as error:
            raise ValueError(f"{manifest}, line {line}: {error}") from error
        if film.name in lines:
            raise ValueError(
                f"{manifest}, lines {lines[film.name]} and {line} would both "
                f"be written to {film.name}/; give names in a CSV's column name"
            )
        lines[film.name] = line
        films.append(film)
    if not films:
        raise ValueError(f"{manifest} names no film")
    return films


def _text_rows(manifest, text):
    for line, source in enumerate(text.splitlines(), 1):
        if source.strip() and not source.startswith("#"):
            yield line, {"path": source.strip()}


def _csv_rows(manifest, text):
    reader = csv.DictReader(io.StringIO(text, newline=""))
    columns = reader.fieldnames or []
    unknown = [name for name in columns if name not in _COLUMNS]
    if unknown or "path" not in columns:
        raise ValueError(
            f"{manifest} must have the column path, and may have "
            f"{' and '.join(_COLUMNS[1:])}; got {', '.join(columns)}"
        )
    for row in reader:
        if None in row or None in row.values():
            raise ValueError(
                f"{manifest}, line {reader.line_num}: must have "
                f"{len(columns)} values; got {list(row.values())}"
            )
        yield reader.line_num, {k: v.strip() for k, v in row.items()}


def _film(row):
    source, track = row["path"], row.get("audio_track") or None
    if not source:
        raise ValueError("path is empty")
    path = local_path(source)
    source = source if path is None else str(path)
    name = row.get("name") or pathlib.PurePosixPath(file_name(source)).stem
    if not name or name.startswith(".") or {"/", "\\", "\0"} & set(name):
        raise ValueError(
            "name must be that of a folder that is not hidden; got "
            f"{name!r} for {source}"
        )
    if track is not None:
        try:
            track = parse_tracks(track)
        except ValueError as error:
            raise ValueError(f"audio_track {error}") from None
    return Film(source, name, track)
