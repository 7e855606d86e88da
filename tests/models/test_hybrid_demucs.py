"""Hybrid Demucs against its authors' PyTorch outputs, and what it promises.

Estimates and features are within 1e-4 of their peak; the references' own
float32 noise is up to 1.3e-5.
"""

import functools
import pathlib
import re

import keras
import numpy as np
import pytest
import torch

from keras_bandit.convert import from_checkpoint
from keras_bandit.convert.checkpoint_file import read_state_dict
from keras_bandit.convert.demucs_files import NOT_HERE
from keras_bandit.inference.crossfade import (
    Crossfade,
    ShiftAverage,
    TriangleChunks,
)
from keras_bandit.losses import L1
from keras_bandit.models import (
    AudioSeparator,
    DemucsBag,
    HybridDemucsAudioSeparator,
)
from keras_bandit.models.hybrid_demucs.hybrid_demucs_checkpoint import (
    separator_pairs,
)
from keras_bandit.models.torch_checkpoint import to_variable

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
FILES = {
    "hdemucs_cac": ".th",
    "hdemucs_mag": ".th",  # with hybrid_old
    "hdemucs_multi": ".th",  # multi_freqs
    "hdemucs_long": ".safetensors",  # LSTM windows, branches in decoders
    "hdemucs_torchaudio": ".pt",
}
as_numpy = keras.ops.convert_to_numpy
BACKEND = keras.config.backend()
on_torch = pytest.mark.skipif(
    BACKEND != "torch",
    reason="the others compile long for each shape, and differ in nothing here",
)


def assert_close(ours, reference, tolerance=1e-4):
    ours = as_numpy(ours)
    assert ours.shape == reference.shape
    error = np.abs(ours - reference).max()
    assert error <= tolerance * np.abs(reference).max()


@pytest.fixture(scope="module")
def convert():
    """A separator of golden weights, made once; tests leave it as it is."""
    return functools.cache(
        lambda name: from_checkpoint(GOLDEN / f"{name}{FILES[name]}")
    )


# XLA compiles half a minute for each.
COMPILED = ["hdemucs_long", "hdemucs_torchaudio"]


@pytest.mark.parametrize("name", COMPILED if BACKEND == "jax" else FILES)
def test_estimates(name, golden, convert):
    data = golden(name)
    separator = convert(name)
    assert separator.stems == data["source_names"].tolist()
    predict = separator.predict_on_batch if BACKEND == "jax" else separator
    estimates = predict(data["mixture"])
    for key, reference in data.items():
        match = re.fullmatch(r"estimate_every_(\d)th_sample/(.*)", key)
        if match:
            estimate = as_numpy(estimates[match[2]])[..., :: int(match[1])]
            assert_close(estimate, reference)


def record(layer, name, outputs, monkeypatch):
    call = layer.call

    def recorded(*args, **kwargs):
        output = call(*args, **kwargs)
        first = output[0] if isinstance(output, tuple) else output
        outputs[name] = np.moveaxis(as_numpy(first), -1, 1)
        return output

    monkeypatch.setattr(layer, "call", recorded)


@on_torch
def test_features(golden, convert, monkeypatch):
    data, outputs = golden("hdemucs_long"), {}
    separator = convert("hdemucs_long")
    network = separator.get_layer("network")
    for kind, layers in {
        "encoder": network.encoder,
        "tencoder": network.time_encoder,
        "decoder": network.decoder,
        "tdecoder": network.time_decoder,
    }.items():
        for i, layer in enumerate(layers):
            record(layer, f"{kind}.{i}", outputs, monkeypatch)
            for d, branch in enumerate(getattr(layer, "residual", [])):
                name = f"{kind}.{i}.dconv.layers.{d}"
                if branch.lstm is not None:
                    record(branch.lstm, f"{name}.3", outputs, monkeypatch)
                if branch.attention is not None:
                    record(branch.attention, f"{name}.4", outputs, monkeypatch)
    separator(data["mixture"])
    compared = 0
    for key, reference in data.items():
        match = re.fullmatch(r"features(_every_(\d+)th_frame)?/(.*)", key)
        if match:
            output = outputs[match[3]][..., :: int(match[2] or 1)]
            assert_close(output, reference)
            compared += 1
    assert compared == 34


def with_settings(separator, **settings):
    """The same layers; how recordings are cut and joined is another."""
    other = separator.with_stems(separator.stems)
    for name, value in settings.items():
        setattr(other, name, value)
    return other


