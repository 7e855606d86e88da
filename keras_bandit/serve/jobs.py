"""Jobs: a folder each, so that a reload and a restart lose nothing.

`<id>/job.json` is the job, `input` what was uploaded (a file of the server
stays where it is), `stems/` what `separate_file` writes and `look/` what the
page draws and plays. A folder is filled under a hidden name: a job exists when
all of its upload is there.
"""

import contextlib
import dataclasses
import errno
import pathlib
import shutil
import sys
import threading
import time

import filelock

from keras_bandit.common.files import read_json, write_json
from keras_bandit.serve.safety import Refused, is_id, new_id

ASKING = "asking"  # which sound track is meant
WAITING, RUNNING = "waiting", "running"
DONE, FAILED = "done", "failed"

_MOST_STARTS = 3  # a job whose third start also ends the server is at fault
_SECONDS_OF_A_DAY = 86_400


@dataclasses.dataclass
class Job:
    """One file to separate.

    Args:
        id: str. Its folder, and its link.
        title: str. What the file is called; for people.
        request: dict, see `check_request`.
        media: dict, see `examine`.
        created, started, ended: float. Seconds since 1970, or `None`.
        source: str. Path of a file of the server; `None`: it was uploaded.
        state: one of `ASKING`, `WAITING`, `RUNNING`, `DONE` and `FAILED`.
        error: str. Why it failed, one line.
        warnings: list of lines.
        files: `{name: file}`, what may be downloaded of `stems/`.
        sounds: list of the names that can be played, in the page's order.
        starts: int. How often it was begun.
        mix: dict. The dB of each sound in the file `mix`, the last that was
            saved.
    """

    id: str
    title: str
    request: dict
    media: dict
    created: float
    source: str | None = None
    state: str = WAITING
    started: float | None = None
    ended: float | None = None
    error: str = ""
    warnings: list = dataclasses.field(default_factory=list)
    files: dict = dataclasses.field(default_factory=dict)
    sounds: list = dataclasses.field(default_factory=list)
    starts: int = 0
    mix: dict = dataclasses.field(default_factory=dict)


