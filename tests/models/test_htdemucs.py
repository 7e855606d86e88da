"""HTDemucs against its authors' PyTorch outputs, and what it promises.

Estimates are within 3e-5 of their peak; float32 noise is about 3e-6. The golden model is small: 256 bins, 3 layers, a segment of 0.4 s.
"""

import json

import keras
import numpy as np
import pytest

from keras_bandit.convert import from_checkpoint
from keras_bandit.convert.checkpoint_file import read_state_dict
from keras_bandit.inference.crossfade import (
    Crossfade,
    ShiftAverage,
    TriangleChunks,
)
from keras_bandit.losses import L1
from keras_bandit.models import (
    AudioSeparator,
    DemucsBag,
    HTDemucsAudioSeparator,
)
from keras_bandit.models.htdemucs.htdemucs_checkpoint import separator_pairs
from keras_bandit.models.presets import PRESETS
from keras_bandit.models.torch_checkpoint import to_variable

from .test_hybrid_demucs import (
    BACKEND,
    GOLDEN,
    as_numpy,
    assert_close,
    on_torch,
    with_settings,
)

FILE = GOLDEN / "htdemucs.th"
SEGMENT, RATE = 6400, 16000


@pytest.fixture(scope="module")
def separator():
    """That of the golden weights; tests leave it as it is."""
    return from_checkpoint(FILE)


def mixture_of(data, start=0, stop=None):
    return data["mixture"].astype("float32")[None, :, start:stop]


def assert_all_close(estimates, data, key, every):
    for stem, estimate in estimates.items():
        estimate = as_numpy(estimate)[..., ::every]
        reference = data[f"{key}/{stem}"]
        assert_close(estimate.reshape(reference.shape), reference, 3e-5)


def test_estimates(golden, separator):
    """A waveform that is shorter than the segment, which the network sees."""
    data = golden("htdemucs")
    assert isinstance(separator, HTDemucsAudioSeparator)
    assert separator.stems == ["drums", "vocals"]
    assert (separator.max_samples, separator.sample_rate) == (SEGMENT, RATE)
    estimates = separator.predict_on_batch(mixture_of(data, stop=5000))
    assert_all_close(estimates, data, "estimate_every_11th_sample", 11)


@on_torch
def test_transformer(golden, separator, monkeypatch):
    data, outputs = golden("htdemucs"), {}
    middle = separator.get_layer("network").middle
    call = middle.call

    def recorded(*args, **kwargs):
        outputs["both"] = call(*args, **kwargs)
        return outputs["both"]

    monkeypatch.setattr(middle, "call", recorded)
    separator(mixture_of(data, stop=5000))
    x, y = (np.moveaxis(as_numpy(z), -1, 1) for z in outputs["both"])
    assert_close(x[..., ::12], data["spectrum_every_12th_frame"])
    assert_close(y[..., ::12], data["steps_every_12th"])


def fit(separator, data, optimizer, epochs):
    """Training at another length than the segment."""
    mixture = mixture_of(data, 1000, 5001)
    drums = 0.5 * mixture[..., ::-1]
    targets = {"drums": drums, "vocals": mixture - drums}
    # Demucs's loss is the mean over stems, ours the sum.
    # TensorFlow traces it for half a minute.
    eager = BACKEND == "tensorflow"
    separator.compile(optimizer, L1(waveform_weight=0.5), run_eagerly=eager)
    history = separator.fit(mixture, targets, epochs=epochs, verbose=0)
    return [float(loss) for loss in history.history["loss"]]


def test_training_steps(golden, separator):
    data, weights = golden("htdemucs"), separator.get_weights()
    losses = fit(separator, data, keras.optimizers.Adam(3e-4, epsilon=1e-8), 3)
    separator.set_weights(weights)
    np.testing.assert_allclose(losses, data["adam_losses"], rtol=1e-3)
    assert losses[0] == pytest.approx(data["adam_losses"][0], rel=1e-5)


@on_torch
def test_gradients(golden, separator):
    data, weights = golden("htdemucs"), separator.get_weights()
    # Plain descent at a huge rate shows the gradients unrounded.
    rate = 2.0**20
    before = {w.path: as_numpy(w.value) for w in separator.weights}
    fit(separator, data, keras.optimizers.SGD(rate), 1)
    after = {w.path: as_numpy(w.value) for w in separator.weights}
    separator.set_weights(weights)
    found = 0
    for variable, (name,) in separator_pairs(separator):
        if f"grad/{name}" in data:
            gradient = (before[variable.path] - after[variable.path]) / rate
            expected = to_variable([f"grad/{name}"], data)
            assert_close(gradient, expected.reshape(gradient.shape), 5e-4)
            found += 1
    assert found == sum(key.startswith("grad/") for key in data)


