"""MRX against its authors' PyTorch outputs, and what it promises.

Estimates, features and masks are within 1e-4 of their peak.
"""

import functools
import pathlib

import keras
import numpy as np
import pytest

from keras_bandit.convert import from_checkpoint
from keras_bandit.losses import NegativeSISNR, NegativeSNR
from keras_bandit.models import AudioSeparator, MRXAudioSeparator
from keras_bandit.models.mrx.mrx_checkpoint import separator_pairs

from ..called import called

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
as_numpy = keras.ops.convert_to_numpy
NAMES = ["mrx_small", "mrx_default_windows"]
# Compiling nine recurrences and their gradients takes half a minute.
TRAINED = [NAMES[0], pytest.param(NAMES[1], marks=pytest.mark.slow)]


def assert_close(ours, reference, tolerance=1e-4, scale=0.0):
    ours = as_numpy(ours)
    assert ours.shape == reference.shape
    error = np.abs(ours - reference).max()
    assert error <= tolerance * max(np.abs(reference).max(), scale)


def convert(name):
    settings = {}
    if name == "mrx_small":
        settings = {"hop_length": 128, "stems": ["speech", "rest"]}
    return from_checkpoint(GOLDEN / f"{name}.pth", **settings)


@pytest.fixture(scope="module")
def converted():
    """Converts a checkpoint once; for tests that do not train it."""
    return functools.cache(convert)


def consistent(separator, mode):
    """The same weights, with mixture consistency."""
    copy = MRXAudioSeparator.from_config(
        {**separator.get_config(), "mixture_consistency": mode}
    )
    pairs = zip(separator_pairs(separator), separator_pairs(copy), strict=True)
    for (value, _), (variable, _) in pairs:
        variable.assign(value)
    return copy


def targets_of(separator, data):
    return {stem: data[f"target/{stem}"] for stem in separator.stems}


@pytest.mark.parametrize("name", NAMES)
def test_estimates_features_and_losses(name, golden, converted):
    data = golden(name)
    separator = converted(name)
    estimates = called(separator, data["mixture"])
    for stem in separator.stems:
        reference = data[f"estimate_every_2th_sample/{stem}"]
        assert_close(as_numpy(estimates[stem])[..., ::2], reference)
    targets = targets_of(separator, data)
    for key, loss in {"si_snr": NegativeSISNR, "snr": NegativeSNR}.items():
        value = float(as_numpy(loss()(targets, estimates)))
        reference = float(data[f"loss/{key}_eval"])
        assert value == pytest.approx(reference, rel=1e-4)
    layer = separator.get_layer
    found, encoded = {}, []
    for r in range(len(separator.window_lengths)):
        x = called(layer(f"stft_{r}"), data["mixture"])
        x = called(layer(f"magnitude_{r}"), x)
        encoded.append(called(layer(f"encoder_{r}"), x))
        found[f"_encoders.{r}"] = encoded[r]
    shared = sum(encoded) / len(encoded)
    lstms = [called(layer(f"lstm_{i}"), shared) for i in range(len(targets))]
    across = sum(lstms) / len(lstms)
    features = keras.ops.concatenate([shared, across], axis=-1)
    found["_cross_net"] = features
    for i, stem in enumerate(separator.stems):
        for r in range(len(encoded)):
            mask = called(layer(f"{stem}_mask_{r}"), features)
            found[f"_decoders.{i}.{r}"] = mask
    for place, ours in found.items():
        (key,) = (
            k
            for k in data
            if k.startswith(("features/", "mask")) and k.endswith(f"/{place}")
        )
        ours = as_numpy(ours)
        ours = ours.reshape(-1, *ours.shape[2:])
        if "every" in key:
            ours = ours[..., :: int(key.split("_")[2][:-2])]
        assert_close(ours, data[key])


@pytest.mark.parametrize("mode", ["all", "music_sfx"])
def test_mixture_consistency(mode, golden, converted):
    data = golden("mrx_default_windows")
    separator = consistent(converted("mrx_default_windows"), mode)
    estimates = called(separator, data["mixture"])
    estimates = {k: as_numpy(v) for k, v in estimates.items()}
    for stem, estimate in estimates.items():
        reference = data[f"consistency_{mode}_every_6th_sample/{stem}"]
        assert_close(estimate[..., ::6], reference)
    assert_close(sum(estimates.values()), data["mixture"], 1e-5)


@pytest.mark.parametrize(("name", "step"), [(NAMES[0], 3), (NAMES[1], 6)])
def test_separate_measures_loudness_first(name, step, golden, converted):
    data = golden(name)
    estimates = converted(name).separate(data["mixture"][0], 44100)
    for stem, estimate in estimates.items():
        reference = data[f"at_minus_27_lufs_every_{step}th_sample/{stem}"]
        assert_close(estimate[:, ::step], reference)