class JobStore:
    """The jobs of a folder. Its methods may be called by any thread.

    Args:
        folder: path, made if it does not exist. For one server at a time:
            another gets a `BlockingIOError`.
        keep_days: float. How long jobs that have ended are kept.
        most_waiting: int. How many jobs may wait.
    """

    def __init__(self, folder, keep_days=7.0, most_waiting=200):
        self.folder = pathlib.Path(folder).absolute()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._one = filelock.FileLock(self.folder / ".lock")
        try:
            self._one.acquire(timeout=0)
        except filelock.Timeout:
            reason = "another server keeps its jobs there"
            raise BlockingIOError(
                errno.EWOULDBLOCK, reason, str(self.folder)
            ) from None
        self.most_waiting = most_waiting
        self._keep_seconds = keep_days * _SECONDS_OF_A_DAY
        self._jobs = {}
        self._changed = threading.Condition(threading.RLock())
        for path in self.folder.iterdir():
            if path.name.startswith(".") and is_id(path.name[1:]):
                shutil.rmtree(path, ignore_errors=True)  # half an upload
            elif is_id(path.name):
                self._load(path)
        by_age = sorted(self._jobs.values(), key=lambda job: job.created)
        self._jobs = {job.id: job for job in by_age}

    def _load(self, path):
        """Takes a job over from a former server; one that ran waits again."""
        names = {field.name for field in dataclasses.fields(Job)}
        try:
            known = read_json(path / "job.json")
            job = Job(**{n: v for n, v in known.items() if n in names})
        except (OSError, TypeError, ValueError):
            return
        if job.id != path.name:
            return
        if job.state == RUNNING:
            job.state = WAITING
            if job.starts >= _MOST_STARTS:
                job.state, job.ended = FAILED, time.time()
                job.error = f"the server ended {job.starts} times meanwhile"
        self._jobs[job.id] = job

    def close(self):
        """Lets another server take over."""
        self._one.release()

    def path(self, job, *parts):
        """A path inside a job's folder."""
        return self.folder.joinpath(job.id, *parts)

    def source(self, job):
        """The path of a job's film or recording."""
        return pathlib.Path(job.source or self.path(job, "input"))

    @contextlib.contextmanager
    def new_folder(self):
        """A hidden folder for a job to be; goes if `add` does not take it."""
        self.check_room()
        folder = self.folder / f".{new_id()}"
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def check_room(self):
        """`Refused` if no further job can wait."""
        if len(self.waiting()) >= self.most_waiting:
            raise Refused("too many jobs wait already; try again later", 503)

    def add(self, folder, title, request, media, source=None):
        """Makes a job of a folder of `new_folder`, and returns it.

        Where there are several sound tracks and none is meant, it asks first.
        """
        with self._changed:
            self.check_room()
            created = time.time()
            name = folder.name[1:]
            job = Job(name, title, request, media, created, source)
            if len(media.get("tracks", ())) > 1 and request["track"] is None:
                job.state = ASKING
            write_json(folder / "job.json", dataclasses.asdict(job))
            folder.rename(self.folder / name)
            self._jobs[name] = job
            self._changed.notify_all()
        return job

    def get(self, name):
        """The job of a link, or `Refused`."""
        with self._changed:
            if name not in self._jobs:
                raise Refused("there is no such job, or it has expired", 404)
            return self._jobs[name]

    def has(self, job):
        """Whether a job is there still."""
        with self._changed:
            return self._jobs.get(job.id) is job

    def change(self, job, **values):
        """Sets attributes and keeps them; a job that is gone stays gone.

        Returns whether the job is there.
        """
        with self._changed:
            if not self.has(job):
                return False
            for name, value in values.items():
                setattr(job, name, value)
            try:
                write_json(self.path(job, "job.json"), dataclasses.asdict(job))
            except OSError as error:
                # A full disk loses what a restart would know, not the server.
                print(f"keras-bandit: {error}", file=sys.stderr, flush=True)
            return True

    def answer(self, job, media):
        """Lets a job that asks wait for its turn, with what was chosen.

        `Refused` if it does not ask any more.
        """
        with self._changed:
            if job.state != ASKING or not self.has(job):
                raise Refused("this job does not ask for a track", 409)
            request = {**job.request, "track": media["track"]}
            self.change(job, state=WAITING, media=media, request=request)
            self._changed.notify_all()

    def waiting(self):
        """Jobs that wait, the next one first."""
        with self._changed:
            return [j for j in self._jobs.values() if j.state == WAITING]

    def begin_next(self):
        """Begins the job that has waited longest; `None` if none waits."""
        with self._changed:
            job = next(iter(self.waiting()), None)
            if job is not None:
                starts = job.starts + 1
                self.change(
                    job, state=RUNNING, started=time.time(), starts=starts
                )
            return job

    def wait(self, timeout):
        """Waits so many seconds, or until a job has come."""
        with self._changed:
            if not self.waiting():
                self._changed.wait(timeout)

    def remove(self, job):
        """Takes a job away with all that belongs to it."""
        with self._changed:
            self._jobs.pop(job.id, None)
            # Renamed, so that no link leads there while files are removed.
            hidden = self.folder / f".{job.id}"
            with contextlib.suppress(OSError):
                self.path(job).rename(hidden)
        shutil.rmtree(hidden, ignore_errors=True)

    def expire(self):
        """Removes jobs that ended, or asked, long ago."""
        with self._changed:
            limit, old = time.time() - self._keep_seconds, []
            for job in self._jobs.values():
                ended = job.created if job.state == ASKING else job.ended
                if ended is not None and ended < limit:
                    old.append(job)
        for job in old:
            self.remove(job)
