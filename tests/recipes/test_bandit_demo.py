"""The preset that ships, made of runs; with a tiny model and made runs."""

import importlib
import json

import h5py
import keras
import numpy as np
import pytest

from keras_bandit.inference import CoreSeparator
from keras_bandit.models import AudioSeparator, BanditAudioSeparator

STEMS = ["speech", "music", "effects"]
SIZES = {"num_bands": 4, "sample_rate": 8000, "n_fft": 256}
SIZES |= {"embed_dim": 4, "rnn_dim": 4, "num_pairs": 1}
OPTIONS = {"data_dir": "/somewhere", "batch_size": "8", "learning_rate": "1e-3"}


@pytest.fixture(scope="module")
def recipe():
    pytest.importorskip("onnx")
    return importlib.import_module("bandit_demo")


@pytest.fixture
def folder(tmp_path):
    """Two runs, sounds of two splits, and the package that they come from."""
    for number in (1, 2):
        keras.utils.set_random_seed(number)
        separator = BanditAudioSeparator.from_architecture(
            SIZES, {"stems": STEMS, "hop_length": 64, "mlp_dim": 3}
        )
        logs = {"val_si_snr": float(number)}
        separator.metadata["training"] = {
            "config": OPTIONS,
            "seed": 42,
            "backend": "torch",
            "logs": logs,
            "steps": 10 * number,
        }
        run = tmp_path / str(number)
        separator.save_to_preset(run / "preset")
        log = [
            {"split": "train", "hours": {"speech": 3.5}},
            {"device": "cpu", "scores": {"si_snr": 0.5}},
            {"clock": 99.5, "steps": 10 * number, "crops": 80 * number},
        ]
        text = "\n".join(map(json.dumps, log))
        (run / "log.jsonl").write_text(text)
    (tmp_path / "sounds").mkdir()
    (tmp_path / "sounds" / "manifest.csv").write_text(
        "package,split,sources\nvoices,train,a.ogg; b.ogg\nothers,test,c.ogg\n"
    )
    documents = tmp_path / "packages/voices/usr/share/doc/voices"
    documents.mkdir(parents=True)
    (documents / "copyright").write_text(
        "Files: *\nCopyright: 2001 A. Speaker\nLicense: CC-BY-3.0\n"
    )
    (tmp_path / "scores").mkdir()
    summary = {"mean": {"model": {"snr": {"speech": 9.5}}}}
    (tmp_path / "scores" / "summary.json").write_text(json.dumps(summary))
    return tmp_path


def main(recipe, folder):
    arguments = ["--runs", folder / "1", folder / "2", "--output", folder / "x"]
    for name in ("sounds", "packages", "scores"):
        arguments += [f"--{name}", folder / name]
    recipe.main(list(map(str, arguments)))
    return folder / "x"


def test_what_ships_says_what_it_was_trained_on(recipe, folder):
    metadata = json.loads((main(recipe, folder) / "metadata.json").read_text())
    metadata = metadata["keras_bandit"]
    first, second = metadata["runs"]
    assert (first["crops"], second["crops"]) == (80, 160)
    assert second["validation"] == {"val_si_snr": 2.0}
    assert "data_dir" not in second["options"]
    assert metadata["training_data"] == [
        {
            "package": "voices",
            "files": 2,
            "licence": "CC-BY-3.0",
            "copyright": "2001 A. Speaker",
        }
    ]
    assert metadata["scores"]["model"]["snr"]["speech"] == 9.5
    credits = (folder / "x" / "CREDITS.md").read_text()
    assert "A. Speaker" in credits
    assert "others" not in credits.partition("|---")[2]


def test_weights_are_the_last_runs_in_half_precision(
    recipe, folder, monkeypatch
):
    made = main(recipe, folder)
    whole = AudioSeparator.from_preset(folder / "2" / "preset")
    half = AudioSeparator.from_preset(made)
    waveform = np.random.default_rng(0).standard_normal((1, 1, 4000))
    waveform = waveform.astype("float32")
    # Compiled whole on JAX, untraced on TensorFlow.
    halved = half.predictor(1)(waveform)
    for stem, estimate in whole.predictor(1)(waveform).items():
        error = halved[stem] - estimate
        # Weights are off by 2^-12, -72 dB, at most; errors add up.
        assert np.std(error) < 10 ** (-50 / 20) * np.std(estimate)
    # Engines read the core that was written beside the halved weights.
    core = CoreSeparator.from_directory(made, engine="onnxruntime")
    for stem, estimate in core.predict_on_batch(waveform).items():
        error = estimate - halved[stem]
        assert np.std(error) < 1e-5 * np.std(halved[stem])
    dtypes = set()
    with h5py.File(made / "decoder_speech.weights.h5") as file:
        file.visititems(
            lambda _, x: dtypes.add(getattr(x, "dtype", np.dtype("float16")))
        )
    assert dtypes == {np.dtype("float16")}
    monkeypatch.setattr(recipe, "MOST_BYTES", 1000)
    with pytest.raises(ValueError, match="4 MB at most"):
        main(recipe, folder)
