"""Features that are computed once."""

import h5py
import keras
import numpy as np
import pytest
import tiny

from keras_bandit.losses import L1SNR
from keras_bandit.metrics import SISNR
from keras_bandit.models import AudioSeparator
from keras_bandit.training import (
    FeatureCache,
    FeatureLearner,
    TrainingRun,
    cache_features,
)
from keras_bandit.training.devices import Devices
from keras_bandit.training.feature_cache import encoder_of
from keras_bandit.training.feature_learner import FoldFeatureChannels

STEMS = ["speech", "music"]


@pytest.fixture
def frozen(separator):
    separator.backbone.trainable = False
    return separator.add_decoder("mne")


class Batches(tiny.keras.utils.PyDataset):
    """Two batches of stereo."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        mne = rng.normal(0, 0.1, (2, 2, 400)).astype("float32")
        noise = rng.normal(0, 0.1, (2, 2, 400)).astype("float32")
        return mne + noise, {"mne": mne}


def compiled(model):
    # SGD: Adam makes the smallest differences large.
    model.compile(
        tiny.keras.optimizers.SGD(0.1),
        loss=L1SNR(),
        metrics=[SISNR()],
        run_eagerly=tiny.EAGERLY,
    )
    return model


def test_training_on_features_is_training_behind_the_encoder(tmp_path, frozen):
    cache = cache_features(frozen, Batches(), tmp_path / "cache")
    start = [w.numpy().copy() for w in frozen.decoders["mne"].weights]
    behind = compiled(frozen.with_stems(["mne"]))
    history = behind.fit(Batches(), epochs=2, verbose=0, shuffle=False).history
    expected = [w.numpy().copy() for w in frozen.decoders["mne"].weights]
    frozen.decoders["mne"].set_weights(start)

    learner = compiled(FeatureLearner(frozen, ["mne"]))
    assert len(learner.trainable_variables) == len(start)
    found = learner.fit(
        cache.batches(2, seed=None), epochs=2, verbose=0, shuffle=False
    ).history
    for weight, value, before in zip(
        frozen.decoders["mne"].weights, expected, start, strict=True
    ):
        np.testing.assert_allclose(weight.numpy(), value, atol=1e-5)
        assert np.abs(value - before).max() > 1e-3
    assert set(found) == set(history)
    for name, values in history.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4)


def test_run_on_features_saves_the_separator(tmp_path, frozen):
    cache = cache_features(frozen, Batches(), tmp_path / "cache")
    run = TrainingRun(tmp_path / "run", {})
    learner = compiled(FeatureLearner(frozen, ["mne"]))
    mixture, targets = Batches()[0]
    run.fit(
        learner,
        lambda epoch: cache.batches(2, start_epoch=epoch),
        epochs=1,
        clip=(mixture[0], {"mne": targets["mne"][0]}),
    )
    saved = AudioSeparator.from_preset(run.best)
    assert saved.stems == ["speech", "music", "mne"]
    for a, b in zip(saved.weights, frozen.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert saved.metadata["training"]["logs"]["epoch"] == 0


def test_a_learner_goes_on_without_its_encoder(tmp_path, frozen):
    """Only what it trains is backed up: on JAX, encoding builds an optimizer
    of the separator's, which there is not where features are read."""
    cache = cache_features(frozen, Batches(), tmp_path / "cache")

    def train(epochs):
        learner = compiled(FeatureLearner(frozen, ["mne"]))
        run = TrainingRun(tmp_path / "run", {})
        run.fit(learner, lambda epoch: cache.batches(2), epochs=epochs)
        return run

    train(1)
    saved = []
    with h5py.File(tmp_path / "run/backup/latest.weights.h5") as file:
        file.visititems(lambda name, _: saved.append(name))
    assert not [name for name in saved if "backbone" in name]
    frozen.compile()  # as in a process that encodes nothing
    assert len(train(2).history) == 2


def test_features_are_computed_once(tmp_path, frozen):
    class Counting(Batches):
        read = 0

        def __getitem__(self, index):
            Counting.read += 1
            return super().__getitem__(index)

    cache_features(frozen, Counting(), tmp_path / "cache")
    cache = cache_features(frozen, Counting(), tmp_path / "cache")
    assert Counting.read == 2
    assert len(cache) == 4