@on_torch
@pytest.mark.parametrize("standardize", [False, True])
def test_separate_joins_chunks_as_the_authors(standardize, golden, separator):
    """The last chunk has real sound before it and silence after it."""
    data = golden("htdemucs")
    key = "standardized" if standardize else "separated"
    assert separator.standardize_recording
    other = with_settings(separator, standardize_recording=standardize)
    estimates = other.separate(mixture_of(data)[0], RATE)
    assert_all_close(estimates, data, f"{key}_every_23rd_sample", 23)


@on_torch
def test_shifts(golden, separator):
    data = golden("htdemucs")
    plan = TriangleChunks(SEGMENT, int(0.75 * SEGMENT), whole=True)

    def crossfade():
        predict = separator.predict_on_batch
        return Crossfade(predict, separator.stems, plan, batch_size=1)

    leads = RATE // 2 - data["shift_offsets"]
    average = ShiftAverage(crossfade, leads)
    first = average.push(mixture_of(data, stop=5000))
    last = average.finish()
    estimates = {
        stem: np.concatenate([first[stem], last[stem]], axis=-1)
        for stem in separator.stems
    }
    assert_all_close(estimates, data, "shifted_every_23rd_sample", 23)


@pytest.mark.parametrize("num_samples", [300, 1000, 2500])
def test_whole_chunks(num_samples):
    """All have one length; beyond the recording they see silence."""
    seen = []

    def predict(batch):
        seen.extend(batch[:, 0].copy())
        return {"same": batch}

    audio = np.arange(1, num_samples + 1, dtype="float32")
    plan = TriangleChunks(1000, 750, whole=True)
    stream = Crossfade(predict, ["same"], plan, batch_size=1)
    parts = [stream.push(x[None, None]) for x in np.array_split(audio, 7)]
    parts = [*parts, stream.finish()]
    joined = np.concatenate([part["same"] for part in parts], axis=-1)
    np.testing.assert_allclose(joined[0, 0], audio, rtol=1e-5)
    silence = np.zeros(1000, "float32")
    padded = np.concatenate([silence, audio, silence])
    for chunk, start in zip(seen, range(0, num_samples, 750), strict=True):
        before = max(start + 1000 - num_samples, 0) // 2
        begin = 1000 + start - before
        np.testing.assert_array_equal(chunk, padded[begin : begin + 1000])


@pytest.mark.parametrize("seconds", [0.5, 44])
def test_longer_chunks_are_refused(seconds, separator):
    audio = np.zeros((2, 10000), "float32")
    with pytest.raises(ValueError, match=r"chunk_seconds must be at most 0\.4"):
        separator.separate(audio, RATE, chunk_seconds=seconds)
    with pytest.raises(ValueError, match=r"at most 6400 samples, .* got 10000"):
        separator(audio[None])


@on_torch
def test_silence_and_shorter_chunks(golden, separator):
    for stem in separator.separate(np.zeros(300), RATE).values():
        assert not stem.any()
    # A shorter chunk is followed by zeros, as in a call.
    audio = mixture_of(golden("htdemucs"), stop=3000)
    estimates = separator.separate(audio[0], RATE, chunk_seconds=3000 / RATE)
    assert estimates["drums"].shape == (2, 3000)


def safetensors_of(package):
    """A package as Demucs 4.1 writes it without pickle."""
    kwargs = {**package["kwargs"]}
    segment = kwargs["segment"]
    kwargs["segment"] = {
        "_type": "fraction",
        "numerator": segment.numerator,
        "denominator": segment.denominator,
    }
    header, content = {}, b""
    for name, tensor in package["state"].items():
        array = np.asarray(tensor)
        offsets = [len(content), len(content) + array.nbytes]
        header[name] = {
            "dtype": "F16",
            "shape": array.shape,
            "data_offsets": offsets,
        }
        content += array.tobytes()
    header["__metadata__"] = {
        "klass": "demucs.htdemucs.HTDemucs",
        "args": "[]",
        "kwargs": json.dumps(kwargs),
    }
    header = json.dumps(header).encode()
    return len(header).to_bytes(8, "little") + header + content


@on_torch
def test_bag_of_safetensors(golden, separator, tmp_path):
    """One model for each stem, as `htdemucs_ft`."""
    package = read_state_dict(FILE)
    (tmp_path / "a.safetensors").write_bytes(safetensors_of(package))
    path = tmp_path / "bag.yaml"
    path.write_text(
        "models: ['a', 'a']\nweights: [[1, 0], [0, 1]]\nsegment: 44"
    )
    bag = from_checkpoint(path)
    assert isinstance(bag, DemucsBag)
    # A bag cannot make the segments of its models longer.
    assert (bag.chunk_seconds, bag.max_samples) == (0.4, SEGMENT)
    member = bag.get_layer("mean").members[0]
    assert member.get_config() == {
        **separator.get_config(),
        "name": member.name,
    }
    bag.get_layer("mean").members[1].set_weights(
        [0.9 * w for w in separator.get_weights()]
    )
    other = with_settings(bag, standardize_recording=False)
    estimates = other.separate(mixture_of(golden("htdemucs"))[0], RATE)
    drums = {"drums": estimates["drums"]}
    data = golden("htdemucs")
    assert_all_close(drums, data, "separated_every_23rd_sample", 23)
    changed = data["separated_every_23rd_sample/vocals"]
    assert np.abs(estimates["vocals"][:, ::23] - changed).max() > 1e-3


