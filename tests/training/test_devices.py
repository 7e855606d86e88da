"""Several devices make the steps of one."""

import keras
import numpy as np
import pytest
import share_batches
import tiny
import two_devices

from keras_bandit.training import AlternatingStems, open_devices
from keras_bandit.training.devices import (
    _SharedProcess,
    _TensorFlowDevices,
)


def test_two_devices_make_the_steps_of_one(tmp_path):
    file, directory = tmp_path / "result.npz", tmp_path / "two"
    processes = two_devices.start(share_batches.__file__, file, 2, directory)
    _, history, weights = share_batches.train(tmp_path / "one", 1)
    two_devices.finish(processes)
    shared = dict(np.load(file))
    start = tiny.build().weights
    for i, weight in weights.items():
        # float32, with gradients summed in another order.
        np.testing.assert_allclose(shared[i], weight, atol=1e-5)
    # Three steps of 0.05 each: what was compared did move.
    moved = sum(
        np.sum((weight - w.numpy()) ** 2)
        for weight, w in zip(weights.values(), start, strict=True)
    )
    assert 0.03 < np.sqrt(moved) < 0.16
    for name, value in history.items():
        assert shared[name] == pytest.approx(float(value), abs=1e-4), name


def test_one_device_needs_nothing():
    devices = open_devices(1)
    assert (devices.count, devices.process_index) == (1, 0)
    data = object()
    assert devices.share_training(data) is data
    assert devices.share_validation(data) is data
    assert devices.total(3) == 3


def test_more_devices_than_there_are():
    with pytest.raises(ValueError, match="count must be"):
        open_devices(64)


def test_batches_that_devices_of_one_process_cannot_share():
    devices = _SharedProcess()
    devices.count = 2
    data = devices.share_training(tiny.Epochs(0, size=4))
    np.testing.assert_array_equal(data[1][0], tiny.Epochs(0, size=4)[1][0])
    with pytest.raises(ValueError, match=r"multiples of the 2 devices.*got 3"):
        devices.share_training(tiny.Epochs(0, size=3))


@pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="only TensorFlow refuses"
)
@pytest.mark.parametrize(
    "optimizer",
    [
        keras.optimizers.SGD(use_ema=True),
        keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()),
    ],
)
def test_optimizers_that_tensorflow_cannot_share(optimizer):
    devices = object.__new__(_TensorFlowDevices)
    with pytest.raises(ValueError, match="on several TensorFlow devices"):
        devices.prepare(tiny.build(optimizer))


@pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="only TensorFlow refuses"
)
def test_alternating_stems_on_several_tensorflow_devices(monkeypatch):
    separator = tiny.build()
    strategy = type("Strategy", (), {"num_replicas_in_sync": 2})
    monkeypatch.setattr(
        type(separator), "distribute_strategy", strategy, raising=True
    )
    callback = AlternatingStems()
    callback.set_model(separator)
    with pytest.raises(ValueError, match=r"one TensorFlow device.*got 2"):
        callback.on_train_begin()
