"""One line per epoch, with the time that is left."""

import sys
import time

import keras

# Shown in this order where the logs have them.
COLUMNS = ("loss", "val_loss", "si_snr", "val_si_snr", "snr", "val_snr")


def format_seconds(seconds):
    """`3723.4` as `1:02:03`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


class Progress(keras.callbacks.Callback):
    """Prints a line after each epoch: losses, scores, time, time left.

    On a terminal the line of the current epoch counts the steps. Time left is
    that of the epochs to come at the mean pace of this process, without its
    first epoch, which compiles; early stopping may end sooner.

    Args:
        epochs: int. The last epoch's number, from 1.
        file: text stream, default standard output.
    """

    def __init__(self, epochs, file=None):
        super().__init__()
        self.epochs = epochs
        self.file = file or sys.stdout
        self.seconds_before = 0.0
        self._ends = []

    def _elapsed(self):
        return self.seconds_before + time.monotonic() - self._start

    def seconds_left(self, epoch):
        """Time for the epochs after this one, `None` before it is known."""
        paces = [
            b - a for a, b in zip(self._ends, self._ends[1:], strict=False)
        ]
        # The first pace is that of the epoch that compiles.
        paces = paces[1:] or paces
        if not paces:
            return None
        return sum(paces) / len(paces) * (self.epochs - epoch - 1)

    def on_train_begin(self, logs=None):
        self._start = time.monotonic()
        self._ends = [self._start]

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        self._drawn = 0.0

    def on_train_batch_end(self, batch, logs=None):
        now = time.monotonic()
        if not self.file.isatty() or now - self._drawn < 1:
            return
        self._drawn = now
        steps = self.params.get("steps") or "?"
        loss = f"{float((logs or {}).get('loss', float('nan'))):.4g}"
        line = (
            f"{self._label(self._epoch)}  step {batch + 1}/{steps}  loss {loss}"
        )
        print(f"\r{line}", end="", file=self.file, flush=True)

    def _label(self, epoch):
        width = len(str(self.epochs))
        return f"epoch {epoch + 1:{width}}/{self.epochs}"

    def on_epoch_end(self, epoch, logs=None):
        self._ends.append(time.monotonic())
        logs = logs or {}
        values = [f"{n} {float(logs[n]):.3f}" for n in COLUMNS if n in logs]
        left = self.seconds_left(epoch)
        times = [f"elapsed {format_seconds(self._elapsed())}"]
        if left is not None:
            times.append(f"left {format_seconds(left)}")
        line = "  ".join([self._label(epoch), *values, *times])
        # Clears what is left of the counting line.
        start = "\r\x1b[K" if self.file.isatty() else ""
        print(f"{start}{line}", file=self.file, flush=True)

    def get_state(self):
        return {"seconds": self._elapsed()}

    def set_state(self, state):
        self.seconds_before = state["seconds"]
