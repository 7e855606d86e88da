"""A tiny separator and its data, for tests and for their subprocesses.

Run as a script it is one training that kills itself in epoch 2, of which epoch 1
leaves a copy: `tiny.py DIRECTORY EPOCHS COPY`.
"""

import os
import shutil
import signal
import sys

import grain
import keras
import numpy as np

from keras_bandit.losses import L1SNR
from keras_bandit.metrics import SISNR
from keras_bandit.models import (
    BanditAudioSeparator,
    BanditBackbone,
    BSRNNAudioSeparator,
    BSRNNBackbone,
)
from keras_bandit.training import (
    AlternatingStems,
    TrainingRun,
    paper_optimizer,
    paper_schedule,
)

CONFIG = {"bands": 4, "learning_rate": 0.01, "stems": ["speech", "music"]}
STEPS = 3
# Tracing takes TensorFlow three times as long as all steps do without.
EAGERLY = keras.config.backend() == "tensorflow"


def build(optimizer=None, stems=CONFIG["stems"], dtype=None, seed=0, **kwargs):
    """A compiled separator of some 2,000 weights."""
    keras.utils.set_random_seed(seed)
    backbone = BanditBackbone(
        num_bands=4,
        n_fft=128,
        embed_dim=4,
        rnn_dim=4,
        num_pairs=1,
        dtype=dtype,
    )
    separator = BanditAudioSeparator(
        backbone, list(stems), hop_length=32, mlp_dim=3
    )
    optimizer = optimizer or paper_optimizer(CONFIG["learning_rate"])
    separator.compile(optimizer, loss=L1SNR(), metrics=[SISNR()], **kwargs)
    return separator


def build_bsrnn(stems):
    """A separator with an encoder for each stem, not compiled."""
    backbone = BSRNNBackbone(
        list(stems),
        band_layout=[(0, 20), (20, 65)],
        n_fft=128,
        embed_dim=4,
        rnn_dim=4,
        num_pairs=1,
    )
    return BSRNNAudioSeparator(backbone, list(stems), hop_length=32, mlp_dim=3)


def batch(seed, size=2, samples=400, stems=CONFIG["stems"]):
    """Mixture and targets, `(size, 1, samples)` each."""
    rng = np.random.default_rng(seed)
    targets = {
        stem: rng.normal(0, 0.1, (size, 1, samples)).astype("float32")
        for stem in stems
    }
    return sum(targets.values()), targets


class CountsReads:
    """Mixed into a `PyDataset`: keeps the indices that were read."""

    read = ()

    def __getitem__(self, index):
        self.read += (index,)
        return super().__getitem__(index)


class Epochs(keras.utils.PyDataset):
    """Batches that depend on nothing but seed, epoch and index."""

    def __init__(self, epoch, seed=0, steps=STEPS, size=2):
        super().__init__()
        self.epoch = epoch
        self.seed = seed
        self.steps = steps
        self.size = size
        self.started = False

    def __len__(self):
        return self.steps

    def __getitem__(self, index):
        return batch([self.seed, self.epoch, index], self.size)

    def on_epoch_begin(self):
        self.epoch += self.started
        self.started = True


def stream(epoch, size=2):
    """The batches from an epoch on, without an end, as a grain dataset."""

    def read(index):
        return batch([0, *divmod(index, STEPS)], size)

    return grain.MapDataset.range(epoch * STEPS, 100 * STEPS).map(read)


def train(directory, epochs, callbacks=(), **kwargs):
    """A run of so many epochs in all, a stem at each step; the separator."""
    run = TrainingRun(directory, CONFIG)
    separator = build(run_eagerly=EAGERLY)
    kwargs.setdefault("patience", None)
    run.fit(
        separator,
        Epochs,
        batch(99),
        epochs=epochs,
        callbacks=[
            paper_schedule(CONFIG["learning_rate"]),
            AlternatingStems(),
            *callbacks,
        ],
        **kwargs,
    )
    return separator


class KillAtStep(keras.callbacks.Callback):
    def __init__(self, epoch, step):
        super().__init__()
        self.at = (epoch, step)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


class CopyInBackup(keras.callbacks.Callback):
    """Copies the run when an epoch's backup is written and not yet in place.

    The copy has what a kill would leave then: every byte that the system was
    given, and none that still waits in the process.
    """

    def __init__(self, epoch, directory, copy):
        super().__init__()
        self.copy_epoch = epoch
        self.paths = (directory, copy)

    def on_epoch_end(self, epoch, logs=None):
        if epoch != self.copy_epoch:
            return
        replace = os.replace

        def copy_and_replace(source, target):
            if "latest" in str(target):
                shutil.copytree(*self.paths)
                os.replace = replace
            replace(source, target)

        os.replace = copy_and_replace


def main(directory, epochs, copy):
    callbacks = [CopyInBackup(1, directory, copy), KillAtStep(2, 1)]
    train(directory, int(epochs), callbacks)


if __name__ == "__main__":
    main(*sys.argv[1:])
