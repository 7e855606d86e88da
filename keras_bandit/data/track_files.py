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
    """A folder is not the dataset it should be; says all that is wrong.

    One line of summary, one for each problem, and what to do about it.
    """

    def __init__(self, summary, problems=(), hint=""):
        super().__init__("\n  ".join([summary, *problems, *hint.splitlines()]))
        self.summary = summary
        self.problems = list(problems)


@dataclasses.dataclass(frozen=True)
class TrackFiles:
    """The files of one track."""

    name: str  # unique within its split
    paths: dict  # of each stem


def subfolders(folder):
    """Folders in a folder, by name, without hidden ones."""
    return sorted(
        path
        for path in pathlib.Path(folder).iterdir()
        if path.is_dir() and not path.name.startswith(".")
    )


def find_splits(home, folders, file_names, suffixes, parts=None, prefix=""):
    """Finds tracks: a folder for each split, in it a folder for each track.

    Args:
        home: path.
        folders: `{split: folder below home}`.
        file_names: `{stem: names without suffix}`; the first there is taken.
        suffixes: tuple of str, such as `(".wav",)`.
        parts: `{stem: stems}`. A track may have a stem, its parts, or both.
        prefix: str. Put before a track's folder in the track's name.

    Returns:
        `{split: list of TrackFiles}`, complete tracks by name; and what is
        missing elsewhere, a list of str.
    """
    parts = parts or {}
    optional = {part for stems in parts.values() for part in stems}
    splits, problems = {split: [] for split in folders}, []
    for split, name in folders.items():
        folder = pathlib.Path(home, name)
        if not folder.is_dir():
            problems.append(f"{folder}: no such folder")
            continue
        for path in subfolders(folder):
            files = {}
            for stem, names in file_names.items():
                found = (path / f"{n}{end}" for n in names for end in suffixes)
                if file := next(filter(pathlib.Path.is_file, found), None):
                    files[stem] = file
            missing = [
                f"{names[0]}{suffixes[0]}"
                for stem, names in file_names.items()
                if stem not in files
                and stem not in optional
                and not files.keys() >= set(parts.get(stem, [stem]))
            ]
            if missing:
                problems.append(f"{path}: missing {', '.join(missing)}")
            else:
                splits[split].append(TrackFiles(prefix + path.name, files))
    return splits, problems


def probe_track(track):
    """Reads the headers of a `TrackFiles`' files, and their last samples.

    Returns the track's entry in the dataset's index: `"name"`,
    `"sample_rate"` (Hz), `"num_channels"`, `"num_samples"` (of every stem) and
    `"subtypes"`, `{stem: one of sample_formats.SUBTYPES}`. `FolderError` names
    files that are damaged or short, or differ in rate, channels or length.
    """
    shapes, subtypes, problems = {}, {}, []
    for stem, path in track.paths.items():
        try:
            with open_audio(path) as file:
                check_length(file)
                shapes[stem] = file.samplerate, file.channels, file.frames
                subtypes[stem] = file.subtype
        except TrackFileError as error:
            problems.append(str(error))
    usual = collections.Counter(shapes.values()).most_common(1)
    text = "{2} samples, {1} channel(s), {0} Hz"
    problems += [
        f"{track.paths[stem]}: {text.format(*shape)}; the other stems have "
        f"{text.format(*usual[0][0])}"
        for stem, shape in shapes.items()
        if shape != usual[0][0]
    ]
    if problems:
        raise FolderError(f"track {track.name} cannot be used", problems)
    keys = ("sample_rate", "num_channels", "num_samples")
    shape = dict(zip(keys, usual[0][0], strict=True))
    return {"name": track.name, **shape, "subtypes": subtypes}
