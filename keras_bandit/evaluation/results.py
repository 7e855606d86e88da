"""The directory of an evaluation: one file per track, kept between runs."""

import hashlib
import json
import math
import pathlib
import urllib.parse

import numpy as np

from keras_bandit.common.files import complete_files

CONFIG = "config.json"
SUMMARY = "summary.json"
TABLES = "results.md"
TRACKS = "tracks"
PLOTS = "plots"


class Results:
    """Results of an evaluation on disk.

    `config.json` holds the settings; what was computed with others is never
    mixed in. A track's file appears when the track is done, complete.

    Args:
        directory: path, made if it does not exist.
        settings: dict for JSON. All that the scores depend on.
        versions: dict for JSON. Recorded beside the settings, not compared;
            all that took part, as `self.versions`.
        resume: bool. Whether results that are there already are kept and
            continued.

    Raises:
        ValueError: if there are results with other settings, or any without
            `resume`, or files of these names which are not ours.
        OSError: if the directory cannot be made or written.
    """

    def __init__(self, directory, settings, versions, resume=True):
        self.directory = pathlib.Path(directory)
        config = self.directory / CONFIG
        # What JSON makes of them, so that they equal what is read again.
        settings = json.loads(json.dumps(settings))
        if config.exists():
            if not resume:
                raise ValueError(
                    f"{directory}: already holds an evaluation; give another "
                    "output_dir, or resume=True"
                )
            former = _read_json(config, ("settings", "versions"))
            _check_same(self.directory, former["settings"], settings)
            self.settings, self.versions = settings, former["versions"]
            if versions not in self.versions:
                self.versions.append(versions)
                self._write_config()
            return
        foreign = [
            name
            for name in (SUMMARY, TABLES, TRACKS, PLOTS)
            if (self.directory / name).exists()
        ]
        if foreign:
            raise ValueError(
                f"{directory}: holds {', '.join(foreign)} but no {CONFIG}; "
                "give another output_dir"
            )
        (self.directory / TRACKS).mkdir(parents=True, exist_ok=True)
        self.settings, self.versions = settings, [versions]
        self._write_config()

    def _write_config(self):
        self.write_json(
            CONFIG, {"settings": self.settings, "versions": self.versions}
        )

    def _file_of(self, track):
        # Reversible, so that no two names meet in one file.
        name = urllib.parse.quote(track.name, safe=" &'(),;=+[]!@")
        return f"{TRACKS}/{name}.json"

    def read(self, track, stems):
        """A track's scores, or `None` if it is not done.

        Args:
            track: `Track`.
            stems: list of str. Stored stems that the scores were made of; they
                are read, to see that they are the same.

        Returns:
            `{row: {score: {name: float}}}`; NaN where a score isn't defined.

        Raises:
            ValueError: if the file is not this track's.
        """
        path = self.directory / self._file_of(track)
        if not path.exists():
            return None
        record = _read_json(path, ("scores",))
        expected = _describe(track, stems)
        if {key: record.get(key) for key in expected} != expected:
            raise ValueError(
                f"{path}: holds scores of another track of that name: it had "
                f"{[record.get(key) for key in expected]} as {[*expected]}, "
                f"this one has {[*expected.values()]}"
            )
        return _numbers(record["scores"])

    def write(self, track, stems, scores):
        """Writes a track's scores, NaN and infinity as null.

        Returns:
            the scores as `read` gives them.
        """
        scores = map_numbers(scores, number_or_none)
        record = {**_describe(track, stems), "scores": scores}
        self.write_json(self._file_of(track), record)
        return _numbers(scores)

    def write_json(self, name, content):
        """Writes a file of the directory, seen only when it is complete."""
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        self.write_text(name, text)

    def write_text(self, name, text):
        """Writes a file of the directory, seen only when it is complete."""
        path = self.directory / name
        with complete_files([path], overwrite=True) as temporary:
            temporary[path].write_text(text, encoding="utf-8")


def _describe(track, stems):
    audio = hashlib.sha256()
    for stem in sorted(set(stems)):
        audio.update(stem.encode())
        audio.update(np.ascontiguousarray(track.read(stem)))
    return {
        "name": track.name,
        "sample_rate": track.sample_rate,
        "num_channels": track.num_channels,
        "num_samples": track.num_samples,
        "audio_sha256": audio.hexdigest(),
    }


def _numbers(scores):
    return map_numbers(scores, lambda x: math.nan if x is None else x)


def _check_same(directory, former, settings):
    differing = [
        f"{key}={former.get(key)!r} (now {settings.get(key)!r})"
        for key in {**former, **settings}
        if former.get(key) != settings.get(key)
    ]
    if differing:
        raise ValueError(
            f"{directory}: holds an evaluation with other settings: "
            f"{'; '.join(differing)}; give another output_dir"
        )


def _read_json(path, keys):
    """Reads a dict that has `keys`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or not content.keys() >= {*keys}:
            raise ValueError(f"no {' and '.join(keys)} in it")
        return content
    except ValueError as error:
        raise ValueError(
            f"{path}: damaged ({error}); remove it and run again"
        ) from error


def map_numbers(tree, function):
    """Applies a function to the numbers (and None) of nested dicts."""
    if isinstance(tree, dict):
        return {key: map_numbers(x, function) for key, x in tree.items()}
    return tree if isinstance(tree, str) else function(tree)


def number_or_none(number):
    """A number for JSON, which knows neither NaN nor infinity."""
    return number if math.isfinite(number) else None
