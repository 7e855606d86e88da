"""Arguments in any combination, with values of any kind."""

import pathlib
import shutil

import numpy as np
import pytest
import soundfile
from fuzz import generator
from test_audio_files import Halves

# What is checked does not depend on Keras's backend.
pytestmark = pytest.mark.once

TEXTS = (
    *("", " ", "-", "--", "-1", "0", "1", "2", "0.05", "nan", "inf", "1e999"),
    *("1e-300", "9" * 400, "٣", "½", "0x10", "1_000", "true", "None", "*"),
    *("../x", "out/../a.wav", "~", "x" * 300, "a,b", ",", "a,,b", "1,2,3"),
    *("left", "left,right", "mixture", "ibm", "irm,psf", "ü\udcff", "{}", "%s"),
)
PATHS = ("a.wav", "b.flac", "text.wav", "missing.wav", "folder", *TEXTS)
CHOICES = {
    "--preset": ["p", *PATHS],
    "--output": ["out", "out/x", "a.wav", "folder", ""],
    "--format": ["wav", "flac", *TEXTS],
    "--subtype": ["PCM_16", "PCM_24", "FLOAT", "VORBIS", *TEXTS],
    "--stems": ["left", "right,left", *TEXTS],
    "--engine": ["keras", "keras", "x", ""],
    "--precision": ["float32", "bfloat16", *TEXTS],
    "--backend": ["tensorflow", "x", ""],
    "--chunk-seconds": ["0.05", *TEXTS],
    "--hop-seconds": ["0.02", *TEXTS],
    "--batch-size": ["1", *TEXTS],
    "--data-dir": ["data", *PATHS],
    "--manual-dir": ["missing", "a.wav"],
    "--split": ["test", *TEXTS],
    "--dataset": ["film_mix", *TEXTS],
    "--config": ["paths", *TEXTS],
    "--oracles": ["irm", *TEXTS],
    "--limit": ["1", *TEXTS],
    "--workers": ["1", *TEXTS],
    "--sample-rate": ["44100", *TEXTS],
    "--num-tracks": ["1,0,1", *TEXTS],
    "--seed": ["1", *TEXTS],
}
FLAGS = ("--overwrite", "--mne", "--residual", "--mixture-consistency")
FLAGS += ("--quiet", "--museval", "--help", "--unknown", "-h", "-x")
COMMANDS = {
    "separate": (
        ["--preset", "--output", "--engine"],
        [
            *("--format", "--subtype", "--stems", "--chunk-seconds"),
            *("--hop-seconds", "--batch-size", "--precision", "--backend"),
        ],
    ),
    "evaluate": (
        ["--preset", "--data-dir", "--engine"],
        [
            *("--output", "--split", "--dataset", "--oracles", "--limit"),
            *("--stems", "--chunk-seconds", "--hop-seconds", "--workers"),
            "--backend",
        ],
    ),
    "prepare": (
        ["--manual-dir", "--data-dir"],
        ["--config", "--num-tracks", "--sample-rate", "--seed", "--workers"],
    ),
    "convert": ([], ["--sample-rate", "--backend"]),
    "presets": ([], []),
}
PLACES = {
    "separate": PATHS,
    "prepare": ("dnr", "musdb18_hq", "film_mix", *TEXTS),
    "convert": PATHS,
}


def arguments(rng):
    """A command line that is nearly one."""
    command = rng.choice([*COMMANDS, "separate", "separate", *TEXTS[:3]])
    usual, others = COMMANDS.get(command, ([], list(CHOICES)))
    options = [option for option in usual if rng.random() < 0.9]
    options += rng.sample(others, rng.randint(0, min(3, len(others))))
    argv = [command]
    for option in options:
        values = CHOICES[option]
        # Nothing is reached if every value is a mistake.
        likely = rng.random() < 0.7
        argv += [option, values[0] if likely else rng.choice(values)]
    for _ in range({"convert": 2, "prepare": 1}.get(command, 1)):
        argv.append(rng.choice(PLACES.get(command, PATHS)))
    argv += rng.sample(FLAGS, rng.choice([0, 0, 1, 2]))
    if rng.random() < 0.1:
        argv.remove(rng.choice(argv))
    return argv


def test_arguments(runs, monkeypatch):
    from keras_bandit.cli.backend import import_keras

    import_keras()  # or `--backend` would choose the backend of all tests
    runs.read()
    for module in ("model", "evaluate"):
        monkeypatch.setattr(
            f"keras_bandit.cli.{module}.load_separator", lambda preset: Halves()
        )
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 400)
    rng = generator("arguments")
    for i in range(250):
        for path in pathlib.Path().iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        soundfile.write("a.wav", noise, 8000)
        soundfile.write("b.flac", noise, 8000)
        pathlib.Path("text.wav").write_text("text")
        pathlib.Path("folder").mkdir()
        argv = arguments(rng)
        runs(f"{i} {argv}", argv)
    runs.check(least=250, failing=100)
    assert runs.statuses.count(0) > 10
