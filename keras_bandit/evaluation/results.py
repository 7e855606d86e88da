"""The directory of an evaluation: one file per track, kept between runs."""

import hashlib
import json
import math
import pathlib
import urllib.parse

import numpy as np

from keras_bandit.common.files import read_json, write_json
from keras_bandit.common.settings import check_same_settings

CONFIG = "config.json"
SUMMARY = "summary.json"
TABLES = "results.md"
TRACKS = "tracks"
PLOTS = "plots"
COMPARISON = "comparison.md"


class Results:
    """Results of an evaluation on disk.

    `config.json` holds the settings, all that the scores depend on; results
    of other settings are never mixed in: `ValueError`, unless no track is
    done. Beside them it lists
    the versions of every run. A track's file appears when it is complete.
    """

    def __init__(self, directory, settings, versions):
        self.directory = pathlib.Path(directory)
        # As JSON gives them back, so that they equal what is read again.
        self.settings = json.loads(json.dumps(settings))
        self.versions = [versions]
        config = self.directory / CONFIG
        if config.exists():
            former = _read_json(config, ("settings", "versions"))
            if any((self.directory / TRACKS).glob("*.json")):
                check_same_settings(
                    former["settings"],
                    self.settings,
                    f"{directory}: the evaluation there",
                    "choose another directory for the results",
                )
                if versions in former["versions"]:
                    self.versions = former["versions"]
                    return
                self.versions = [*former["versions"], versions]
        else:
            names = (SUMMARY, TABLES, TRACKS, PLOTS, COMPARISON)
            foreign = [x for x in names if (self.directory / x).exists()]
            if foreign:
                raise ValueError(
                    f"{directory}: holds {', '.join(foreign)} but no {CONFIG}; "
                    "choose another directory for the results"
                )
        (self.directory / TRACKS).mkdir(parents=True, exist_ok=True)
        content = {"settings": self.settings, "versions": self.versions}
        write_json(config, content)

    def read(self, track, stems):
        """A track's scores, or `None` if it is not done.

        `stems` are the stored ones that the scores were made of. Their audio
        is compared by checksum: `ValueError` for another track's file.
        """
        path = _file_of(self.directory, track)
        if not path.exists():
            return None
        record = _read_json(path, ("scores",))
        _check_track(path, record, _describe(track, stems))
        return _numbers(record["scores"])

    def write(self, track, stems, scores):
        """Writes a track's scores, and returns them as `read` gives them."""
        scores = for_json(scores)
        record = {**_describe(track, stems), "scores": scores}
        write_json(_file_of(self.directory, track), record)
        return _numbers(scores)


def read_evaluation(directory, tracks):
    """What an evaluation holds: settings, and `{name of a track: scores}`.

    Tracks that it has not done are not among them. Their audio is not read:
    `ValueError` for a track of another rate, length or number of channels.
    """
    directory = pathlib.Path(directory)
    config = _read_json(directory / CONFIG, ("settings", "versions"))
    done = {}
    for track in tracks:
        path = _file_of(directory, track)
        if path.exists():
            record = _read_json(path, ("scores",))
            _check_track(path, record, _shape(track))
            done[track.name] = _numbers(record["scores"])
    return config["settings"], done


def _file_of(directory, track):
    # Reversible, so that no two names meet in one file.
    name = urllib.parse.quote(track.name, safe=" &'(),;=+[]!@")
    return directory / TRACKS / f"{name}.json"


def _check_track(path, record, expected):
    """`ValueError` if a file's record is not of the track that is expected."""
    if {key: record.get(key) for key in expected} != expected:
        raise ValueError(
            f"{path}: holds scores of another track of that name: it had "
            f"{[record.get(key) for key in expected]} as {[*expected]}, "
            f"this one has {[*expected.values()]}"
        )


def _shape(track):
    keys = ("name", "sample_rate", "num_channels", "num_samples")
    return {key: getattr(track, key) for key in keys}


def _describe(track, stems):
    audio = hashlib.sha256()
    for stem in sorted(set(stems)):
        audio.update(stem.encode())
        audio.update(np.ascontiguousarray(track.read(stem)))
    return {**_shape(track), "audio_sha256": audio.hexdigest()}


def _read_json(path, keys):
    """Reads a dict that has `keys`."""
    try:
        content = read_json(path)
        if not content.keys() >= {*keys}:
            raise ValueError(f"no {' and '.join(keys)} in it")
        return content
    except ValueError as error:
        raise ValueError(
            f"{path}: damaged ({error}); remove it and run again"
        ) from error


def _map_numbers(tree, function):
    """Applies a function to the numbers (and None) of nested dicts."""
    if isinstance(tree, dict):
        return {key: _map_numbers(x, function) for key, x in tree.items()}
    return tree if isinstance(tree, str) else function(tree)


def for_json(scores):
    """Nested dicts with `None` for NaN and infinity, which JSON lacks."""
    return _map_numbers(scores, lambda x: x if math.isfinite(x) else None)


def _numbers(scores):
    return _map_numbers(scores, lambda x: math.nan if x is None else x)
