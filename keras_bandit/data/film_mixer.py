"""Sets of film-like tracks, mixed from the user's sounds or generated ones."""

from __future__ import annotations

import concurrent.futures
import csv
import dataclasses
import multiprocessing
import os
import pathlib
import shutil
from typing import TYPE_CHECKING

import soundfile

from keras_bandit.common.checks import check_seconds, check_whole
from keras_bandit.common.files import (
    read_json,
    replace_directory,
    write_json,
)
from keras_bandit.common.loudness import require_pyloudnorm
from keras_bandit.common.settings import check_same_settings
from keras_bandit.data.film_track import KINDS, mix_film_track
from keras_bandit.data.sound_sources import (
    check_sounds,
    find_sounds,
    share_sounds,
)
from keras_bandit.data.track_files import FolderError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from keras_bandit.common.types import AnyPath


FOLDERS = {"train": "tr", "validation": "cv", "test": "tt"}
"""DnR v2's folder of each split."""

# Near those of DnR v2 (3406, 487 and 973 tracks).
_SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}
_RECORD = "film_mix.json"
_HIGHEST_RATE = 768_000


def _check(counts, seconds, sample_rate, seed, workers):
    """The counts that are not zero, in the order of `FOLDERS`."""
    if set(counts) - set(FOLDERS) or not any(counts.values()):
        raise ValueError(
            f"counts must give a number of tracks for some of {list(FOLDERS)}; "
            f"got counts={counts}"
        )
    if not seconds >= 1:
        raise ValueError(f"seconds must be at least 1; got seconds={seconds}")
    check_seconds("seconds", seconds)
    check_whole("sample_rate", sample_rate, 8000, _HIGHEST_RATE)
    check_whole("seed", seed, 0)
    check_whole("workers", workers, 1)
    checked = {
        split: check_whole(f"counts[{split!r}]", counts[split], 0)
        for split in FOLDERS
        if split in counts
    }
    return {split: count for split, count in checked.items() if count}


def _deal(speech_dir, music_dir, effects_dir, splits, skip, seed):
    """`{split: {kind: list of FileSound, or None}}` of the folders."""
    folders = dict.fromkeys(KINDS, effects_dir)
    folders |= {"speech": speech_dir, "music": music_dir}
    if effects_dir is not None:
        parts = {
            "sfx": pathlib.Path(effects_dir, "foreground"),
            "background": pathlib.Path(effects_dir, "background"),
        }
        if all(part.is_dir() for part in parts.values()):
            folders |= parts
    skipped = {os.path.abspath(path): path for path in skip}
    unknown = set(skipped)
    sounds = {split: dict.fromkeys(KINDS) for split in splits}
    shares = {split: _SHARES[split] for split in splits}
    for kind, folder in folders.items():
        if folder is None:
            continue
        paths = {os.path.abspath(x.path): x for x in find_sounds(folder)}
        unknown -= paths.keys()
        found = [x for path, x in paths.items() if path not in skipped]
        # One seed: a folder of both kinds of effects is dealt alike to both.
        for split, files in share_sounds(folder, found, shares, seed).items():
            sounds[split][kind] = files
    if unknown:
        raise ValueError(
            f"skip names {', '.join(str(skipped[path]) for path in unknown)}, "
            "not a sound in any of the folders"
        )
    return sounds


def _begin(output_dir, record, sounds, overwrite):
    """Begins a set of tracks, or checks that the one there is the same.

    All files are read once, and tracks of an earlier set are removed.
    """
    path = output_dir / _RECORD
    folders = [output_dir / folder for folder in FOLDERS.values()]
    mixed = any(x.is_dir() and any(x.iterdir()) for x in folders)
    if path.exists() and mixed and not overwrite:
        check_same_settings(
            read_json(path),
            record,
            f"the tracks in {output_dir}",
            "choose another folder, or overwrite=True to lose them",
        )
        return
    if not path.exists() and any(folder.exists() for folder in folders):
        raise ValueError(
            f"{output_dir} holds tracks (tr, cv or tt) that the mixer did not "
            "write; choose another folder"
        )
    lists = [files or () for x in sounds.values() for files in x.values()]
    files = {file.path: file for found in lists for file in found}
    if problems := check_sounds(files.values()):
        raise FolderError(
            "files that cannot be mixed; mend them, remove them, or name them "
            "in skip=",
            problems,
        )
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    output_dir.mkdir(parents=True, exist_ok=True)
    write_json(path, record)


