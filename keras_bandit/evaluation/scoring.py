"""The scores of tracks: their targets, the oracles and the model."""

import collections
import concurrent.futures
import functools
import operator
import threading

import soundfile

from keras_bandit.data.stem_reader import mixture_sources
from keras_bandit.evaluation.oracles import oracle_estimate
from keras_bandit.evaluation.plan import MIXTURE, MODEL, stem_name
from keras_bandit.evaluation.scores import score
from keras_bandit.inference.separation import check_audio

TRACK_ERRORS = (
    ValueError,
    OSError,
    FloatingPointError,
    soundfile.LibsndfileError,
)
"""Raised by a track that cannot be read, separated or scored. Any other error
(no memory, a fault of ours) ends the evaluation."""


def _sum(signals):
    return functools.reduce(operator.add, signals)


def read_mixture(track):
    """A whole track's mixture, as stored or else the sum of the stems."""
    return _sum(track.read(stem) for stem in mixture_sources(track))


def estimates_of(outputs, plan):
    """Estimates of `plan.scored` from the model's `{stem: audio}`."""
    outputs = {stem_name(stem): audio for stem, audio in outputs.items()}
    return {
        name: _sum(outputs[part] for part in plan.composites.get(name, [name]))
        for name in plan.scored
    }


def score_track(track, estimates, plan):
    """Scores of the model's estimates `{name: (channels, samples)}` and oracles.

    `{row: {score: {name: float}}}` in dB, NaN where it isn't defined.
    """
    mixture, targets = read_mixture(track), {}
    for name, parts in plan.targets_in(track).items():
        target = _sum(track.read(part) for part in parts)
        try:
            targets[name] = check_audio(target, track.sample_rate)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        if estimates[name].shape != target.shape:
            raise ValueError(
                f"estimate of {name} has shape {estimates[name].shape}, its "
                f"target {target.shape}"
            )

    def estimate(row, name):
        if row == MODEL:
            return estimates[name]
        if row == MIXTURE:
            return mixture
        return oracle_estimate(row, mixture, targets[name])

    return {
        row: score(
            plan.metrics,
            targets,
            {name: estimate(row, name) for name in targets},
            plan.sources,
            track.sample_rate,
        )
        for row in plan.rows
    }


def score_all(tracks, estimate, plan, num_workers):
    """Separates and scores tracks: yields `(track, scores, error)` in order.

    `estimate` is a function of a track; one of scores and error is `None`.
    `num_workers` tracks are scored, with their estimates in memory, while the
    next one is separated. NumPy computes most of a score without Python's
    lock: two threads took no longer than two processes, and share the audio.
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
        waiting.append((track, _start(score_track, track, estimates, plan)))
        del estimates
        while waiting and (len(waiting) > num_workers or waiting[0][1].done()):
            yield finish()
    while waiting:
        yield finish()


def _start(function, *args):
    """Runs a function in a thread; returns its future."""
    future = concurrent.futures.Future()

    def run():
        try:
            future.set_result(function(*args))
        except BaseException as error:
            future.set_exception(error)

    # Ctrl-C would wait for the threads of an executor.
    threading.Thread(target=run, daemon=True).start()
    return future
