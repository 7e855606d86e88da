"""Recipes made small: tiny presets, noise as data, runs of one step or two."""

import json
from pathlib import Path

import h5py
import keras
import numpy as np

from keras_bandit.data.track import ArrayTrack
from keras_bandit.models import AudioSeparator

RECIPES = Path(__file__).parents[2] / "recipes"
RATE = 8000
# Few stems: time goes into tracing and compiling their decoders.
DNR = ("music", "effects")
MUSDB = ("vocals", "bass")
# Of the presets that recipes begin with.
ORIGIN = {"license": "that of a test", "scores": {"snr": 12.3}}
CONFIG = {
    "crop_seconds": 0.1,
    "batch_size": 2,
    "epoch_size": 4,
    "validation_hop_seconds": 0.1,
    "validation_batch_size": 2,
    "epochs": 1,
}


def tracks(stems, count, channels, seed):
    rng = np.random.default_rng(seed)
    return [
        ArrayTrack(
            f"track {number}",
            RATE,
            {
                stem: 0.1 * rng.standard_normal((channels, 4000))
                for stem in stems
            },
        )
        for number in range(count)
    ]


def prepared(dataset, split, data_dir, config="paths"):
    """Stands in for `open_tracks`: noise under the stems' names."""
    assert Path(data_dir).name == "data"
    stems, channels = {"dnr": (DNR, 1), "musdb18_hq": (MUSDB, 2)}[dataset]
    seeds = {"train": 0, "validation": 1}
    return tracks(stems, 2, channels, seeds[split])


def run(recipe, folder, *options, **config):
    """Runs a recipe with its configuration made small; returns its output."""
    known = {k: v for k, v in CONFIG.items() if k in recipe.CONFIG}
    paths = ["--data-dir", folder / "data", "--output", folder / "run"]
    recipe.main(
        [*map(str, paths), *map(str, options)],
        {**recipe.CONFIG, **known, **config},
    )
    return folder / "run"


def run_twice(recipe, folder, *options, **config):
    """Runs a recipe; again, it trains no more and saves the same preset."""
    output = run(recipe, folder, *options, **config)
    before = kept(output)
    run(recipe, folder, *options, **config)
    np.testing.assert_equal(kept(output), before)
    return output


def kept(output):
    """What runs and presets hold, and when training wrote it."""
    found = {}
    for path in sorted(p for p in output.rglob("*") if p.is_file()):
        name = path.relative_to(output)
        if {"best", "last", "features", "labels"} & set(name.parts):
            found[f"{name}, time"] = path.stat().st_mtime_ns
        if path.suffix == ".h5":
            found[str(name)] = arrays(path)
        elif path.name == "metadata.json":
            found[str(name)] = json.loads(path.read_text())["keras_bandit"]
        elif path.name == "history.csv":
            found[str(name)] = path.read_text()
    return found


def arrays(path):
    """All arrays of a weights file or of an example's features."""
    if path.suffix == ".npz":
        return dict(np.load(path))
    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: (
                found.__setitem__(name, np.asarray(item))
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
    return found


def weights(preset):
    separator = AudioSeparator.from_preset(preset)
    return {w.path: keras.ops.convert_to_numpy(w) for w in separator.weights}


def encoder(preset):
    """All arrays of a preset's encoder."""
    return arrays(Path(preset) / "model.weights.h5")


def check_origin(metadata, stems, initial=ORIGIN, epochs=1):
    """A preset says which stems were trained, and from what."""
    assert set(metadata) == {"initial", "training"}
    assert metadata["initial"] == initial
    assert metadata["training"]["stems"] == list(stems)
    assert 0 <= metadata["training"]["logs"]["epoch"] < epochs
    assert metadata["training"]["sessions"]


FINETUNE = {
    "stems": list(DNR),
    "dataset": "dnr",
    "rounds": 2,
    "hop_seconds": 3.0,
}


def run_shared(recipe, folder, preset, devices, run=run):
    """What two devices do as one does; see `share_recipes.py`."""
    # Ten chunks in batches of three: the last batch has one.
    config = {"validation_batch_size": 3, "devices": devices}
    if recipe.__name__ == "transfer_mne":
        options = ["--cache-features"]
        config["epochs"] = 2
    else:
        options = ["--unlabelled", Path(preset).with_name("unlabelled")]
        config |= FINETUNE
    folder = folder / recipe.__name__
    return run(recipe, folder, "--preset", preset, *options, **config)
