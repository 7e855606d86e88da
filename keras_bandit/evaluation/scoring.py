"""Scoring tracks one after the other, here or in other processes."""

import collections
import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading

import soundfile

from keras_bandit.evaluation.plan import score_track

TRACK_ERRORS = (
    ValueError,
    OSError,
    FloatingPointError,
    soundfile.LibsndfileError,
)
"""What a track that cannot be read, separated or scored raises. Whatever else
is raised (no memory, a fault of ours) ends the evaluation."""


@contextlib.contextmanager
def workers(num_workers):
    """Gives a function that runs a function, and returns its future."""
    if not num_workers:
        yield _run_here
        return
    # A fork of a process with threads and a GPU may hang.
    pool = concurrent.futures.ProcessPoolExecutor(
        num_workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
    )
    try:
        yield pool.submit
    except concurrent.futures.BrokenExecutor as error:
        raise RuntimeError(
            "a scoring process died (out of memory?); the tracks done so far "
            f"are kept: run again with fewer than num_workers={num_workers}"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker():
    # Ctrl-C reaches workers too; one message, the main process's, will do.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    """Ends this process when the main one is gone, even if it was killed.

    Otherwise it would wait for tracks for ever.
    """
    multiprocessing.parent_process().join()
    os._exit(1)


def _run_here(function, *args):
    future = concurrent.futures.Future()
    try:
        future.set_result(function(*args))
    except TRACK_ERRORS as error:
        future.set_exception(error)
    return future


def score_all(tracks, estimate, plan, submit, num_workers):
    """Separates and scores tracks, in their order.

    At most `num_workers` tracks wait with their estimates in memory while
    the next one is separated.

    Yields:
        `(track, scores, error)`; one of the latter is `None`.
    """
    waiting = collections.deque()

    def finish():
        track, future = waiting.popleft()
        try:
            return track, future.result(), None
        except TRACK_ERRORS as error:
            return track, None, error

    for track in tracks:
        try:
            estimates = estimate(track)
        except TRACK_ERRORS as error:
            yield track, None, error
            continue
        waiting.append((track, submit(score_track, track, estimates, plan)))
        del estimates
        while waiting and (len(waiting) > num_workers or waiting[0][1].done()):
            yield finish()
    while waiting:
        yield finish()