def small(stems=("speech", "music"), **kwargs):
    settings = {
        "n_fft": 512,
        "depth": 3,
        "channels": 4,
        "dconv_compression": 4,
        "bottom_channels": 8,
        "transformer_heads": 2,
        "transformer_layers": 2,
        "chunk_seconds": 0.5,
        **kwargs,
    }
    return HTDemucsAudioSeparator(list(stems), 1, 8000, **settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"cross_first": True, "bottom_channels": 0, "dconv_mode": 1},
        {"transformer_dropout": 0.5, "complex_as_channels": False},
    ],
)
@on_torch
def test_preset_and_selection(settings, tmp_path):
    separator = small(**settings)
    mixture = np.random.default_rng(0).normal(0, 0.1, (1, 1, 3000))
    mixture = mixture.astype("float32")
    estimates = separator(mixture)
    separator.save_to_preset(tmp_path / "preset")
    copy = AudioSeparator.from_preset(tmp_path / "preset")
    assert copy.get_config() == separator.get_config()
    only = separator.with_stems(["music"])
    assert only.max_samples == separator.max_samples == 4000
    for other in (copy, only):
        np.testing.assert_array_equal(
            as_numpy(other(mixture)["music"]), as_numpy(estimates["music"])
        )
    with pytest.raises(ValueError, match="has no core"):
        separator.export_core(tmp_path / "core")


@on_torch
def test_dropout_and_mixed_precision():
    mixture = np.random.default_rng(0).normal(0, 0.1, (1, 1, 4000))
    mixture = mixture.astype("float32")
    separator = small(transformer_dropout=0.9)
    separator.set_weights(  # layers that add something
        [0 * w + 1 if w.ndim == 1 else w for w in separator.get_weights()]
    )
    first, again = (
        as_numpy(separator(mixture, training=True)["music"]) for _ in range(2)
    )
    assert np.abs(first - again).max() > 1e-3
    exact = as_numpy(separator(mixture)["music"])
    rounded = small(dtype="mixed_bfloat16")
    rounded.set_weights(separator.get_weights())
    rounded = as_numpy(rounded(mixture)["music"])
    assert rounded.dtype == np.float32
    assert np.abs(rounded - exact).max() < 0.1 * np.abs(exact).max()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 4}, "depth must be .* rows that are left; got depth=4"),
        ({"transformer_layers": 0}, "transformer_layers must be"),
        ({"transformer_heads": 3}, "multiple of 4 and of 3 heads .* got 8"),
        ({"chunk_seconds": 0.0001}, "chunk_seconds must be at least"),
    ],
)
def test_sizes_that_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        small(**settings)


@pytest.mark.parametrize(
    "changed",
    [
        {"wiener_iters": 1},
        {"t_emb": "cape"},
        {"t_sparse_self_attn": True},
        {"use_train_segment": False},
    ],
)
def test_packages_that_are_not_here(changed):
    package = read_state_dict(FILE)
    package["kwargs"] = {**package["kwargs"], **changed}
    (name,) = changed
    with pytest.raises(ValueError, match=rf"{name} must be .* in a package"):
        from_checkpoint(package)


def test_tensors_that_do_not_fit():
    package = read_state_dict(FILE)
    del package["state"]["crosstransformer.layers.0.linear1.weight"]
    with pytest.raises(ValueError, match=r"lacks cross.*linear1\.weight"):
        from_checkpoint(package)
    package = read_state_dict(FILE)
    del package["state"]["crosstransformer.layers_t.1.norm_out.bias"]
    with pytest.raises(ValueError, match=r"1\.norm_out\.bias is missing"):
        from_checkpoint(package)


def test_initial_weights():
    middle = small(transformer_layers=1).get_layer("network").middle
    layer = middle.spectrum_layers[0]
    assert np.all(as_numpy(layer.scale1) == np.float32(1e-4))
    assert not as_numpy(layer.attention.in_bias).any()
    kernel = as_numpy(layer.attention.in_kernel)
    limit = np.sqrt(6 / (4 * 8))  # Xavier's, of all three projections
    assert 0.9 * limit < np.abs(kernel).max() <= limit


def test_multiply_adds():
    """167 G for a segment, as counted in the authors' network."""
    found = PRESETS["htdemucs"].sizes(7.8).multiply_adds / 1e9
    assert found == pytest.approx(167, rel=0.005)