def _write_annotations(path, events):
    columns = ["file", "class", "mix start time", "mix end time"]
    columns += ["clip start time", "clip end time", "clip gain"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for event in events:
            name, kind, *numbers = dataclasses.astuple(event)
            writer.writerow([name, kind, *(f"{x:.9g}" for x in numbers)])


def _write_track(path, seed, seconds, sample_rate, sounds):
    """Mixes and writes a track; its folder appears when it is complete."""
    audio, events = mix_film_track(seed, seconds, sample_rate, sounds)

    def write(partial):
        try:
            for stem, samples in audio.items():
                file = partial / f"{stem}.wav"
                soundfile.write(file, samples, sample_rate, subtype="FLOAT")
        except (AssertionError, soundfile.LibsndfileError) as error:
            # soundfile asserts that all samples were taken.
            raise OSError(
                f"{file}: writing broke off; is the disk full?"
            ) from error
        _write_annotations(partial / "annots.csv", events)

    replace_directory(path, write)


def _run(jobs, workers):
    """Runs `_write_track` on tuples of arguments; yields after each."""
    if workers == 1:
        for job in jobs:
            yield _write_track(*job)
        return
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, context) as pool:
        futures = [pool.submit(_write_track, *job) for job in jobs]
        try:
            for future in concurrent.futures.as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def mix_film_tracks(
    output_dir: AnyPath,
    counts: Mapping[str, int],
    speech_dir: AnyPath | None = None,
    music_dir: AnyPath | None = None,
    effects_dir: AnyPath | None = None,
    seconds: float = 60.0,
    sample_rate: int = 44100,
    seed: int = 0,
    overwrite: bool = False,
    progress: Callable[[int, int], Any] | None = None,
    skip: Sequence[AnyPath] = (),
    workers: int = 1,
) -> dict[str, list[pathlib.Path]]:
    """Mixes film-like tracks with their stems, as DnR was mixed.

    Writes the folders of DnR v2 (Petermann et al. 2022, arXiv:2110.09958):
    `output_dir/{tr,cv,tt}/<number>/{mix,speech,music,sfx}.wav`, mono, 32-bit
    floats, and `annots.csv` with the events; `film_mix.json` records settings
    and files. `mix_film_track` describes the mixing.

    Sounds come from folders of the user's and the folders below, or, without
    one, from the generators of `film_clip`. A file is used in one split only:
    70, 10 and 20 % of each folder's files go to the splits that have tracks,
    at random, one at least. If `effects_dir` has the folders `foreground` and
    `background`, events and backgrounds come from these; else every file may
    become either. Files at another rate are resampled (soxr, VHQ), channels
    are averaged.

    The first call reads all files to their end before it mixes; complete
    tracks of an interrupted call are kept. A track depends on its number, the
    seed, the files, the length and the rate alone, so that `counts` may grow.

    Args:
        output_dir: path. Made if it is not there.
        counts: `{split: int}` of "train", "validation" and "test"; a split
            left out, or with 0, takes no files.
        speech_dir, music_dir, effects_dir: path, or `None`: generated.
        seconds: float. Length of the tracks, 1 to 86400.
        sample_rate: int. Hz, 8000 to 768000.
        seed: int ≥ 0.
        overwrite: bool. Whether to remove tracks that were mixed into
            `output_dir` before; those of anybody else are never removed.
        progress: `None`, or a function that takes the number of tracks done
            and the number of all, called at the start and after each.
        skip: list of paths of files in the folders that are not to be used.
        workers: int ≥ 1. Processes; more than one need a script's
            `if __name__ == "__main__"`.

    Returns:
        `{split: list of paths}`, the folders of the tracks.

    Raises:
        ValueError: if an argument is out of its range; if `output_dir` holds
            tracks that were mixed otherwise, or not by the mixer.
        FolderError: a ValueError, if a folder is missing or has too few
            files, or a file is damaged, silent or not finite; names them all.
        ImportError: without pyloudnorm, the extra `mix`.
    """
    counts = _check(counts, seconds, sample_rate, seed, workers)
    require_pyloudnorm()
    output_dir = pathlib.Path(output_dir)
    sounds = _deal(speech_dir, music_dir, effects_dir, counts, skip, seed)
    record = {
        "seconds": float(seconds),
        "sample_rate": int(sample_rate),
        "seed": int(seed),
        "files": {
            split: {
                kind: files and {x.name: x.path.stat().st_size for x in files}
                for kind, files in kinds.items()
            }
            for split, kinds in sounds.items()
        },
    }
    _begin(output_dir, record, sounds, overwrite)
    tracks, jobs = {}, []
    for split, count in counts.items():
        folder = output_dir / FOLDERS[split]
        tracks[split] = [folder / str(index) for index in range(count)]
        for index, path in enumerate(tracks[split]):
            if not path.exists():
                track_seed = [record["seed"], list(FOLDERS).index(split), index]
                settings = record["seconds"], record["sample_rate"]
                jobs.append((path, track_seed, *settings, sounds[split]))
    total = sum(counts.values())
    kept = total - len(jobs)
    if progress:
        progress(kept, total)
    for done, _ in enumerate(_run(jobs, workers), kept + 1):
        if progress:
            progress(done, total)
    return tracks
