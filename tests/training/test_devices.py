"""Several devices make the steps of one."""

import keras
import numpy as np
import pytest
import share_batches
import tiny
import two_devices

from keras_bandit.training import open_devices

ON_TENSORFLOW = keras.config.backend() == "tensorflow"


@pytest.mark.skipif(ON_TENSORFLOW, reason="TensorFlow takes one device")
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
    devices.barrier()


def test_more_devices_than_there_are():
    message = "1 on TensorFlow .*; got 64" if ON_TENSORFLOW else "got 64"
    with pytest.raises(ValueError, match=f"count must be .*{message}"):
        open_devices(64)
