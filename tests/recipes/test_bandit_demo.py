"""The recipe of the preset that ships, with a tiny model and noise."""

import importlib
import json

import h5py
import keras
import numpy as np
import pytest

from keras_bandit.data.track import ArrayTrack
from keras_bandit.inference import CoreSeparator
from keras_bandit.models import AudioSeparator

from ..called import called

STEMS = ["speech", "music", "effects"]
SIZES = {
    "sample_rate": 8000,
    "num_bands": 4,
    "n_fft": 256,
    "hop_length": 64,
    "embed_dim": 4,
    "rnn_dim": 4,
    "num_pairs": 1,
    "mlp_dim": 3,
}


@pytest.fixture(scope="module")
def recipe():
    pytest.importorskip("grain")
    return importlib.import_module("bandit_demo")


def tracks(dataset, split, data_dir, config):
    rng = np.random.default_rng(len(split))
    audio = {s: 0.1 * rng.standard_normal((1, 8000)) for s in STEMS}
    return [ArrayTrack("noise", 8000, audio)]


def test_more_warmup_than_steps(recipe):
    config = {"epochs": 2, "steps_per_epoch": 10, "warmup_steps": 20}
    with pytest.raises(ValueError, match=r"warmup_steps .* 20; got 20"):
        recipe.build({**recipe.CONFIG, **config})


def test_a_deeper_model_begins_as_the_former(recipe):
    separator = recipe.new_separator({**recipe.CONFIG, **SIZES})
    deeper = recipe.deepened(separator, 2)
    assert deeper.backbone.num_pairs == 2
    assert recipe.deepened(separator, 1) is separator
    waveform = 0.1 * np.random.default_rng(0).standard_normal((1, 1, 2000))
    expected = separator.predict_on_batch(waveform.astype("float32"))
    estimates = deeper.predict_on_batch(waveform.astype("float32"))
    for stem, estimate in estimates.items():
        np.testing.assert_allclose(estimate, expected[stem], atol=1e-6)
    with pytest.raises(ValueError, match="at least the initial preset's, 2"):
        recipe.deepened(deeper, 1)


def check_averaged(other, run):
    averaged, last, other = (
        AudioSeparator.from_preset(preset)
        for preset in (run / "averaged", run / "last", other)
    )
    share = averaged.metadata["training"]["averaged"]["share"]
    for weight, a, b in zip(
        *(model.get_weights() for model in (averaged, last, other)), strict=True
    ):
        between = (1 - share) * a + share * b
        np.testing.assert_allclose(weight, between, atol=1e-6)
    metadata = json.loads((run / "preset" / "metadata.json").read_text())
    assert metadata["keras_bandit"]["averaged"]["share"] == share
    # It went on from the other's weights, and says what those were.
    assert metadata["keras_bandit"]["initial"] == other.metadata


def test_weights_between(recipe, tmp_path):
    """Of weights that err to either side, those halfway are the best."""
    config = {**recipe.CONFIG, **SIZES}
    target = recipe.new_separator(config)
    target.metadata["training"] = {"logs": {}}
    weights = target.get_weights()
    rng = np.random.default_rng(0)
    mixture = 0.1 * rng.standard_normal((1, 1, 4000)).astype("float32")
    targets = target.predict_on_batch(mixture)
    error = [0.05 * rng.standard_normal(w.shape) for w in weights]
    for name, sign in (("above", 1), ("below", -1)):
        off = [w + sign * e for w, e in zip(weights, error, strict=True)]
        target.set_weights(off)
        target.save_to_preset(tmp_path / name)
    ends = tmp_path / "above", tmp_path / "below"
    made = tmp_path / "made"
    share = recipe.averaged(*ends, (mixture, targets), config, made)
    assert share == 0.5
    for found, expected in zip(
        AudioSeparator.from_preset(made).get_weights(), weights, strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.usefixtures("eagerly")
def test_run_is_exported_in_half_precision(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr("recipe.open_tracks", tracks)
    config = recipe.CONFIG | {
        **SIZES,
        "generated_clips": 1,
        "generated_seconds": 1.0,
        "crop_seconds": 0.2,
        "batch_size": 2,
        "steps_per_epoch": 2,
        "epochs": 1,
        "warmup_steps": 1,
    }
    output = tmp_path / "run"
    arguments = ["--data-dir", str(tmp_path), "--output", str(output)]
    recipe.main(arguments, config)
    events = b"".join(
        path.read_bytes() for path in (output / "logs").rglob("*tfevents*")
    )
    assert b"speech/target" in events
    assert b"speech/estimate" in events
    history = (output / "history.csv").read_text()
    assert "val_snr_music" in history
    assert "val_si_snr_music" in history
    again = [*arguments[:2], "--output", str(tmp_path / "again")]
    again += ["--initial", str(output / "last")]
    recipe.main([*again, "--average-with", str(output / "last")], config)
    check_averaged(output / "last", tmp_path / "again")
    with pytest.raises(ValueError, match=r"average_with .* bandit_demo"):
        recipe.main([*again, "--average-with", "bandit_demo"], config)

    whole = AudioSeparator.from_preset(output / "best")
    half = AudioSeparator.from_preset(output / "preset")
    waveform = np.random.default_rng(0).standard_normal((1, 1, 4000))
    waveform = waveform.astype("float32")
    estimates, others = called(whole, waveform), called(half, waveform)
    for stem, estimate in estimates.items():
        estimate = keras.ops.convert_to_numpy(estimate)
        error = keras.ops.convert_to_numpy(others[stem]) - estimate
        # Weights are off by 2^-12, -72 dB, at most; errors add up.
        assert np.std(error) < 10 ** (-50 / 20) * np.std(estimate)
    # Engines read the core that was written beside the halved weights.
    core = CoreSeparator.from_directory(output / "preset", engine="onnxruntime")
    expected = half.predict_on_batch(waveform)
    for stem, estimate in core.predict_on_batch(waveform).items():
        error = estimate - expected[stem]
        assert np.std(error) < 1e-5 * np.std(expected[stem])
    path = output / "preset" / "decoder_speech.weights.h5"
    dtypes = set()
    with h5py.File(path) as file:
        file.visititems(
            lambda _, x: dtypes.add(getattr(x, "dtype", np.dtype("float16")))
        )
    assert dtypes == {np.dtype("float16")}
    metadata = json.loads((output / "preset" / "metadata.json").read_text())
    assert metadata["keras_bandit"]["config"] == config
    assert "initial" not in metadata["keras_bandit"]
    (session,) = metadata["keras_bandit"]["sessions"]
    assert "keras" in session["packages"]
