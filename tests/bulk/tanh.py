"""A model of NumPy that can be slow, and that some films kill."""

import os
import pathlib
import time

import numpy as np

from ..gains import Gains

POISON = 0.96875
"""A sample that kills the process that computes it."""


class Tanh(Gains):
    """Not linear, and different at each place of a chunk.

    Args:
        seconds: float. What a batch takes.
        pids: folder, or `None`. Each process counts its batches there.
    """

    engine, precision = "numpy", "float32"

    def __init__(self, num_channels=None, gains=None, seconds=0.0, pids=None):
        super().__init__(num_channels, gains)
        self.seconds, self.pids, self.count = seconds, pids, 0
        self.description = {"gains": self.gains}

    def predict_on_batch(self, batch):
        if (batch == POISON).any():
            os._exit(1)
        time.sleep(self.seconds)
        self.count += 1
        if self.pids:
            path = pathlib.Path(self.pids, str(os.getpid()))
            path.write_text(str(self.count))
        ramp = np.linspace(0.5, 1.5, batch.shape[-1], dtype="float32")
        return {s: np.tanh(g * batch) * ramp for s, g in self.gains.items()}
