"""What becomes of one film: a task that can be done again at any time."""

import dataclasses
import hashlib
import json
import pathlib
import shutil
import time

from keras_bandit.bulk.manifest import file_name
from keras_bandit.bulk.places import (
    fetch,
    is_local,
    open_place,
    publish,
    read_text,
    replace_text,
    sizes,
)
from keras_bandit.common.settings import check_same_settings
from keras_bandit.inference.files import JOB_FOLDER, check_file, separate_file
from keras_bandit.inference.resume import describe_file, describe_separator

RECORD = "bulk.json"
"""Beside the stems: what they are the stems of, and how they were made."""

_SECONDS_FOR_ANOTHER = 300.0


@dataclasses.dataclass(frozen=True)
class Plan:
    """What all films have in common.

    Args:
        output: str. Folder, a path or URI; that of a film is in it.
        options: dict, those of `separate_file` without `overwrite`, `resume`.
        model: dict for JSON. Says which model; see `Plan.settings`.
        scratch: str. Folder for copies of what is not on this machine.
        overwrite: bool. Whether films with other settings are separated anew,
            and files replaced that are not ours.
    """

    output: str
    options: dict
    model: dict
    scratch: str
    overwrite: bool = False

    def settings(self, film):
        """What must be the same for a film to be done or to go on."""
        options = {**self.options, **_track(film)}
        found = {"source": film.source, "model": self.model, "options": options}
        return json.loads(json.dumps(found))  # as it is read again

    def folder(self, film):
        """The fsspec file system of a film's folder, and its path there."""
        place, path = open_place(self.output)
        return place, f"{path.rstrip('/')}/{film.name}"


def _track(film):
    return {"audio_track": film.audio_track} if film.audio_track else {}


def find_done(film, plan):
    """The record of a film that is done, with all of its files; or `None`.

    `ValueError` if it was separated with other settings, unless `overwrite`.
    """
    place, folder = plan.folder(film)
    record = _read_record(place, folder)
    if record is None:
        return None
    former, now = record.get("settings", {}), plan.settings(film)
    if former != now:
        if not plan.overwrite:
            _check_settings(former, now, folder)
        return None
    return record if _is_complete(record, place, folder) else None


def _read_record(place, folder):
    text = read_text(place, f"{folder}/{RECORD}")
    try:
        return None if text is None else json.loads(text)
    except ValueError as error:
        raise ValueError(f"{folder}/{RECORD} is not JSON: {error}") from error


def _check_settings(former, now, folder):
    remedy = "give those of before, another output, or --overwrite"
    check_same_settings(former, now, folder, remedy)


def _is_complete(record, place, folder):
    files = record.get("files")
    return bool(files) and files.items() <= sizes(place, folder).items()


def separate_film(film, plan, separator, progress=False):
    """Separates a film, or what is left to do of it.

    Stems that go elsewhere are separated in a scratch folder, then copied.

    Args:
        film: `Film`.
        plan: `Plan`.
        separator, progress: see `separate_file`.

    Returns:
        dict for JSON: the record that now stands beside the stems.

    Raises:
        ValueError: if the film was begun with other settings, or is bad
            (`AudioFileError`).
        OSError, FloatingPointError: as `separate_file`.
    """
    record = find_done(film, plan)
    if record is not None:
        return record
    place, folder = plan.folder(film)
    key = hashlib.sha256(f"{film.source} {plan.output} {film.name}".encode())
    scratch = pathlib.Path(plan.scratch, key.hexdigest()[:16])
    try:
        if is_local(place):
            return _separate(film, plan, separator, progress, folder, scratch)
        return _elsewhere(
            film, plan, separator, progress, place, folder, scratch
        )
    finally:
        # A killed process leaves it to the next one.
        shutil.rmtree(scratch, ignore_errors=True)


def _elsewhere(film, plan, separator, progress, place, folder, scratch):
    there = ", ".join(sizes(place, folder))
    if there and _read_record(place, folder) is None and not plan.overwrite:
        raise FileExistsError(f"{folder}: not ours, already there: {there}")
    stems = scratch / "stems"
    mine = dataclasses.replace(plan, overwrite=True)
    record = _separate(film, mine, separator, progress, str(stems), scratch)
    begun = {"settings": record["settings"]}
    replace_text(place, f"{folder}/{RECORD}", json.dumps(begun))
    for name in record["files"]:
        publish(stems / name, place, folder)
    replace_text(place, f"{folder}/{RECORD}", json.dumps(record, indent=2))
    return record


def _separate(film, plan, separator, progress, folder, scratch):
    """The same to a folder of this machine."""
    place, folder = open_place(folder)
    former, now = _read_record(place, folder), plan.settings(film)
    same = former is not None and former.get("settings") == now
    if same and _is_complete(former, place, folder):  # but not yet copied
        return former
    source = fetch(film.source, file_name(film.source), scratch / "film")
    record = {
        "settings": now,
        "source": describe_file(source),
        "separator": describe_separator(separator),
    }
    record = json.loads(json.dumps(record))
    if former is not None:
        begun = {key: former.get(key, {}) for key in record}
        if not plan.overwrite:
            _check_settings(begun, record, folder)
        elif begun != record:
            shutil.rmtree(f"{folder}/{JOB_FOLDER}", ignore_errors=True)
    options = {**plan.options, **_track(film), "resume": True}
    options["overwrite"] = plan.overwrite or former is not None
    # What is there and not ours is refused before a record makes it ours.
    check_file(source, folder, separator, **options)
    replace_text(place, f"{folder}/{RECORD}", json.dumps(record))
    done = _alone(
        lambda: separate_file(source, folder, separator, progress, **options)
    )
    found = done.recording
    record |= {
        "seconds": found.num_samples / found.sample_rate,
        "elapsed": done.elapsed,
        "warnings": done.warnings,
        "files": {
            path.name: path.stat().st_size for path in done.paths.values()
        },
    }
    replace_text(place, f"{folder}/{RECORD}", json.dumps(record, indent=2))
    return record


def _alone(separate):
    """Waits for a process that Ray took for dead, and that soon will be."""
    end = time.monotonic() + _SECONDS_FOR_ANOTHER
    while True:
        try:
            return separate()
        except BlockingIOError:
            if time.monotonic() > end:
                raise
            time.sleep(1)
