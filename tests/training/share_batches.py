"""One training whose batches two devices share; saves what came of it.

`share_batches.py FILE DEVICES DIRECTORY`
"""

import sys

import keras
import numpy as np
import tiny

from keras_bandit.training import TrainingRun, first_example, open_devices


class Validation(keras.utils.PyDataset):
    """Seven examples, which two devices cannot share evenly."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return tiny.batch(100 + index, size=1 if index == 2 else 3)


def train(directory, count):
    """Two epochs; returns the history's last row and the weights."""
    devices = open_devices(count)
    assert devices.count == count
    run = TrainingRun(directory, tiny.CONFIG, devices=devices)
    with devices.scope():
        # Unlike Adam's, its steps have the size of the gradients; the norm
        # is clipped in every step.
        optimizer = keras.optimizers.SGD(
            0.5, global_clipnorm=0.1, gradient_accumulation_steps=2
        )
        separator = tiny.build(optimizer)
        run.fit(
            separator,
            lambda epoch: tiny.stream(epoch, size=4),
            Validation(),
            clip=first_example(Validation()),
            epochs=2,
            steps_per_epoch=tiny.STEPS,
        )
    weights = {str(i): w.numpy() for i, w in enumerate(separator.weights)}
    return devices, run.history[-1], weights


if __name__ == "__main__":
    file, count, directory = sys.argv[1:]
    devices, history, weights = train(directory, int(count))
    if devices.process_index == 0:
        history = {name: float(value) for name, value in history.items()}
        np.savez(file, **weights, **history)