@on_torch
@pytest.mark.parametrize(
    ("key", "settings", "standardize", "power"),
    [
        ("estimate", {}, False, 1),
        ("overlap40_power2", {"hop_seconds": 0.3}, False, 2),
        ("separator_normalised", {}, True, 1),
    ],
)
def test_separate_joins_chunks_as_the_authors(
    key, settings, standardize, power, golden, convert
):
    data = golden("hdemucs_chunked")
    separator = convert("hdemucs_cac")
    assert separator.standardize_recording
    separator = with_settings(
        separator, standardize_recording=standardize, transition_power=power
    )
    settings["chunk_seconds"] = float(data["segment_seconds"])
    estimates = separator.separate(data["mixture"][0], 44100, **settings)
    for stem, estimate in estimates.items():
        reference = data[f"{key}_every_11th_sample/{stem}"][0]
        assert_close(estimate[:, ::11], reference)


@on_torch
def test_shifts(golden, convert):
    data = golden("hdemucs_chunked")
    separator = convert("hdemucs_cac")
    chunk = round(float(data["segment_seconds"]) * 44100)

    plan = TriangleChunks(chunk, int(0.75 * chunk))

    def crossfade():
        predict = separator.predict_on_batch
        return Crossfade(predict, separator.stems, plan, batch_size=1)

    leads = 22050 - data["shifts2_offsets"]
    average = ShiftAverage(crossfade, leads)
    first, last = average.push(data["mixture"]), average.finish()
    estimates = {
        stem: np.concatenate([first[stem], last[stem]], axis=-1)
        for stem in separator.stems
    }
    for stem, estimate in estimates.items():
        reference = data[f"shifts2_every_11th_sample/{stem}"]
        assert_close(estimate[..., ::11], reference)


