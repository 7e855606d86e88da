"""Several devices make the steps of one."""

import os
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest
import share_batches
import tiny

from keras_bandit.training import open_devices
from keras_bandit.training.devices import _TensorFlowDevices, _TorchProcesses


def free_port():
    with socket.socket() as server:
        server.bind(("localhost", 0))
        return server.getsockname()[1]


def environments():
    """The environment of each process, for two CPUs on this backend."""
    if keras.config.backend() == "jax":
        flags = "--xla_force_host_platform_device_count=2"
        return [{**os.environ, "XLA_FLAGS": flags}]
    if keras.config.backend() == "tensorflow":
        return [dict(os.environ)]
    common = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "",
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(free_port()),
        "WORLD_SIZE": "2",
    }
    return [{**common, "RANK": str(rank)} for rank in range(2)]


def test_two_devices_make_the_steps_of_one(tmp_path):
    file, directory = tmp_path / "result.npz", tmp_path / "two"
    command = [sys.executable, share_batches.__file__, file, "2", directory]
    processes = [
        subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for environment in environments()
    ]
    _, history, weights = share_batches.train(tmp_path / "one", 1)
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors.decode()
    shared = dict(np.load(file))
    start = tiny.build().weights
    for i, weight in weights.items():
        # float32, with gradients summed in another order.
        np.testing.assert_allclose(shared[i], weight, atol=1e-5)
    # Six steps of 0.05 each: what was compared did move.
    moved = sum(
        np.sum((weight - w.numpy()) ** 2)
        for weight, w in zip(weights.values(), start, strict=True)
    )
    assert 0.05 < np.sqrt(moved) < 0.31
    for name, value in history.items():
        assert shared[name] == pytest.approx(float(value), abs=1e-4), name


def test_one_device_needs_nothing():
    devices = open_devices(1)
    assert (devices.count, devices.process_index) == (1, 0)
    data = object()
    assert devices.part_of(data) is data


def test_more_devices_than_there_are():
    with pytest.raises(ValueError, match="count must be"):
        open_devices(64)


@pytest.fixture
def second():
    """The second of two processes, which has not met the first."""
    processes = object.__new__(_TorchProcesses)
    processes.count, processes.process_index = 2, 1
    return processes


@pytest.mark.parametrize("data", [tiny.Epochs(0, size=4), tiny.stream(0, 4)])
def test_part_of_a_batch(second, data):
    mixture, targets = second.part_of(data)[2]
    whole, whole_targets = data[2]
    np.testing.assert_array_equal(mixture, whole[1::2])
    np.testing.assert_array_equal(
        targets["music"], whole_targets["music"][1::2]
    )


def test_part_of_tf_data(second):
    tf = pytest.importorskip("tensorflow")
    data = tf.data.Dataset.from_tensors(tiny.batch(0, size=4))
    ((mixture, targets),) = second.part_of(data)
    whole, whole_targets = tiny.batch(0, size=4)
    np.testing.assert_array_equal(mixture, whole[1::2])
    np.testing.assert_array_equal(
        targets["music"], whole_targets["music"][1::2]
    )


def test_batches_that_cannot_be_shared(second):
    with pytest.raises(ValueError, match="multiples of the 2 processes; got 3"):
        second.part_of(tiny.Epochs(0, size=3))[0]
    with pytest.raises(ValueError, match="got tuple"):
        second.part_of(tiny.batch(0, size=4))


def test_accumulated_gradients_are_refused_on_tensorflow():
    devices = object.__new__(_TensorFlowDevices)
    separator = tiny.build(keras.optimizers.SGD(gradient_accumulation_steps=2))
    with pytest.raises(
        ValueError, match="on several TensorFlow devices; got 2"
    ):
        devices.prepare(separator)
