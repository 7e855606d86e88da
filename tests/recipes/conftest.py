"""Recipes as modules, and the tiny presets that several of them begin with."""

import functools
import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile

RECIPES = Path(__file__).parents[2] / "recipes"
for folder in (Path(__file__).parent, RECIPES):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

SIZES = {
    "sample_rate": 8000,
    "n_fft": 128,
    "embed_dim": 4,
    "rnn_dim": 4,
    "num_pairs": 1,
}


@pytest.fixture
def load(monkeypatch):
    """Imports a recipe, its data replaced by noise."""
    pytest.importorskip("grain")
    import recipe
    import small

    monkeypatch.setattr(recipe, "open_tracks", small.prepared)
    return importlib.import_module


@pytest.fixture
def eagerly(monkeypatch):
    """Recipes run without tracing on TensorFlow: most of their time.

    For tests of what a recipe does: those without it trace the same training.
    """
    import keras

    if keras.config.backend() == "tensorflow":
        compile_ = functools.partialmethod(
            keras.Model.compile, run_eagerly=True
        )
        monkeypatch.setattr(keras.Model, "compile", compile_)


@pytest.fixture(scope="session")
def presets(tmp_path_factory):
    """A folder of presets: a tiny BandIt of each data set's stems, two BSRNN.

    And a folder `unlabelled` of three mixtures.
    """
    import keras
    import small

    from keras_bandit.models import BanditAudioSeparator, BSRNNAudioSeparator

    folder = tmp_path_factory.mktemp("presets")
    bandit = {**SIZES, "num_bands": 4}
    bsrnn = {**SIZES, "band_layout": [(0, 10), (10, 65)], "rnn_type": "gru"}
    for name, cls, backbone, stems in (
        ("bandit_dnr", BanditAudioSeparator, bandit, small.DNR),
        ("bandit_musdb", BanditAudioSeparator, bandit, small.MUSDB),
        ("bsrnn_dnr", BSRNNAudioSeparator, bsrnn, small.DNR),
        ("bsrnn_musdb", BSRNNAudioSeparator, bsrnn, small.MUSDB),
    ):
        keras.utils.set_random_seed(0)
        separator = {"stems": list(stems), "hop_length": 32, "mlp_dim": 3}
        if cls is BSRNNAudioSeparator:
            channels = 2 if stems is small.MUSDB else 1
            extra = {"stems": list(stems), "num_channels": channels}
            backbone = {**backbone, **extra}
        made = cls.from_architecture(backbone, separator)
        made.metadata = dict(small.ORIGIN)
        made.save_to_preset(folder / name)
    rng = np.random.default_rng(0)
    (folder / "unlabelled").mkdir()
    for name in ("film", "short", "third"):
        mixture = 0.1 * rng.standard_normal(6000)
        path = folder / "unlabelled" / f"{name}.wav"
        soundfile.write(path, mixture, small.RATE, subtype="FLOAT")
    return folder


# What the benchmark's side of the authors puts among the modules.
STAND_INS = ("core", "asteroid", "demucs", "openunmix", "mrx", "snr", "dora")
STAND_INS += ("julius", "omegaconf", "torchaudio")


@pytest.fixture
def benchmark(monkeypatch):
    """The modules of `recipes/benchmark`; its `__main__` is `main`."""
    folder = RECIPES / "benchmark"
    monkeypatch.syspath_prepend(folder)
    names = ("sides", "authors", "report", "pipeline")
    modules = {name: importlib.import_module(name) for name in names}
    spec = importlib.util.spec_from_file_location(
        "benchmark_main", folder / "__main__.py"
    )
    modules["main"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(modules["main"])
    yield types.SimpleNamespace(**modules)
    for name in list(sys.modules):
        if name.partition(".")[0] in (*names, *STAND_INS):
            del sys.modules[name]
