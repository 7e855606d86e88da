"""Standard error without the notes that C libraries write there."""

import contextlib
import io
import os
import sys
import tempfile
import threading

_LEVEL = "TF_CPP_MIN_LOG_LEVEL"

# Two threads that both replaced the stream could put back the other's file.
_lock = threading.RLock()


@contextlib.contextmanager
def hidden_stderr():
    """Holds back what is written to standard error, by C and C++ too.

    For libraries that write notes there and report errors otherwise. Yields
    the open file that holds the text. If the block raises an exception, the
    text is shown after all. Standard error belongs to the whole process: other
    threads are held back too, and wait if they enter such a block themselves.
    """
    with _lock:
        try:
            stderr = os.dup(2)
        except OSError:  # closed: nothing to hide
            yield io.BytesIO()
            return
        if sys.stderr is not None:
            sys.stderr.flush()
        with tempfile.TemporaryFile() as held:
            os.dup2(held.fileno(), 2)
            try:
                yield held
            except Exception:
                held.seek(0)
                os.write(stderr, held.read())
                raise
            finally:
                os.dup2(stderr, 2)
                os.close(stderr)


@contextlib.contextmanager
def quiet_tensorflow():
    """A block in which TensorFlow is imported without its start messages.

    `TF_CPP_MIN_LOG_LEVEL=3`, which this sets for good, silences all but those
    on missing GPUs (TensorFlow 2.21, `cudart_stub.cc`): standard error is held
    back for these. If the user has set a lower level, nothing is hidden.
    """
    if os.environ.setdefault(_LEVEL, "3") != "3":
        yield
        return
    with hidden_stderr():
        yield
