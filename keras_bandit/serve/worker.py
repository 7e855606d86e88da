"""The process that holds the model: a job in, `separate_file`, files out."""

import contextlib
import os
import pathlib
import signal
import sys
import traceback

from keras_bandit.serve.choices import separation_options
from keras_bandit.serve.look import draw
from keras_bandit.serve.probe import too_long

CANCEL = "cancel"
"""Tells the process to let go of its job; where it has none, nothing."""


class _Cancelled(Exception):
    """Nobody wants the job any more."""


class _Models:
    """One model in memory, and what of it computes a choice of stems."""

    def __init__(self, load):
        self._load, self._name, self._selections = load, None, {}

    def get(self, name):
        if name != self._name:
            self._selections.clear()  # the former model goes first
            self._name = None
            self._selections[None] = self._load(name)
            self._name = name
        return self._selections[None]

    def select(self, stems):
        """The model for these stems: each selection is compiled once."""
        whole, key = self._selections[None], tuple(stems)
        if list(stems) == list(whole.stems):
            return whole
        if key not in self._selections:
            self._selections[key] = whole.with_stems(stems)
        return self._selections[key]


def _separate(task, models, max_seconds, pipe):
    from keras_bandit.inference.files import check_file, separate_file
    from keras_bandit.media.audio import AudioFileError

    source, folder = pathlib.Path(task["source"]), pathlib.Path(task["folder"])
    pipe.send(("stage", "loading"))
    separator = models.get(task["preset"])
    options = {
        **separation_options(task["request"], task["has_picture"]),
        **task["quality"],
        "title": task["title"],
        # A job that was killed after its last file was renamed has them all.
        "overwrite": True,
        "resume": True,
    }
    output = folder / "stems"
    file = check_file(source, output, separator, **options)
    separator = models.select(file.choice.computed)
    pipe.send(("stage", "separating"))

    def tell(done, seconds):
        if pipe.poll() and pipe.recv() == CANCEL:
            raise _Cancelled
        pipe.send(("progress", done, seconds))

    def progress(done, seconds):
        # Its header had announced less. Sums of blocks' lengths are rounded.
        if done > max_seconds + 0.001:
            raise AudioFileError(f"{source}: {too_long(done, max_seconds)}")
        tell(done, seconds)

    done = separate_file(source, output, separator, progress, **options)
    pipe.send(("stage", "drawing"))
    track = options["audio_track"]
    sounds = draw(source, done.sound_paths, folder / "look", track, tell)
    return {
        "files": {name: path.name for name, path in done.paths.items()},
        "sounds": sounds,
        "warnings": [
            line.replace(str(source), task["title"]).replace(f"{output}/", "")
            for line in done.warnings
        ],
    }


def work(pipe, load, max_seconds):
    """Separates what comes through a pipe until that ends.

    Args:
        pipe: connection. Takes dicts, and `CANCEL`; gives `("stage", name)`,
            `("progress", done, seconds)`, and at last `("done", dict)` or
            `("failed", line)`.
        load: function of a module, or partial of one: a separator of a
            preset.
        max_seconds: float. Longer sound is a failure.
    """
    # Ctrl-C is for the server, which then ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(AttributeError, OSError):
        os.nice(5)  # the page goes first
    models = _Models(load)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            if (task := pipe.recv()) == CANCEL:
                continue  # came when the job was done already
            try:
                answer = "done", _separate(task, models, max_seconds, pipe)
            except BrokenPipeError:
                raise
            except _Cancelled:
                answer = "failed", "cancelled"
            except MemoryError:
                answer = "failed", "too large for this machine's memory"
            except Exception as error:
                answer = "failed", _line(error, task)
            pipe.send(answer)


def _line(error, task):
    """What is said of an error: paths of the server are nobody's business."""
    from keras_bandit.common.one_line import one_line
    from keras_bandit.media.audio import AudioFileError

    known = AudioFileError, FloatingPointError, OSError, ValueError
    if not isinstance(error, known):
        traceback.print_exception(error, file=sys.stderr)
        return "a mistake of this program; the server's output has its trace"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    line = one_line(error).replace(task["source"], task["title"])
    return line.replace(f"{task['folder']}{os.sep}", "")
