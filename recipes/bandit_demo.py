"""Make `bandit_demo`, the small preset that ships, of runs of train_natural.py.

Command:
    KERAS_BACKEND=torch python recipes/bandit_demo.py --runs RUN NEXT \
        --sounds SOUNDS --packages PACKAGES --scores EVALUATION
    RUN, NEXT: runs in order; the preset of the last one ships.
    SOUNDS, PACKAGES: those of natural_sounds.py.
    EVALUATION: what `keras-bandit evaluate --output` wrote of what ships; run
    this without --scores first.
Writes: keras_bandit/weights/bandit_demo: weights in half precision, the core
    for other engines, metadata.json with the runs, the scores and the licence
    of every sound that was trained on, and CREDITS.md.
Time: a minute.
"""

import argparse
import json
import pathlib
import shutil

import h5py
import natural_sounds
import numpy as np
from recipe import run

# isort: split
from keras_bandit.common.files import replace_file
from keras_bandit.export.preset_core import write_preset_core
from keras_bandit.models import AudioSeparator
from keras_bandit.models.presets import weights_directory

# What the first run began with; its recipes are no longer here.
INITIAL = (
    "bandit_demo of commit b4cf310: 8,900 steps of 4 and 5,950 of 8 crops of "
    "3 s on 1,000 rendered clips (recipes/bandit_demo.py and "
    "render_film_clips.py there)"
)
MOST_BYTES = 4e6


def halve(path):
    """Rewrites a weights file with float16 in place of float32.

    Rounding changes the estimates by less than -50 dB
    (tests/recipes/test_bandit_demo.py). Keras reads the file as any other.
    """

    def write(made):
        with h5py.File(path) as source, h5py.File(made, "w") as target:

            def copy(name, item):
                if isinstance(item, h5py.Dataset):
                    half = item.dtype == np.float32
                    target[name] = item[...].astype("float16" if half else None)
                else:
                    target.require_group(name)
                target[name].attrs.update(item.attrs)

            source.visititems(copy)
            target.attrs.update(source.attrs)

    replace_file(path, write)


def describe(folder):
    """What a run's log.jsonl and its preset's metadata.json say of it."""
    lines = (folder / "log.jsonl").read_text().splitlines()
    log = [json.loads(line) for line in lines]
    metadata = json.loads((folder / "preset" / "metadata.json").read_text())
    training = metadata["keras_bandit"]["training"]
    (begin,) = [row for row in log if "scores" in row]
    options = {
        name: value
        for name, value in training["config"].items()
        if name not in ("data_dir", "output", "initial", "workers")
    }
    return {
        "recipe": "recipes/train_natural.py",
        "options": options,
        "seed": training["seed"],
        "backend": training["backend"],
        "device": begin["device"],
        "hours": next(r["hours"] for r in log if r.get("split") == "train"),
        "steps": training["steps"],
        "crops": max(row.get("crops", 0) for row in log),
        "seconds": log[-1]["clock"],
        "validation_before": begin["scores"],
        "validation": training["logs"],
    }


def describe_data(sounds, packages):
    """Licences of the sounds outside the test split, and CREDITS.md's text."""
    heard = [
        row
        for row in natural_sounds.read_manifest(sounds)
        if row["split"] != "test"
    ]
    licences = natural_sounds.licences(packages, heard)
    return licences, natural_sounds.credits(packages, heard)


def export(runs, sounds, packages, scores, directory):
    """Writes the preset as it ships.

    Args:
        runs: list of paths, in order; the last has what ships.
        sounds, packages: paths, of natural_sounds.py.
        scores: path of an evaluation, or `None`.
        directory: path; what is there is replaced.

    Raises:
        ValueError: if the weights have more than 4 MB.
    """
    # It was trained at one level: 20 dB below, it would find less speech.
    separator = AudioSeparator.from_preset(
        runs[-1] / "preset", normalize_recording="rms"
    )
    described = [describe(folder) for folder in runs]
    licences, credits = describe_data(sounds, packages)
    summary = {}
    if scores is not None:
        summary = json.loads((scores / "summary.json").read_text())["mean"]
    seconds = sum(row["seconds"] for row in described)
    separator.metadata = {
        "license": "Apache-2.0",
        "source": "recipes/bandit_demo.py of keras-bandit",
        "purpose": "demonstration; not film-grade",
        "initial": INITIAL,
        "runs": described,
        "config": described[-1]["options"],
        "training_time": f"{seconds:.0f} s after {INITIAL.split(':')[0]}",
        "training_data": licences,
        "scores": summary,
    }
    shutil.rmtree(directory, ignore_errors=True)
    separator.save_to_preset(directory)
    for path in directory.glob("*.h5"):
        halve(path)
    write_preset_core(AudioSeparator.from_preset(directory), directory)
    (directory / "CREDITS.md").write_text(credits, "utf-8")
    size = sum(path.stat().st_size for path in directory.iterdir())
    print(f"{directory}: {size / 1e6:.2f} MB")
    if size > MOST_BYTES:
        raise ValueError(f"{directory} must have 4 MB at most; got {size}")


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    path = pathlib.Path
    shipped = weights_directory("bandit_demo")
    parser.add_argument("--runs", type=path, nargs="+", required=True)
    parser.add_argument("--sounds", type=path, required=True)
    parser.add_argument("--packages", type=path, required=True)
    parser.add_argument("--scores", type=path)
    parser.add_argument("--output", type=path, default=shipped)
    given = parser.parse_args(argv)
    export(given.runs, given.sounds, given.packages, given.scores, given.output)


if __name__ == "__main__":
    run(main)
