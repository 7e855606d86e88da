"""Hybrid Demucs against its authors' PyTorch outputs, and what it promises.

Estimates are within 1e-4 of their peak; the references' own float32 noise is
up to 1.3e-5.
"""

import pathlib

import keras
import numpy as np
import pytest
import torch

from keras_bandit.convert import from_checkpoint
from keras_bandit.losses import L1
from keras_bandit.models import AudioSeparator, HybridDemucsAudioSeparator
from keras_bandit.models.hybrid_demucs.hybrid_demucs_checkpoint import (
    separator_pairs,
)
from keras_bandit.models.torch_checkpoint import to_variable

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
FILES = {
    "hdemucs_cac": ".th",
    "hdemucs_mag": ".th",
    "hdemucs_long": ".safetensors",
    "hdemucs_torchaudio": ".pt",
}
TRAINED = ["hdemucs_cac", "hdemucs_long"]
as_numpy = keras.ops.convert_to_numpy


def assert_close(ours, reference, tolerance=1e-4, scale=0.0):
    ours = as_numpy(ours)
    assert ours.shape == reference.shape
    error = np.abs(ours - reference).max()
    assert error <= tolerance * max(np.abs(reference).max(), scale)


def convert(name):
    return from_checkpoint(GOLDEN / f"{name}{FILES[name]}")


@pytest.mark.parametrize("name", FILES)
def test_estimates(name, golden):
    data = golden(name)
    separator = convert(name)
    assert separator.stems == data["source_names"].tolist()
    estimates = separator(data["mixture"])
    for stem, estimate in estimates.items():
        reference = data[f"estimate_every_2th_sample/{stem}"]
        assert_close(as_numpy(estimate)[..., ::2], reference)


@pytest.mark.parametrize(
    ("key", "settings"),
    [
        ("estimate", {}),
        ("no_split", {"chunk_seconds": 10.0}),
        ("separator_normalised", {}),
    ],
)
def test_separate_joins_chunks_as_the_authors(key, settings, golden):
    data = golden("hdemucs_chunked")
    separator = convert("hdemucs_cac")
    assert separator.standardize_recording
    separator.standardize_recording = key == "separator_normalised"
    settings = {"chunk_seconds": float(data["segment_seconds"]), **settings}
    estimates = separator.separate(data["mixture"][0], 44100, **settings)
    for stem, estimate in estimates.items():
        reference = data[f"{key}_every_11th_sample/{stem}"][0]
        assert_close(estimate[:, ::11], reference)


def fit(separator, data, optimizer, epochs=1):
    targets = {stem: data[f"target/{stem}"] for stem in separator.stems}
    # Demucs's loss is the mean over stems, ours the sum.
    weight = 1 / len(targets)
    separator.compile(optimizer, L1(waveform_weight=weight))
    history = separator.fit(
        data["mixture"],
        targets,
        batch_size=len(data["mixture"]),
        epochs=epochs,
        verbose=0,
    )
    return [float(loss) for loss in history.history["loss"]]


@pytest.mark.parametrize("name", TRAINED)
def test_one_step_of_training(name, golden):
    data = golden(name)
    separator = convert(name)
    # Plain descent at a huge rate shows the gradients unrounded.
    rate = 2.0**20
    before = {w.path: as_numpy(w.value) for w in separator.weights}
    (loss,) = fit(separator, data, keras.optimizers.SGD(rate))
    assert loss == pytest.approx(float(data["loss/l1"]), rel=1e-5)
    prefix, found = "grad_l1/", 0
    for variable, names in separator_pairs(separator):
        if prefix + names[-1] not in data:
            continue
        gradient = (before[variable.path] - as_numpy(variable.value)) / rate
        if len(names) > 1:
            gradient = gradient[-1]
        expected = to_variable([prefix + names[-1]], data)
        assert_close(gradient, expected, 2e-4)
        found += 1
    assert found == sum(key.startswith(prefix) for key in data)


@pytest.mark.parametrize("name", TRAINED)
def test_adam_steps(name, golden):
    data = golden(name)
    optimizer = keras.optimizers.Adam(3e-4, epsilon=1e-8)
    losses = fit(convert(name), data, optimizer, 3)
    reference = data["adam_loss_and_gradnorm"][:, 0]
    np.testing.assert_allclose(losses, reference, rtol=1e-3)


def small(**kwargs):
    settings = {"n_fft": 1024, "depth": 5, "channels": 4, **kwargs}
    return HybridDemucsAudioSeparator(["speech", "music"], 1, 8000, **settings)


def test_preset_and_selection(tmp_path):
    separator = small(dconv_mode=3, complex_as_channels=False)
    mixture = np.random.default_rng(0).normal(0, 0.1, (1, 1, 3000))
    mixture = mixture.astype("float32")
    estimates = separator(mixture)
    separator.save_to_preset(tmp_path / "preset")
    copy = AudioSeparator.from_preset(tmp_path / "preset")
    assert copy.get_config() == separator.get_config()
    only = separator.with_stems(["music"])
    assert only.crossfade == "triangle"
    for other in (copy, only):
        np.testing.assert_array_equal(
            as_numpy(other(mixture)["music"]), as_numpy(estimates["music"])
        )


def test_initial_weights():
    """Convolutions are rescaled, embeddings smooth, branches almost off."""
    network = small(channels=16).get_layer("network")
    kernel = as_numpy(network.encoder[1].conv.kernel)
    # PyTorch's deviation is 1 / sqrt(3 * inputs); ours the root of it and 0.1.
    deviation = np.sqrt(0.1 / np.sqrt(3 * 16 * 8))
    assert kernel.std() == pytest.approx(deviation, rel=0.05)
    embedding = as_numpy(network.freq_embedding)
    steps = np.diff(embedding[:, 10:], axis=1).std()
    assert steps < 0.5 * embedding[:, 10:].std()
    assert embedding.std() == pytest.approx(0.1, rel=0.5)
    assert np.all(as_numpy(network.encoder[0].dconv.scales[0]) == 1e-3)
    decay = network.encoder[4].dconv.parts[3].query_decay
    assert np.all(as_numpy(decay.bias) == -2)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"klass": "demucs.htdemucs.HTDemucs"}, "must hold a demucs.hdemucs"),
        ({"state": {"__quantized": True}}, "quantized by DiffQ"),
        ({"kwargs": {"kernel_size": 4}}, "kernel_size must be 8"),
        ({"kwargs": {"sources": ["a"]}}, r"4 stems: .* got \['a'\]"),
    ],
)
def test_packages_that_are_not_here(changed, message, tmp_path):
    from keras_bandit.convert.checkpoint_file import (
        NAMED_CLASSES,
        read_state_dict,
    )

    package = {**read_state_dict(GOLDEN / "hdemucs_cac.th"), **changed}
    if "klass" in changed:
        package["klass"] = NAMED_CLASSES[changed["klass"]]
    monkeypatch = pytest.MonkeyPatch()
    with monkeypatch.context() as patch:
        patch.setattr(
            "keras_bandit.convert.from_checkpoint.read_state_dict",
            lambda path: package,
        )
        path = tmp_path / "package.th"
        path.touch()
        with pytest.raises(ValueError, match=message):
            from_checkpoint(path)


def test_code_in_a_package_is_refused(tmp_path):
    class Command:
        def __reduce__(self):
            import os

            return os.system, ("true",)

    path = tmp_path / "package.th"
    torch.save({"klass": Command(), "state": {}}, path)
    with pytest.raises(ValueError, match="carries code"):
        from_checkpoint(path)