def fit(separator, data, optimizer, epochs=1):
    for i in range(len(separator.stems)):
        separator.get_layer(f"lstm_{i}").drop.rate = 0.0
    # TensorFlow takes long to trace recurrences; see the recipe's test.
    eager = keras.config.backend() == "tensorflow"
    separator.compile(optimizer, NegativeSISNR(), run_eagerly=eager)
    history = separator.fit(
        data["mixture"],
        targets_of(separator, data),
        batch_size=len(data["mixture"]),
        epochs=epochs,
        verbose=0,
    )
    return [float(loss) for loss in history.history["loss"]]


@pytest.mark.parametrize("name", TRAINED)
def test_one_step_of_training(name, golden):
    """Loss, gradients and running statistics, through `fit`."""
    data = golden(name)
    separator = convert(name)
    # Plain descent at a huge rate shows the gradients unrounded.
    rate = 2.0**20
    before = {w.path: as_numpy(w.value) for w in separator.weights}
    (loss,) = fit(separator, data, keras.optimizers.SGD(rate))
    reference = float(data["loss/si_snr_train"])
    assert loss == pytest.approx(reference, rel=1e-4)
    # Some gradients are nothing but rounding: normalization comes after them.
    stored = [k for k in data if k.startswith("grad")]
    scale = 1e-3 * max(np.abs(data[k]).max() for k in stored)
    found = set()
    for variable, names in separator_pairs(separator):
        after = as_numpy(variable.value)
        for i, name_ in enumerate(names):
            for kind in ("grad", "batchnorm_after_one_step"):
                keys = [
                    k
                    for k in data
                    if k.startswith(kind) and k.partition("/")[2] == name_
                ]
                for key in keys:
                    value = after
                    if kind == "grad":
                        value = (before[variable.path] - after) / rate
                    if len(names) > 1:
                        value = value[i]
                    assert_close(
                        value.T, data[key], scale=scale * (kind == "grad")
                    )
                    found.add(key)
    assert found == {k for k in data if k.startswith(("grad", "batchnorm"))}


def test_adam_steps(golden):
    data = golden(NAMES[0])
    optimizer = keras.optimizers.Adam(1e-3, epsilon=1e-8, global_clipnorm=5.0)
    losses = fit(convert(NAMES[0]), data, optimizer, 5)
    reference = data["adam_loss_and_gradnorm"][:, 0]
    np.testing.assert_allclose(losses, reference, rtol=1e-3)


def small(**kwargs):
    return MRXAudioSeparator(
        window_lengths=[128, 256], hop_length=64, hidden_dim=8, **kwargs
    )


def test_chunks_equal_the_whole_in_the_middle():
    separator = small(sample_rate=8000, target_lufs=None)
    audio = np.random.default_rng(0).normal(0, 0.1, (1, 40000))
    audio = audio.astype("float32")
    whole = separator.separate(audio, 8000)
    chunked = separator.separate(audio, 8000, chunk_seconds=2.4)
    for stem, estimate in whole.items():
        assert_close(chunked[stem], estimate)


def test_preset_and_selection(tmp_path):
    separator = small(mixture_consistency="music_sfx")
    mixture = np.random.default_rng(0).normal(0, 0.1, (1, 2, 1000))
    mixture = mixture.astype("float32")
    estimates = called(separator, mixture)
    separator.save_to_preset(tmp_path / "preset")
    copy = AudioSeparator.from_preset(tmp_path / "preset")
    assert copy.get_config() == separator.get_config()
    only = separator.with_stems(["sfx"])
    assert only.target_lufs == -27.0
    for other in (copy, only):
        np.testing.assert_array_equal(
            as_numpy(called(other, mixture)["sfx"]), as_numpy(estimates["sfx"])
        )


def test_bad_arguments():
    with pytest.raises(ValueError, match="needs the stems music and sfx"):
        small(stems=["music"], mixture_consistency="music_sfx")
    with pytest.raises(ValueError, match=r"all.*rest"):
        small(mixture_consistency="rest")
    tensors = dict(
        zip(
            ["_cross_net.lstm.0.x", "_decoders.0.0.block.0.weight"],
            np.zeros((2, 3, 3)),
            strict=True,
        )
    )
    with pytest.raises(ValueError, match="has 1 stems: stems"):
        from_checkpoint(tensors)
    with pytest.raises(ValueError, match="lacks"):
        from_checkpoint(tensors, stems=["a"])
