"""Audio files with damaged headers, for `separate` and `prepare`."""

import pathlib
import shutil

import numpy as np
import pytest
import soundfile
from fuzz import generator, mutate

pytestmark = pytest.mark.once

FORMATS = {
    "wav": {"subtype": "PCM_16"},
    "float.wav": {"subtype": "FLOAT"},
    "ex.wav": {"format": "WAVEX", "subtype": "PCM_24"},
    "aiff": {"subtype": "PCM_16"},
    "flac": {},
    "ogg": {},
}


class Halves:
    """Stands in for an `AudioSeparator`: two stems, each half the mixture."""

    stems = ("left", "right")
    sample_rate = 8000
    num_channels = None
    chunk_seconds = 0.1
    min_samples = 256
    hop_length = 64
    silent_in_silent_out = True

    def with_stems(self, stems):
        few = Halves()
        few.stems = tuple(stems)
        return few

    def predict_on_batch(self, batch):
        return {stem: 0.5 * batch for stem in self.stems}


def sound(name, num_channels=2):
    rng = np.random.default_rng(0)
    audio = rng.uniform(-0.5, 0.5, (300, num_channels))
    soundfile.write(name, audio, 8000, **FORMATS[name.partition(".")[2]])
    return pathlib.Path(name).read_bytes()


@pytest.mark.parametrize("ending", FORMATS)
def test_separate(ending, runs, monkeypatch):
    monkeypatch.setattr(
        "keras_bandit.cli.model.load_separator", lambda preset: Halves()
    )
    name, rng = f"a.{ending}", generator(f"separate {ending}")
    content = sound(name)
    argv = ["separate", name, "--preset", "p", "--engine", "keras"]
    argv += ["--output", "out", "--quiet"]
    assert runs("undamaged", argv) == 0
    for i in range(35):
        shutil.rmtree("out", ignore_errors=True)
        damaged = mutate(content, rng, head=rng.choice([48, 128, None]))
        pathlib.Path(name).write_bytes(damaged)
        runs(f"{ending} {i}", argv)
    runs.check(least=36, failing=5)


def test_prepare(runs):
    pytest.importorskip("tensorflow_datasets")
    rng = generator("prepare")
    # The second one is of the validation split.
    for song in ("train/song", "train/Actions - One Minute Smile", "test/song"):
        folder = pathlib.Path("music", song)
        folder.mkdir(parents=True)
        for stem in ("mixture", "vocals", "drums", "bass", "other"):
            content = sound("a.wav")
            (folder / f"{stem}.wav").write_bytes(content)
    argv = ["prepare", "musdb18_hq", "--manual-dir", "music"]
    argv += ["--data-dir", "out", "--quiet"]
    assert runs("undamaged", argv) == 0
    for i in range(25):
        shutil.rmtree("out", ignore_errors=True)
        (folder / "drums.wav").write_bytes(mutate(content, rng, head=48))
        runs(f"wav {i}", argv)
    runs.check(least=26, failing=5)
