"""Training on several devices that share each batch.

Each backend has a way of its own; all of them give the steps that one device
would make of the whole batch.
"""

import contextlib
import functools
import os

import keras
import numpy as np


class Devices:
    """One device; the base of several. Make them with `open_devices`.

    Attributes:
        count: int. Devices that share a batch.
        process_index: int. Number of this process, 0 for the first, the one
            that writes files.
    """

    count = 1
    process_index = 0

    def scope(self):
        """Context in which the model is made, compiled and trained."""
        return contextlib.nullcontext()

    def prepare(self, model):
        """Makes a compiled model's optimizer use the gradients of all."""

    def part_of(self, data):
        """This process's share of a dataset's batches."""
        return data

    def callbacks(self):
        """Callbacks that come before all that read an epoch's logs."""
        return []


class _JaxDevices(Devices):
    def __init__(self, devices):
        self.count = len(devices)
        self._distribution = keras.distribution.DataParallel(devices=devices)

    def scope(self):
        return self._distribution.scope()


class _TensorFlowDevices(Devices):
    def __init__(self, devices):
        import tensorflow as tf

        self._tf = tf
        self.count = len(devices)
        self._strategy = tf.distribute.MirroredStrategy(devices)

    def scope(self):
        return self._strategy.scope()

    def prepare(self, model):
        optimizer = model.optimizer
        if optimizer.gradient_accumulation_steps:
            raise ValueError(
                "gradient_accumulation_steps must be None on several "
                f"TensorFlow devices; got {optimizer.gradient_accumulation_steps}"
            )
        if getattr(optimizer, "clips_gradients_of_all", False):
            return
        clip = optimizer._clip_gradients

        def clip_sum(gradients):
            # Keras clips each device's gradients, then adds them up; one
            # device would clip the sum. What is clipped here is divided,
            # since Keras adds it up once more.
            context = self._tf.distribute.get_replica_context()
            total = context.all_reduce(
                self._tf.distribute.ReduceOp.SUM, gradients
            )
            return [gradient / self.count for gradient in clip(total)]

        optimizer._clip_gradients = clip_sum
        optimizer.clips_gradients_of_all = True


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
        self.count = self._distributed.get_world_size()
        self.process_index = self._distributed.get_rank()

    def mean(self, tensors):
        """Means over the processes of a list of tensors of one dtype."""
        flat = self._torch.cat([tensor.reshape(-1) for tensor in tensors])
        # Gloo knows no mean.
        self._distributed.all_reduce(flat)
        parts = (flat / self.count).split([x.numel() for x in tensors])
        return [
            part.view_as(tensor)
            for part, tensor in zip(parts, tensors, strict=True)
        ]

    def prepare(self, model):
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
                means = iter(self.mean(present))
                gradients = [
                    None if g is None else next(means) for g in gradients
                ]
            return apply(gradients, variables)

        optimizer.apply = apply_mean
        optimizer.uses_gradients_of_all = True

    def part_of(self, data):
        part = functools.partial(
            _part_of_batch, index=self.process_index, count=self.count
        )
        if isinstance(data, keras.utils.PyDataset):
            return _MappedPyDataset(data, part)
        if hasattr(data, "map"):
            # grain's function takes an item, that of tf.data its parts.
            return data.map(lambda *batch: part(_only(batch)))
        raise ValueError(
            "on several processes data must be a PyDataset, a grain dataset "
            f"or a tf.data.Dataset of batches; got {type(data).__name__}"
        )

    def callbacks(self):
        return [_MeanLogs(self)]


def _only(items):
    """The one item of a tuple, or the tuple."""
    return items[0] if len(items) == 1 else items


def _part_of_batch(batch, index, count):
    """Every `count`-th item of a batch's arrays, from `index` on."""

    def part(x):
        if x.shape[0] is not None and x.shape[0] % count:
            raise ValueError(
                f"batches must be multiples of the {count} processes; got "
                f"{x.shape[0]} items"
            )
        return x[index::count]

    return keras.tree.map_structure(part, batch)


class _MappedPyDataset(keras.utils.PyDataset):
    """A `PyDataset` with a function of each batch."""

    def __init__(self, dataset, function):
        super().__init__(
            workers=dataset.workers,
            use_multiprocessing=dataset.use_multiprocessing,
            max_queue_size=dataset.max_queue_size,
        )
        self.dataset = dataset
        self.function = function

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        return self.function(self.dataset[index])

    def on_epoch_begin(self):
        self.dataset.on_epoch_begin()

    def on_epoch_end(self):
        self.dataset.on_epoch_end()


class _MeanLogs(keras.callbacks.Callback):
    """Replaces an epoch's logs by their means over all processes."""

    def __init__(self, processes):
        super().__init__()
        self.processes = processes

    def on_epoch_end(self, epoch, logs=None):
        tensor = keras.ops.convert_to_tensor(
            np.array([float(value) for value in logs.values()], "float32")
        )
        (means,) = self.processes.mean([tensor])
        logs.update(zip(logs, map(float, means), strict=True))


def _pick(names, count):
    if count is not None and not 1 <= count <= len(names):
        raise ValueError(
            f"count must be 1 … {len(names)}, the devices there are; got "
            f"{count}"
        )
    return names[:count]


def open_devices(count=None):
    """Devices to train on, for the backend in use.

    JAX: `keras.distribution.DataParallel`. TensorFlow:
    `tf.distribute.MirroredStrategy`; gradients are added up before they are
    clipped, unlike Keras does. PyTorch: one process per device, started as
    `torchrun --nproc-per-node 8 recipe.py …`; gradients are averaged, with
    NCCL on GPUs and Gloo on CPUs.

    A batch is split among the devices and has to be a multiple of them. On
    TensorFlow batches are read ahead, of the next epoch, too: they must
    depend on their place in the dataset, not on a `PyDataset`'s
    `on_epoch_begin`.

    ```python
    devices = open_devices()
    run = TrainingRun("runs/speech", config, devices=devices)
    with devices.scope():
        separator = build(config)
        run.fit(separator, train, validation, epochs=100)
    ```

    Args:
        count: int, or `None`: all GPUs, TPUs or, where there are none, CPUs
            that the backend lists; on PyTorch the processes there are.

    Returns:
        `Devices`.

    Raises:
        ValueError: if there are fewer, or on PyTorch other than `count`
            processes.
    """
    backend = keras.config.backend()
    if backend == "torch":
        world = int(os.environ.get("WORLD_SIZE", 1))
        if count not in (None, world):
            raise ValueError(
                f"count must be the number of processes, {world}; got {count}. "
                f"Start {count} with torchrun --nproc-per-node {count}"
            )
        return _TorchProcesses() if world > 1 else Devices()
    if backend == "jax":
        devices = _pick(keras.distribution.list_devices(), count)
        return _JaxDevices(devices) if len(devices) > 1 else Devices()
    import tensorflow as tf

    listed = tf.config.list_logical_devices
    names = [d.name for d in listed("GPU") or listed("CPU")]
    devices = _pick(names, count)
    return _TensorFlowDevices(devices) if len(devices) > 1 else Devices()
