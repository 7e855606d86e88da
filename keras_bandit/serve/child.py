"""A process that takes messages over a pipe; a dead one is replaced."""

import contextlib
import multiprocessing
import os
import threading


class ChildDied(Exception):
    """The process ended before it answered; the message says how."""


def _end_with_parent():
    """A server that is killed leaves nothing behind that works on a job."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _begin(target, *args):
    threading.Thread(target=_end_with_parent, daemon=True).start()
    target(*args)


class Child:
    """Runs `target(connection, *args)` in a process of its own when needed.

    The process is spawned, not forked: it inherits no threads and no locks.

    Args:
        target: function of a module.
        args: what it is given, pickled.
    """

    def __init__(self, target, *args):
        self._target, self._args = target, args
        self._lock = threading.Lock()
        self._process = self._pipe = None

    @property
    def pid(self):
        """Number of the process; `None` if there was none yet."""
        with self._lock:
            return self._process and self._process.pid

    def send(self, message):
        """Sends a message, to a new process if there is none."""
        with self._lock:
            if self._process is None or not self._process.is_alive():
                self._start()
            pipe = self._pipe
        try:
            pipe.send(message)
        except OSError:
            raise self._died() from None

    def _start(self):
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(
            target=_begin, args=(self._target, theirs, *self._args), daemon=True
        )
        self._process.start()
        theirs.close()  # so that the pipe breaks when the process ends

    def tell(self, message):
        """Sends a message if there is a process, and starts none."""
        with self._lock, contextlib.suppress(OSError):
            if self._process is not None and self._process.is_alive():
                self._pipe.send(message)

    def receive(self, timeout=None):
        """The next message.

        Raises:
            TimeoutError: if none comes within so many seconds.
            ChildDied: if the process ended.
        """
        with self._lock:
            pipe = self._pipe
        try:
            if timeout is not None and not pipe.poll(timeout):
                raise TimeoutError
            return pipe.recv()
        except (EOFError, ConnectionError):
            raise self._died() from None

    def _died(self):
        with self._lock:
            self._process.join(5)
            code = self._process.exitcode
        return ChildDied(
            f"signal {-code}" if code and code < 0 else f"status {code}"
        )

    def kill(self):
        """Ends the process at once, whatever it does; `send` starts another."""
        with self._lock:
            if self._process is not None:
                self._process.kill()
                self._process.join()