@on_torch
def test_shifts_are_seeded():
    separator = small()
    audio = np.random.default_rng(0).normal(0, 0.1, 3000)
    first, again, other = (
        separator.separate(audio, 8000, shifts=1, seed=seed)["music"]
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0


@on_torch
def test_bag(golden, tmp_path):
    data = golden("hdemucs_chunked")
    bag = from_checkpoint(GOLDEN / "hdemucs_chunked_bag.yaml")
    assert isinstance(bag, DemucsBag)
    assert bag.chunk_seconds == 0.5
    assert bag.stem_weights == data["bag_weights"].tolist()
    paths = [weight.path for weight in bag.weights]
    assert len(set(paths)) == len(paths)
    bag.standardize_recording = False
    estimates = bag.separate(data["mixture"][0], 44100)
    for stem, estimate in estimates.items():
        reference = data[f"bag_every_11th_sample/{stem}"][0]
        assert_close(estimate[:, ::11], reference)
    bag.save_to_preset(tmp_path / "preset")
    copy = AudioSeparator.from_preset(tmp_path / "preset")
    assert copy.get_config() == bag.get_config()
    for ours, theirs in zip(copy.get_weights(), bag.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("members", "weights", "message"),
    [
        ([], None, "members must be one separator or more"),
        (["music"], [[1.0, 1.0]], "stem_weights must be 1 lists of 1 numbers"),
        (["music"], [[0.0]], "something for each stem"),
    ],
)
def test_bags_that_are_refused(members, weights, message):
    members = [small(stems=[stem]) for stem in members]
    with pytest.raises(ValueError, match=message):
        DemucsBag(members, weights)


@pytest.mark.parametrize(
    ("signature", "message"),
    [("absent", "needs absent.th"), ("../hdemucs_cac", "beside it")],
)
def test_bag_files_are_beside_it(signature, message, tmp_path):
    path = tmp_path / "bag.yaml"
    path.write_text(f"models: ['{signature}']")
    with pytest.raises(ValueError, match=message):
        from_checkpoint(path)


def fit(separator, data, optimizer, epochs=1):
    targets = {stem: data[f"target/{stem}"] for stem in separator.stems}
    # Demucs's loss is the mean over stems, ours the sum.
    weight = 1 / len(targets)
    # TensorFlow takes long to trace recurrences; see the recipe's test.
    eager = BACKEND == "tensorflow"
    separator.compile(optimizer, L1(waveform_weight=weight), run_eagerly=eager)
    history = separator.fit(
        data["mixture"],
        targets,
        batch_size=len(data["mixture"]),
        epochs=epochs,
        verbose=0,
    )
    return [float(loss) for loss in history.history["loss"]]


@pytest.mark.skipif(BACKEND == "jax", reason="XLA compiles it for minutes")
def test_gradients(golden, convert):
    data, separator = golden("hdemucs_cac"), convert("hdemucs_cac")
    weights = separator.get_weights()
    # Plain descent at a huge rate shows the gradients unrounded.
    rate = 2.0**20
    before = {w.path: as_numpy(w.value) for w in separator.weights}
    (loss,) = fit(separator, data, keras.optimizers.SGD(rate))
    after = {w.path: as_numpy(w.value) for w in separator.weights}
    separator.set_weights(weights)
    assert loss == pytest.approx(float(data["loss/l1"]), rel=1e-5)
    prefix, found = "grad_l1/", 0
    for variable, names in separator_pairs(separator):
        if prefix + names[-1] not in data:
            continue
        gradient = (before[variable.path] - after[variable.path]) / rate
        if len(names) > 1:
            gradient = gradient[-1]
        expected = to_variable([prefix + names[-1]], data)
        # Inputs changed by 1e-7 change gradients by 1e-4 of their peak.
        assert_close(gradient, expected, 5e-4)
        found += 1
    assert found == sum(key.startswith(prefix) for key in data)


@on_torch
@pytest.mark.parametrize("name", ["hdemucs_cac", "hdemucs_long"])
def test_adam_steps(name, golden, convert):
    data, separator = golden(name), convert(name)
    weights = separator.get_weights()
    optimizer = keras.optimizers.Adam(3e-4, epsilon=1e-8)
    losses = fit(separator, data, optimizer, 3)
    separator.set_weights(weights)
    reference = data["adam_loss_and_gradnorm"][:, 0]
    # Keras adds epsilon before it corrects the bias, PyTorch after it.
    np.testing.assert_allclose(losses, reference, rtol=1e-3)


def small(stems=("speech", "music"), **kwargs):
    settings = {"n_fft": 1024, "depth": 5, "channels": 4, **kwargs}
    return HybridDemucsAudioSeparator(list(stems), 1, 8000, **settings)


SETTINGS = [
    {"band_ratios": [0.3], "banded_depth": 1, "transition_power": 2.0},
    {"dconv_mode": 3, "complex_as_channels": False},
    {"n_fft": 512, "torchaudio_norm": True, "crossfade": "hann"},
]


@pytest.mark.parametrize(
    "settings", SETTINGS if BACKEND == "torch" else SETTINGS[:1]
)
def test_preset_and_selection(settings, tmp_path):
    separator = small(**settings)
    mixture = np.random.default_rng(0).normal(0, 0.1, (1, 1, 3000))
    mixture = mixture.astype("float32")
    estimates = separator(mixture)
    separator.save_to_preset(tmp_path / "preset")
    copy = AudioSeparator.from_preset(tmp_path / "preset")
    assert copy.get_config() == separator.get_config()
    only = separator.with_stems(["music"])
    for name in ("crossfade", "standardize_recording", "transition_power"):
        assert getattr(only, name) == getattr(separator, name)
    for other in (copy, only):
        np.testing.assert_array_equal(
            as_numpy(other(mixture)["music"]), as_numpy(estimates["music"])
        )


@on_torch
def test_short_silence():
    waveform = np.zeros((1, 1, 2), "float32")
    for estimate in small()(waveform).values():
        np.testing.assert_array_equal(as_numpy(estimate), waveform)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_fft": 1000}, "n_fft must be a power of two; got 1000"),
        ({"depth": 3}, "depth must be .* 512 bins come to one; .* depth=3"),
        (
            {"band_ratios": [0.5], "banded_depth": 5},
            "banded_depth=5, norm_starts=4",
        ),
    ],
)
def test_sizes_that_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        small(**settings)


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
    branch = network.encoder[4].residual[0]
    assert np.all(as_numpy(branch.scale) == 1e-3)
    assert np.all(as_numpy(branch.attention.query_decay.bias) == -2)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"klass": NOT_HERE[0]}, r"got demucs.demucs.Demucs"),
        ({"state": {"__quantized": True}}, "quantized by DiffQ"),
        ({"args": [1]}, "must name all its arguments"),
        ({"kwargs": {"kernel_size": 4}}, "kernel_size must be 8"),
        ({"kwargs": {"sources": ["a"]}}, r"4 stems: .* got \['a'\]"),
    ],
)
def test_packages_that_are_not_here(changed, message):
    package = read_state_dict(GOLDEN / "hdemucs_cac.th")
    with pytest.raises(ValueError, match=message):
        from_checkpoint({**package, **changed})


def test_bandit_checkpoint(convert):
    """Names of BandIt's Lightning files; its authors separate as with BandIt."""
    tensors = read_state_dict(GOLDEN / "hdemucs_torchaudio.pt")
    tensors = {f"model.demucs.{name}": x for name, x in tensors.items()}
    separator = from_checkpoint({"state_dict": tensors}, stems=list("abcd"))
    assert (separator.stems, separator.crossfade) == (list("abcd"), "hann")
    assert not separator.standardize_recording
    # As many parameters as the authors count, with two that nothing uses.
    assert separator.count_params() == sum(x.size for x in tensors.values())


def test_code_in_a_package_is_refused(tmp_path):
    class Command:
        def __reduce__(self):
            import os

            return os.system, ("true",)

    path = tmp_path / "package.th"
    torch.save({"klass": Command(), "state": {}}, path)
    with pytest.raises(ValueError, match="carries code"):
        from_checkpoint(path)