def test_half_of_the_bytes(tmp_path, frozen):
    whole = cache_features(frozen, Batches(), tmp_path / "whole")
    half = cache_features(frozen, Batches(), tmp_path / "half", dtype="float16")
    for number in range(4):
        (a, _), (b, _) = whole.read(number), half.read(number)
        # Ten bits of mantissa.
        np.testing.assert_allclose(
            a["features"], b["features"], rtol=1e-3, atol=1e-6
        )
    with pytest.raises(ValueError, match="float32 or float16; got 'int8'"):
        cache_features(frozen, Batches(), tmp_path / "new", dtype="int8")


def test_features_of_another_encoder_are_refused(tmp_path, frozen):
    cache_features(frozen, Batches(), tmp_path / "cache")
    weight = frozen.backbone.weights[0]
    weight.assign(weight.numpy() + 1)
    with pytest.raises(
        ValueError, match=r"feature cache .*/cache has other settings: encoder"
    ):
        cache_features(frozen, Batches(), tmp_path / "cache")


def test_killed_while_caching(tmp_path, frozen):
    class Killed(Batches):
        def __getitem__(self, index):
            if index:
                raise KeyboardInterrupt
            return super().__getitem__(index)

    with pytest.raises(KeyboardInterrupt):
        cache_features(frozen, Killed(), tmp_path / "cache")
    with pytest.raises(ValueError, match="complete cache"):
        FeatureCache(tmp_path / "cache")
    assert len(cache_features(frozen, Batches(), tmp_path / "cache")) == 4


def test_order_is_new_in_each_epoch_and_known(tmp_path, frozen):
    cache = cache_features(frozen, Batches(), tmp_path / "cache")

    def epochs(start, count):
        batches = cache.batches(2, seed=5, start_epoch=start)
        for epoch in range(count):
            first = epoch * len(batches)
            order = [batches[first + i][1]["mne"] for i in range(len(batches))]
            yield np.concatenate(order)

    whole = list(epochs(0, 4))
    for a, b in zip(whole[2:], epochs(2, 2), strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(np.any(whole[0] != x) for x in whole[1:])
    for x in whole:  # each example once
        assert sorted(x[:, 0, 0]) == sorted(whole[0][:, 0, 0])


def test_share_of_cached_batches(tmp_path, frozen):
    cache = cache_features(frozen, Batches(), tmp_path / "cache")
    whole = cache.batches(4, seed=5)[1]
    share = cache.batches(4, seed=5).share(1, 2)[1]
    np.testing.assert_array_equal(share[1]["mne"], whole[1]["mne"][1::2])
    with pytest.raises(ValueError, match="multiple of the 3 processes"):
        cache.batches(4).share(0, 3)


class OneOfTwo(Devices):
    """One of two processes, whose other has made its examples."""

    process_count = 2

    def __init__(self, process_index):
        self.process_index = process_index


def test_processes_share_the_computing(tmp_path, frozen):
    # The first one writes the index, when all are done.
    with pytest.raises(ValueError, match="complete cache"):
        cache_features(frozen, Batches(), tmp_path / "two", devices=OneOfTwo(1))
    assert [p.name for p in sorted((tmp_path / "two").iterdir())] == [
        "0000002.npz",
        "0000003.npz",
    ]
    stream = (Batches()[i] for i in range(2))
    shared = cache_features(
        frozen, stream, tmp_path / "two", devices=OneOfTwo(0)
    )
    alone = cache_features(frozen, Batches(), tmp_path / "one")
    assert len(alone) == len(shared) == 4
    for number in range(4):
        keras.tree.map_structure(
            np.testing.assert_array_equal,
            alone.read(number),
            shared.read(number),
        )


def test_empty_dataset(tmp_path, frozen):
    with pytest.raises(ValueError, match="got none"):
        cache_features(frozen, iter([]), tmp_path / "cache")


def test_one_encoder_for_all_stems_is_needed():
    separator = tiny.build_bsrnn(STEMS)
    with pytest.raises(ValueError, match="one encoder for all stems"):
        encoder_of(separator)


def test_folding_features_is_a_layer_that_can_be_saved():
    layer = FoldFeatureChannels(name="fold_channels")
    config = keras.saving.serialize_keras_object(layer)
    assert config["registered_name"] == "keras_bandit>FoldFeatureChannels"
    features = np.arange(2 * 3 * 4 * 5 * 6, dtype="float32")
    features = features.reshape(2, 3, 4, 5, 6)
    folded = keras.saving.deserialize_keras_object(config)(features)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(folded), features.reshape(6, 4, 5, 6)
    )
