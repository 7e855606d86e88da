"""Tracks as folders of audio files: found, and checked before they are used."""

import collections
import dataclasses
import pathlib

from keras_bandit.data.sample_formats import (
    TrackFileError,
    check_length,
    open_audio,
)


class FolderError(ValueError):
    """A folder that is not the dataset it should be; says what is missing.

    Args:
        summary: str. One line.
        problems: list of str. One line each, all that is wrong.
        hint: str. What to do about it, any number of lines.
    """

    def __init__(self, summary, problems=(), hint=""):
        lines = [summary, *problems, *hint.splitlines()]
        super().__init__("\n  ".join(lines))
        self.summary = summary
        self.problems = list(problems)


@dataclasses.dataclass(frozen=True)
class TrackFiles:
    """The files of one track.

    Args:
        name: str. Unique within its split.
        paths: `{stem: path}`.
    """

    name: str
    paths: dict


@dataclasses.dataclass(frozen=True)
class TrackInfo:
    """What the files of one track have in common, and what they have not.

    Args:
        name: str.
        sample_rate: int. Hz.
        num_channels: int.
        num_samples: int. Length of every stem.
        subtypes: `{stem: subtype}`, each one of `sample_formats.SUBTYPES`.
    """

    name: str
    sample_rate: int
    num_channels: int
    num_samples: int
    subtypes: dict


def subfolders(folder):
    """Folders in a folder, by name; hidden ones are left out."""
    return sorted(
        path
        for path in pathlib.Path(folder).iterdir()
        if path.is_dir() and not path.name.startswith(".")
    )


def find_file(folder, names, suffixes):
    """The file with one of several names and suffixes, or `None`."""
    for name in names:
        for suffix in suffixes:
            path = folder / f"{name}{suffix}"
            if path.is_file():
                return path
    return None


def find_tracks(folder, file_names, suffixes, parts=None, prefix=""):
    """Tracks in a folder: one folder each, one file for each stem.

    Args:
        folder: path.
        file_names: `{stem: names without suffix}`, of which the first that
            exists is taken.
        suffixes: tuple of str, such as `(".wav",)`.
        parts: `{stem: stems}`. A track may have a stem, its parts, or both.
        prefix: str, put before the folder's name in the track's.

    Returns:
        A list of `TrackFiles` by name, of the tracks that are complete, and a
        list of str, what the others lack.
    """
    parts = parts or {}
    optional = {part for stems in parts.values() for part in stems}
    tracks, problems = [], []
    for path in subfolders(folder):
        found = {
            stem: find_file(path, names, suffixes)
            for stem, names in file_names.items()
        }
        missing = [
            f"{file_names[stem][0]}{suffixes[0]}"
            for stem, file in found.items()
            if file is None
            and stem not in optional
            and not (stem in parts and all(map(found.get, parts[stem])))
        ]
        if missing:
            problems.append(f"{path}: missing {', '.join(missing)}")
            continue
        files = {stem: file for stem, file in found.items() if file}
        tracks.append(TrackFiles(prefix + path.name, files))
    return tracks, problems


def find_splits(home, folders, file_names, suffixes, parts=None, prefix=""):
    """Tracks of all splits, each in a folder of its own.

    Args:
        home: path.
        folders: `{split: folder below home}`.
        file_names, suffixes, parts, prefix: see `find_tracks`.

    Returns:
        `{split: list of TrackFiles}`, and a list of str, what is missing.
    """
    splits, problems = {}, []
    for split, folder in folders.items():
        splits[split] = []
        if not (home / folder).is_dir():
            problems.append(f"{home / folder}: no such folder")
            continue
        splits[split], missing = find_tracks(
            home / folder, file_names, suffixes, parts, prefix
        )
        problems += missing
    return splits, problems


def probe_track(track):
    """Reads the headers of a track's files, and their last samples.

    Args:
        track: `TrackFiles`.

    Returns:
        `TrackInfo`.

    Raises:
        FolderError: if a file is damaged or short, or the files differ in
            rate, channels or length; `problems` names each file.
    """
    headers, problems = {}, []
    for stem, path in track.paths.items():
        try:
            with open_audio(path) as file:
                check_length(file)
                shape = (file.samplerate, file.channels, file.frames)
                headers[stem] = (shape, file.subtype)
        except TrackFileError as error:
            problems.append(str(error))
    shapes = collections.Counter(shape for shape, _ in headers.values())
    if len(shapes) > 1:
        usual = shapes.most_common(1)[0][0]
        problems += [
            f"{track.paths[stem]}: {_describe(shape)}; the other stems have "
            f"{_describe(usual)}"
            for stem, (shape, _) in headers.items()
            if shape != usual
        ]
    if problems:
        raise FolderError(f"track {track.name} cannot be used", problems)
    return TrackInfo(
        track.name,
        *next(iter(shapes)),
        subtypes={stem: subtype for stem, (_, subtype) in headers.items()},
    )


def _describe(shape):
    sample_rate, num_channels, num_samples = shape
    return f"{num_samples} samples, {num_channels} channel(s), {sample_rate} Hz"
