"""Many films on Ray: which film is separated when, and by which models."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import math
import os
import socket
import time
import uuid

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from keras_bandit.bulk.films import find_done, separate_film
from keras_bandit.bulk.manifest import Film
from keras_bandit.bulk.models import (
    Board,
    LoadingError,
    Model,
    ModelDiedError,
    StandIn,
)
from keras_bandit.common.one_line import one_line
from keras_bandit.inference.options import STEM_OPTIONS

GPUS_PER_FILM = 0.25
RETRIES = 3
_FILMS_PER_MODEL = 2  # one begins or ends while the other one is computed
_MOST_HOMES = 8  # models of one film: so many batches it has in memory
_SECONDS_FOR_OTHER_MODELS = 60.0
_SECONDS_BETWEEN_LOOKS = 5.0  # at the cluster


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of a film.

    Args:
        film: `Film`.
        record: dict, what `separate_film` returned; `None` if it failed.
        reason: str, why it failed; `None` if it did not.
        skipped: bool. Whether it had been done before.
    """

    film: Film
    record: dict | None = None
    reason: str | None = None
    skipped: bool = False


@contextlib.contextmanager
def connected(address=None):
    """Joins a Ray cluster, or starts Ray on this machine (`address=None`).

    Nothing is reported to Ray's makers, and no dashboard is started.
    `ConnectionError` if there is no such cluster.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    own = {"include_dashboard": False} if address is None else {}
    if address is not None:
        _check_address(address)
    ray.init(address or "local", log_to_driver=False, logging_level=40, **own)
    try:
        yield
    finally:
        ray.shutdown()


def _check_address(address):
    """`ConnectionError` at once where Ray would try for minutes."""
    host, _, port = address.rpartition("/")[2].rpartition(":")
    if not port.isdecimal():  # "auto"
        return
    try:
        socket.create_connection((host, int(port)), 5).close()
    except (OSError, OverflowError) as error:
        raise ConnectionError(f"no Ray at {address}: {error}") from error


def skip_done(films, plan):
    """What needs no model: `Result` of films that are done or refused."""

    def look(film):
        try:
            record = find_done(film, plan)
        except (OSError, ValueError) as error:
            return Result(film, reason=one_line(error))
        return record and Result(film, record, skipped=True)

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        return list(filter(None, pool.map(look, films)))


class NoModelError(RuntimeError):
    """No model can be loaded; the message says why."""


@dataclasses.dataclass
class _Actor:
    """A `Model` on the cluster."""

    handle: object
    answer: object = None  # of `Model.describe`, if that was asked for
    node: str | None = None  # None while it is not there
    was_there: bool = False
    tries: int = 0  # to load it, the first time
    refused: str | None = None  # why it is never used
    films: int = 0  # that are at home here


class _Models:
    """As many models as the cluster holds, and which of them are there."""

    def __init__(self, load, stem_options, board, cpus, gpus, most):
        self._arguments = load, stem_options
        self._board, self._most = board, most
        self._cpus, self._gpus = cpus, gpus
        self.actors = {}
        self.attributes = self.identity = None
        self._looked = -math.inf
        self._first = math.inf  # when the first one was there

    def there(self):
        """Names of models that are loaded, those with the fewest films first."""
        names = [name for name, a in self.actors.items() if a.node]
        return sorted(names, key=lambda name: self.actors[name].films)

    def may_begin(self):
        """Whether those that are there need not wait for others.

        A film that begins now is not spread over models that come later.
        """
        if time.monotonic() - self._first > _SECONDS_FOR_OTHER_MODELS:
            return True
        return all(a.was_there or a.refused for a in self.actors.values())

    def look(self):
        """Takes in what changed: nodes that came or went, models loaded."""
        now = time.monotonic()
        if now - self._looked > _SECONDS_BETWEEN_LOOKS:
            self._looked = now
            self._look_at_nodes()
        asked = {a.answer: a for a in self.actors.values() if a.answer}
        if asked:
            # All that have answered by now.
            done, _ = ray.wait(
                list(asked), num_returns=len(asked), timeout=0.01
            )
            for answer in done:
                self._take_in(asked[answer])

    def _look_at_nodes(self):
        nodes = {n["NodeID"]: n["Resources"] for n in ray.nodes() if n["Alive"]}
        kind, share = ("GPU", self._gpus) if self._gpus else ("CPU", self._cpus)
        room = sum(int(x.get(kind, 0) / share + 1e-6) for x in nodes.values())
        if not (self._most or room or self.actors):
            raise NoModelError(f"no machine has {share:g} {kind} for a model")
        for n in range(len(self.actors), self._most or room):
            actor = ray.remote(Model).options(
                num_cpus=0 if self._gpus else self._cpus,
                num_gpus=self._gpus,
                max_restarts=-1,
                max_task_retries=0,
            )
            limits = self._board, self._cpus, self._gpus
            name = f"model {n}"
            made = actor.remote(*self._arguments, name, *limits)
            self.actors[name] = _Actor(made)
        for actor in self.actors.values():
            if actor.node not in nodes:
                actor.node = None
            if not (actor.node or actor.answer or actor.refused):
                actor.answer = actor.handle.describe.remote()

    def _take_in(self, actor):
        answer, actor.answer = actor.answer, None
        try:
            attributes, identity, node = ray.get(answer)
        except LoadingError as error:
            actor.refused = str(error.cause)
        except RayError as error:  # killed as it was loaded, or restarting
            actor.tries += 1
            if actor.tries > RETRIES and not actor.was_there:
                actor.refused = str(error).splitlines()[0]
        else:
            self.attributes = self.attributes or attributes
            self.identity = self.identity or identity
            if identity == self.identity:
                actor.node, actor.was_there = node, True
                self._first = min(self._first, time.monotonic())
            else:
                actor.refused = "its node has another model or other versions"
        if actor.refused:
            ray.kill(actor.handle)
        if all(actor.refused for actor in self.actors.values()):
            raise NoModelError(actor.refused)


def _separate_film(film, plan, attributes, identity, models, homes, board):
    """The task of a film."""
    separator = StandIn(attributes, identity, models, homes, board)
    shown = time.monotonic()

    def progress(done, _):
        nonlocal shown
        if time.monotonic() - shown > 1:
            shown = time.monotonic()
            board.show.remote(film.name, done)

    return separate_film(film, plan, separator, progress)


class Bulk:
    """Separates films on the Ray that this process is connected to.

    Args:
        films: list of `Film`, each with another name.
        plan: `Plan`.
        load: function without arguments that returns a separator. Called in
            the models' processes: it is pickled.
        cpus, gpus: float. A model has so many GPUs; where there are none, or
            with `gpus=0`, so many processors. With GPUs, a film has so many
            processors beside. `gpus=None`: `GPUS_PER_FILM` if there is a GPU.
        models: int. How many models; `None`: as many as there is room for.
        retries: int. How often a film begins again whose process died.

    Attributes:
        running: dict of tasks under way: `{ref: (film, deaths, homes)}`.
        refused: list of models that are not used, each with the reason.
    """

    def __init__(
        self, films, plan, load, cpus=1, gpus=None, models=None, retries=RETRIES
    ):
        if gpus is None:
            gpus = GPUS_PER_FILM * bool(ray.cluster_resources().get("GPU"))
        if not (gpus or cpus):
            raise ValueError("a model needs a part of a GPU or of a processor")
        self._waiting = collections.deque((film, 0) for film in films)
        self._plan, self._retries = plan, retries
        self._cpus_of_film = cpus if gpus else 0
        # By name, since a reference would not outlive a model's restart.
        board_name = f"board {uuid.uuid4().hex}"
        # Where this process is: without it there is nothing to tell.
        here = ray.get_runtime_context().get_node_id()
        board = ray.remote(Board).options(
            name=board_name,
            num_cpus=0,
            max_restarts=-1,
            scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=True),
        )
        self._board = board.remote()
        stem_options = {
            name: plan.options[name]
            for name in STEM_OPTIONS
            if name in plan.options
        }
        self._models = _Models(
            load, stem_options, board_name, cpus, gpus, models
        )
        self.running = {}

    @property
    def refused(self):
        actors = self._models.actors.items()
        return [f"{name}: {a.refused}" for name, a in actors if a.refused]

    def models(self):
        """Names of the models that are there."""
        return self._models.there()

    def seconds_done(self):
        """`{name: seconds}` of the films that are being separated."""
        shown = ray.get(self._board.films.remote())
        names = [film.name for film, *_ in self.running.values()]
        return {name: shown.get(name, 0.0) for name in names}

    def results(self):
        """Yields a `Result` for each film, and `None` about once a second.

        Raises `NoModelError` if no model can be loaded.
        """
        try:
            while self._waiting or self.running:
                self._models.look()
                self._begin_some()
                if self.running:
                    done, _ = ray.wait(list(self.running), timeout=1.0)
                    yield from filter(None, map(self._end, done))
                else:
                    time.sleep(0.1)
                yield None
        finally:
            # References are no measure: idle processes keep some.
            for ref in self.running:
                ray.cancel(ref, force=True)
            for actor in self._models.actors.values():
                ray.kill(actor.handle)
            ray.kill(self._board)

    def _begin_some(self):
        most = _FILMS_PER_MODEL * len(self._models.there())
        while (
            self._waiting
            and len(self.running) < most
            and self._models.may_begin()
        ):
            self._begin()

    def _begin(self):
        models, (film, deaths) = self._models, self._waiting.popleft()
        there = models.there()
        films = len(self._waiting) + len(self.running) + 1
        share = min(math.ceil(len(there) / films), _MOST_HOMES)
        homes = there[:share]
        for name in homes:
            models.actors[name].films += 1
        # Beside its model: what goes between them is in shared memory.
        node = models.actors[homes[0]].node
        task = ray.remote(_separate_film).options(
            num_cpus=self._cpus_of_film,
            max_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=True),
        )
        handles = {
            name: actor.handle
            for name, actor in models.actors.items()
            if not actor.refused
        }
        ref = task.remote(
            film,
            self._plan,
            models.attributes,
            models.identity,
            handles,
            homes,
            self._board,
        )
        self.running[ref] = film, deaths, homes

    def _end(self, ref):
        """The `Result` of a task; `None` if its film begins again."""
        film, deaths, homes = self.running.pop(ref)
        for name in homes:
            self._models.actors[name].films -= 1
        try:
            return Result(film, ray.get(ref))
        except RayError as error:
            cause = getattr(error, "cause", None)
            # In a task, Ray's own errors are those of processes that died.
            if isinstance(error, RayTaskError) and not isinstance(
                cause, RayError
            ):
                return Result(film, reason=_reason(cause))
            if deaths < self._retries:
                self._waiting.appendleft((film, deaths + 1))
                return None
            reason = str(error).splitlines()[0]
            return Result(
                film, reason=f"its process died {deaths + 1} times: {reason}"
            )


def _reason(error):
    """Why a film failed, in one line; a bug's begins with its class."""
    known = OSError, ValueError, FloatingPointError, ModelDiedError
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    kind = "" if isinstance(error, known) else f"{type(error).__name__}: "
    return kind + one_line(error)
