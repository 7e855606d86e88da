"""Training on several devices that share each batch."""

from __future__ import annotations

import atexit
import contextlib
import os
from typing import TYPE_CHECKING

import keras
import numpy as np

from keras_bandit.training.shared_batches import even_batches, share_of

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Any


class Devices:
    """One device; the base of several. Make them with `open_devices`.

    `count` devices share a batch. `process_count` processes each have a part
    of them; number `process_index` 0 is the one that writes files.
    """

    count = 1
    process_index = 0
    process_count = 1

    def scope(self) -> AbstractContextManager:
        """Context in which the model is made, compiled and trained."""
        return contextlib.nullcontext()

    def prepare(self, model: keras.Model) -> None:
        """Makes a compiled model's optimizer average gradients over devices."""

    def share_training(self, data: Any) -> Any:
        """What this process reads of a dataset's batches."""
        return data

    def share_validation(self, data: Any, batch_size: int | None = None) -> Any:
        """The same for validation; see `even_batches`."""
        return data

    def share_logs(self, logs: dict[str, Any]) -> None:
        """Replaces an epoch's logs by those of all processes."""

    def barrier(self) -> None:
        """Waits until all processes have called it."""


class _JaxDevices(Devices):
    """Several devices of one process. JAX itself refuses uneven batches."""

    def __init__(self, devices):
        self.count = len(devices)
        self._distribution = keras.distribution.DataParallel(devices=devices)

    def scope(self):
        return self._distribution.scope()

    def share_validation(self, data, batch_size=None):
        return even_batches(data, self.count, batch_size=batch_size)


class _TorchProcesses(Devices):
    """One process for each device, as `torchrun` starts them."""

    def __init__(self):
        import torch

        self._torch = torch
        self._distributed = torch.distributed
        if not self._distributed.is_initialized():
            on_gpu = torch.cuda.is_available()
            if on_gpu:
                torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
            self._distributed.init_process_group("nccl" if on_gpu else "gloo")
            atexit.register(self._close)
        self.count = self._distributed.get_world_size()
        self.process_count = self.count
        self.process_index = self._distributed.get_rank()

    def _close(self):
        """Ends the group's threads: now and then they abort Python's end."""
        if self._distributed.is_initialized():
            self._distributed.destroy_process_group()

    def _average(self, tensors):
        """Means over the processes of a list of tensors of one dtype."""
        flat = self._torch.cat([tensor.reshape(-1) for tensor in tensors])
        self._distributed.all_reduce(flat)  # a sum: Gloo knows no mean
        parts = (flat / self.count).split([x.numel() for x in tensors])
        return [x.view_as(y) for x, y in zip(parts, tensors, strict=True)]

    def barrier(self):
        self._distributed.barrier()

    def prepare(self, model):
        # Not by DistributedDataParallel: Keras's trainer would call the model
        # itself, not the wrapper that averages gradients.
        optimizer = model.optimizer
        optimizer.build(model.trainable_variables)
        for variable in [*model.variables, *optimizer.variables]:
            self._distributed.broadcast(variable.value.data, src=0)
        if getattr(optimizer, "uses_gradients_of_all", False):
            return
        apply = optimizer.apply

        def apply_mean(gradients, variables=None):
            with self._torch.no_grad():
                present = [g for g in gradients if g is not None]
                means = iter(self._average(present))
                gradients = [
                    None if g is None else next(means) for g in gradients
                ]
            return apply(gradients, variables)

        optimizer.apply = apply_mean
        optimizer.uses_gradients_of_all = True

    def share_training(self, data):
        return share_of(data, self.process_index, self.count)

    def share_validation(self, data, batch_size=None):
        return even_batches(data, self.count, self.process_index, batch_size)

    def share_logs(self, logs):
        values = np.array([float(value) for value in logs.values()], "float32")
        (values,) = self._average([keras.ops.convert_to_tensor(values)])
        logs.update(zip(logs, map(float, values), strict=True))


def open_devices(count: int | None = None) -> Devices:
    """Devices to train on, for the backend in use.

    JAX: `keras.distribution.DataParallel`. PyTorch: one process per device,
    started as `torchrun --nproc-per-node 8 recipe.py …`; gradients are
    averaged, with NCCL on GPUs and Gloo on CPUs. TensorFlow: one device.

    A batch is split among the devices and has to be a multiple of them; on
    PyTorch data are a `PyDataset` or a grain dataset. Of validation data the
    last batch may be smaller, see `EvenBatches`.

    ```python
    devices = open_devices()
    run = TrainingRun("runs/speech", config, devices=devices)
    with devices.scope():
        separator = build(config)
        run.fit(separator, train, validation, epochs=100)
    ```

    Args:
        count: int, or `None`: on JAX all GPUs, TPUs or, where there are none,
            CPUs that it lists; on PyTorch the processes there are.

    Raises:
        ValueError: if there are fewer devices, other than `count` processes
            on PyTorch, or for more than one on TensorFlow.
    """
    backend = keras.config.backend()
    if backend == "torch":
        world = int(os.environ.get("WORLD_SIZE", 1))
        if count in (None, world):
            return _TorchProcesses() if world > 1 else Devices()
        raise ValueError(
            f"count must be the number of processes, {world}; got {count}. "
            f"Start {count} with torchrun --nproc-per-node {count}"
        )
    if backend == "jax":
        listed = keras.distribution.list_devices()
        if count is None or 1 <= count <= len(listed):
            devices = listed[:count]
            return _JaxDevices(devices) if len(devices) > 1 else Devices()
        raise ValueError(
            f"count must be 1 … {len(listed)}, the devices there are; got "
            f"{count}"
        )
    if count not in (None, 1):
        raise ValueError(
            "count must be 1 on TensorFlow (several devices train on JAX and "
            f"PyTorch); got {count}"
        )
    return Devices()
