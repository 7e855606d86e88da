"""The queue: one job at a time, in a process that can be killed."""

import threading
import time

from keras_bandit.serve.child import Child, ChildDied
from keras_bandit.serve.jobs import DONE, FAILED, RUNNING
from keras_bandit.serve.worker import CANCEL, work

_SECONDS_BETWEEN_LOOKS = 0.5
_SECONDS_BETWEEN_CLEANINGS = 600.0
_SECONDS_TO_LET_GO = 5.0  # of a cancelled job, before its process is killed


class Runner:
    """Runs the jobs of a store in a thread of its own.

    Args:
        store: `JobStore`.
        models: dict of `Model`s.
        load: see `work`.
        max_seconds: float. Longer sound is a failure.
    """

    def __init__(self, store, models, load, max_seconds):
        self._store, self._models = store, models
        self._child = Child(work, load, max_seconds)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._current = None  # job that runs
        self._cancelled = None  # when it was cancelled, time.monotonic()
        self._stage, self._began = "", 0.0
        self._done = self._seconds = None
        self._speeds = {}  # of (model, quality): seconds of sound per second
        self._lock = threading.Lock()

    def start(self):
        """Begins to work."""
        self._thread.start()

    def stop(self):
        """Ends the thread and the process; the job that runs can be resumed."""
        self._stopping.set()
        self._child.kill()
        self._thread.join()
        self._child.kill()  # started between the two

    @property
    def pid(self):
        """Number of the process that computes; `None` if there was none yet."""
        return self._child.pid

    def cancel(self, job):
        """Removes a job at once.

        The process that works on it is told, and lets go of it after the batch
        that it computes, so that the model stays loaded. If that takes too long
        the process is killed.
        """
        with self._lock:
            if job is self._current and self._cancelled is None:
                self._cancelled = time.monotonic()
                self._child.tell(CANCEL)
            self._store.remove(job)

    def _loop(self):
        cleaned = 0.0
        while not self._stopping.is_set():
            if time.monotonic() - cleaned > _SECONDS_BETWEEN_CLEANINGS:
                self._store.expire()
                cleaned = time.monotonic()
            with self._lock:
                job = self._store.begin_next()
                self._current, self._cancelled = job, None
                self._stage, self._done, self._seconds = "loading", None, None
            if job is None:
                self._store.wait(_SECONDS_BETWEEN_LOOKS)
                continue
            values = self._run(job)
            with self._lock:
                self._current = None
            if not self._store.has(job):
                self._store.remove(job)  # what was written meanwhile
            if not self._stopping.is_set():
                self._store.change(job, ended=time.time(), **values)

    def _run(self, job):
        """Runs a job; returns what becomes of its attributes."""
        task = {
            "title": job.title,
            "request": job.request,
            "source": str(self._store.source(job)),
            "folder": str(self._store.path(job)),
            "has_picture": job.media["has_picture"],
        }
        model = self._models.get(job.request["model"])
        if model is None:
            return {
                "state": FAILED,
                "error": f"the model {job.request['model']} is not offered any "
                "more",
            }
        try:
            with self._lock:  # a job that is cancelled meanwhile is not begun
                if not self._store.has(job):
                    return {}
                quality = model.qualities.get(job.request["quality"], {})
                self._child.send(
                    {**task, "preset": model.preset, "quality": quality}
                )
            while True:
                kind, *values = self._receive()
                if kind == "stage":
                    self._done = self._seconds = None
                    self._stage, self._began = values[0], time.monotonic()
                elif kind == "progress":
                    self._done, self._seconds = values
                elif kind == "done":
                    return {"state": DONE, **values[0]}
                else:
                    return {"state": FAILED, "error": values[0]}
                self._learn_speed(job)
        except ChildDied as died:
            return {
                "state": FAILED,
                "error": f"the process that computes ended ({died}); perhaps "
                "the memory did not suffice",
            }
        except OSError as error:  # no further process, or half an answer
            return {"state": FAILED, "error": error.strerror or str(error)}

    def _receive(self):
        """What the process says; ends it if it does not let go of a job."""
        while True:
            try:
                return self._child.receive(_SECONDS_BETWEEN_LOOKS)
            except TimeoutError:
                since = self._cancelled
            if since and time.monotonic() - since > _SECONDS_TO_LET_GO:
                self._child.kill()

    def _learn_speed(self, job):
        elapsed = time.monotonic() - self._began
        if self._stage == "separating" and self._done and elapsed > 1:
            key = job.request["model"], job.request["quality"]
            self._speeds[key] = self._done / elapsed

    def _seconds_for(self, job, done=0.0):
        """How long a job will take, or `None` where nobody knows."""
        key = job.request["model"], job.request["quality"]
        seconds, speed = job.media["seconds"], self._speeds.get(key)
        if seconds is None or not speed:
            return None
        return max(seconds - done, 0) / speed

    def describe(self, job):
        """What the page is told of a job's progress, a dict.

        `ahead`: jobs that come first; `stage`: "loading", "separating" or
        "drawing"; `progress`: 0 to 1; `seconds_left`. The latter two are
        `None` where they are not known.
        """
        about = {"ahead": 0, "stage": "", "progress": None}
        about["seconds_left"] = None
        running = self._current
        done = self._done or 0.0
        if job.state == RUNNING and job is running:
            about["stage"] = self._stage
            seconds = self._seconds or job.media["seconds"]
            if self._stage != "loading" and seconds:
                about["progress"] = min(done / seconds, 1.0)
            if self._stage == "separating":
                about["seconds_left"] = self._seconds_for(job, done)
            return about
        waiting = self._store.waiting()
        if job in waiting:
            before = waiting[: waiting.index(job)]
            times = [self._seconds_for(other) for other in before]
            if running is not None:
                times.append(self._seconds_for(running, done))
            about["ahead"] = len(times)
            times.append(self._seconds_for(job))
            if None not in times:
                about["seconds_left"] = sum(times)
        return about
