"""What the tests of the command line share: a model of gains, and files."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import soundfile

from keras_bandit import cli

from .. import gains


class Gains(gains.Gains):
    """The same, which can be described and saved."""

    def describe(self):
        return {"class": "Gains", "rate": f"{self.sample_rate} Hz"}

    def save_to_preset(self, folder):
        os.makedirs(folder, exist_ok=True)
        for name in ("task.json", "model.weights.h5"):
            pathlib.Path(folder, name).write_text("new")


def write(name, num_channels=1, num_samples=4000, rate=8000, **kwargs):
    """Writes noise within ±0.5; returns it as `(channels, samples)`."""
    rng = np.random.default_rng(0)
    audio = rng.uniform(-0.5, 0.5, (num_samples, num_channels))
    pathlib.Path(name).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(name, audio, rate, **{"subtype": "FLOAT", **kwargs})
    return soundfile.read(name, always_2d=True)[0].T


def read(name):
    """Reads a file as `(channels, samples)`."""
    return soundfile.read(name, always_2d=True)[0].T


def separate(*args):
    """Runs `keras-bandit separate` on Keras; returns the exit status."""
    own = ["--preset", "p", "--chunk-seconds", "0.1", "--engine", "keras"]
    return cli.main(["separate", *own, *args])


def found(folder="."):
    """Files below a folder, as sorted relative names, hidden ones too."""
    return sorted(
        str(path.relative_to(folder))
        for path in pathlib.Path(folder).rglob("*")
        if path.is_file()
    )


def error_line(capsys):
    """The one line of an error, without the program's name."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith("\n")
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("keras-bandit: error: ")
    return captured.err.removeprefix("keras-bandit: error: ").rstrip()


def python(*args, cwd=pathlib.Path(__file__).parents[2], **options):
    """Runs Python in a process of its own, in the repository's root."""
    return subprocess.run(
        [sys.executable, *args],
        **options,
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )
