"""Models that Ray keeps loaded, and what stands in for one in a film's task.

Batches of chunks go to the models, estimates come back: reading, resampling,
crossfading and writing hold no GPU, and a long film is spread over models
without a seam.
"""

import os
import time
import uuid

import numpy as np
import ray
from ray.exceptions import (
    GetTimeoutError,
    RayError,
    RayTaskError,
    TaskCancelledError,
)

from keras_bandit.common.one_line import one_line
from keras_bandit.export.description import HOW_TO_SEPARATE
from keras_bandit.inference.resume import describe_separator
from keras_bandit.inference.runtimes import THREADS
from keras_bandit.inference.stem_choice import choose_stems

BATCHES_AT_A_MODEL = 2
"""Of one film: one is computed while the next one comes."""

_DEATHS = 3
_SECONDS_UNTIL_ASKED = 10.0
_LOSSES = 20  # of a batch, for whatever reason: minutes, as pauses grow
_NEEDED = (
    "sample_rate",
    "num_channels",
    "chunk_seconds",
    "min_samples",
    "silent_in_silent_out",
)


class LoadingError(RuntimeError):
    """A model cannot be loaded; the message says why."""


class ModelDiedError(RuntimeError):
    """A film's chunks killed processes that computed them, or none is left."""


class Board:
    """What each model computes just now, and how far each film is."""

    def __init__(self):
        self._batches, self._films = {}, {}

    def begin(self, model, batch):
        self._batches[model] = batch

    def blame(self, model, batch):
        """Whether a model died of a batch; told once."""
        blamed = self._batches.get(model) == batch
        if blamed:
            del self._batches[model]
        return blamed

    def show(self, film, done):
        self._films[film] = done

    def films(self):
        """`{name: seconds of sound that are done}`."""
        return self._films


class Model:
    """An actor: a separator that is loaded when it is first needed.

    Args:
        load: function that returns the separator; what it raises is told.
        stem_options: dict, arguments of `choose_stems`.
        name: str, which tells it from other models.
        board: str, the name of the actor of `Board`.
        cpus, gpus: float, what it has.
    """

    def __init__(self, load, stem_options, name, board, cpus, gpus):
        self._load, self._stem_options = load, stem_options
        self._name, self._board = name, ray.get_actor(board)
        self._separator = None
        _limit(cpus, gpus)

    def _loaded(self):
        if self._separator is None:
            try:
                separator = self._load()
                stems = list(separator.stems)
                computed = choose_stems(stems, **self._stem_options).computed
                if computed != stems:
                    separator = separator.with_stems(computed)
            except Exception as error:
                raise LoadingError(one_line(error)) from error
            self._separator = separator
        return self._separator

    def describe(self):
        """What `StandIn` needs: `(attributes, identity, node)`."""
        separator = self._loaded()
        found = {name: getattr(separator, name) for name in _NEEDED}
        defaults = {**HOW_TO_SEPARATE, "max_samples": None, "metadata": {}}
        for name, default in defaults.items():
            found[name] = getattr(separator, name, default)
        found["stems"] = list(separator.stems)
        node = ray.get_runtime_context().get_node_id()
        return found, describe_separator(separator), node

    def is_idle(self):
        """True, when all that was asked before is done."""
        return True

    def predict(self, batch_id, batch):
        """Estimates of `(batch, channels, samples)`, a dict of such arrays."""
        separator = self._loaded()
        # Waited for: what kills this process now is known.
        ray.get(self._board.begin.remote(self._name, batch_id))
        # A copy, since what is shared cannot be written to: PyTorch warns.
        outputs = separator.predict_on_batch(np.array(batch))
        return {stem: np.asarray(x) for stem, x in outputs.items()}


def _limit(cpus, gpus):
    """Keeps engines to their share, before they are imported.

    They would take all processors, and JAX and TensorFlow the whole GPU.
    """
    if gpus:
        share = f"{0.9 * min(gpus, 1):.3f}"
        os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", share)
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
        return
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    threads = str(max(int(cpus), 1))
    for name in ("OMP_NUM_THREADS", "NPROC", THREADS):
        os.environ[name] = threads
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ[name] = threads


class StandIn:
    """What `separate_file` takes for a separator: models in other processes.

    Batches are computed by the models `homes`, and by others while those are
    away. What was lost with a process or node is computed again. A batch of
    which processes die three times ends the film.

    Args:
        attributes, identity: what `Model.describe` told.
        models: `{name: actor of Model}`.
        homes: list of their names.
        board: actor of `Board`.
    """

    def __init__(self, attributes, identity, models, homes, board):
        vars(self).update(attributes)
        self.identity = identity
        self.batches_ahead = BATCHES_AT_A_MODEL * len(homes) - 1
        self.board, self._models, self._homes = board, models, homes
        self._waiting = dict.fromkeys(models, 0)
        self._away = {}  # {name: (not before, seconds until the next try)}

    def predict_on_batch(self, batch):
        """As a separator's, but at once: the dict comes by `result()`."""
        return _Answer(self, batch)

    def send(self, batch_id, batch):
        """Gives a batch to the model with the least to do: `(name, ref)`."""
        while not (there := [n for n in self._models if self._is_there(n)]):
            time.sleep(0.2)
        at_home = [name for name in self._homes if name in there]
        name = min(at_home or there, key=self._waiting.get)
        self._waiting[name] += 1
        return name, self._models[name].predict.remote(batch_id, batch)

    def _is_there(self, name):
        return self._away.get(name, (0, 0))[0] <= time.monotonic()

    def ask(self, name):
        """A reference to an answer that comes when a model has no more to do."""
        return self._models[name].is_idle.remote()

    def came(self, name):
        """A model has answered."""
        self._waiting[name] -= 1
        self._away.pop(name, None)

    def lost(self, name):
        """A model has not answered: it is left alone for a while."""
        self._waiting[name] -= 1
        now = time.monotonic()
        until, pause = self._away.get(name, (0, 0.5))
        if until <= now:  # else of the same death
            self._away[name] = now + pause, min(2 * pause, 60)


class _Answer:
    """A batch that a model computes."""

    def __init__(self, owner, batch):
        self._owner, self._id = owner, uuid.uuid4().hex
        self._batch = ray.put(batch)
        self._model, self._output = owner.send(self._id, self._batch)

    def _get(self):
        """What the model answers; `RayError` if that is lost.

        Ray can wait for ever for what was on a node that is gone. So the model
        is asked: it works in order, and if it is idle it has answered.
        """
        idle = None
        while True:
            try:
                return ray.get(self._output, timeout=_SECONDS_UNTIL_ASKED)
            except GetTimeoutError:
                if idle is None:
                    idle = self._owner.ask(self._model)
                elif ray.wait([idle], timeout=0)[0] and ray.get(idle):
                    raise

    def result(self):
        """Waits for the estimates, a dict of each stem's array."""
        owner, deaths = self._owner, 0
        for _ in range(_LOSSES):
            try:
                outputs = self._get()
                owner.came(self._model)
                return outputs
            except LoadingError as error:
                reason = str(error)  # another one may have the memory
            except (RayTaskError, TaskCancelledError) as error:
                raise getattr(error, "cause", None) or error from None
            except RayError as error:
                reason = str(error).splitlines()[0]
                blame = owner.board.blame.remote(self._model, self._id)
                deaths += ray.get(blame)
                if deaths == _DEATHS:
                    raise ModelDiedError(
                        f"{deaths} processes died that computed the same of "
                        "its chunks; is there too little memory?"
                    ) from error
            owner.lost(self._model)
            self._model, self._output = owner.send(self._id, self._batch)
        raise ModelDiedError(f"no model answers: {reason}")
