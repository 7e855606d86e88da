"""A model and a call of it that is killed and resumed; `main` is a process."""

import time

import numpy as np

from keras_bandit.inference import resume
from keras_bandit.inference.files import separate_file

from ..gains import Gains


class Model(Gains):
    """Not linear, different at each place of a chunk, and slow if asked to."""

    engine = precision = "none"
    seconds = 0.0

    def __init__(self, *args):
        super().__init__(*args)
        self.description = {"gains": self.gains}

    def predict_on_batch(self, batch):
        time.sleep(self.seconds)
        self.shapes.append(batch.shape)
        ramp = np.linspace(0.5, 1.5, batch.shape[-1], dtype="float32")
        return {s: np.tanh(g * batch) * ramp for s, g in self.gains.items()}


def prepare(monkeypatch):
    """Keeps what is finished of each batch; `Model` is no package."""
    monkeypatch.setattr(resume, "SECONDS_BETWEEN_STATES", 0.0)
    monkeypatch.setattr(resume, "versions", lambda *names: {})


def separate(output, model=None, **options):
    options = {"chunk_seconds": 0.1, "batch_size": 3, **options}
    return separate_file("film.wav", output, model or Model(), **options)


class _Forever:
    setattr = staticmethod(setattr)


if __name__ == "__main__":
    prepare(_Forever)
    Model.seconds = 0.1
    print("ready", flush=True)
    separate("parts", resume=True)
