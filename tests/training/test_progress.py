"""The line after each epoch."""

import io
import re

import pytest

from keras_bandit.training.progress import Progress, format_seconds


class Clock:
    """Time that passes when told to."""

    now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("keras_bandit.training.progress.time", clock)
    return clock


class Terminal(io.StringIO):
    def isatty(self):
        return True


def run(progress, clock, seconds, start=0):
    progress.set_params({"steps": 2})
    progress.on_train_begin()
    for epoch, pace in enumerate(seconds, start):
        progress.on_epoch_begin(epoch)
        for step in range(2):
            clock.now += pace / 2
            progress.on_train_batch_end(step, {"loss": 1.5})
        progress.on_epoch_end(epoch, {"loss": 1.5, "val_si_snr": 7.25})


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00:00"),
        (59.6, "0:01:00"),
        (3723.4, "1:02:03"),
        (1e6, "277:46:40"),
    ],
)
def test_format_seconds(seconds, text):
    assert format_seconds(seconds) == text


def test_one_line_per_epoch(clock):
    file = io.StringIO()
    run(Progress(10, file), clock, [60, 10, 20])
    lines = file.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("epoch  1/10  loss 1.500  val_si_snr 7.250")
    # 7 epochs at 15 s, the first, which compiles, left out.
    assert lines[2].endswith("elapsed 0:01:30  left 0:01:45")


def test_no_time_left_after_the_last_epoch(clock):
    file = io.StringIO()
    run(Progress(2, file), clock, [10, 10])
    assert file.getvalue().endswith("left 0:00:00\n")


def test_elapsed_time_of_former_starts_counts(clock):
    before = Progress(10, io.StringIO())
    run(before, clock, [60])
    file = io.StringIO()
    after = Progress(10, file)
    after.set_state(before.get_state())
    run(after, clock, [30], start=1)
    assert "epoch  2/10" in file.getvalue()
    assert "elapsed 0:01:30" in file.getvalue()


def test_steps_are_counted_on_a_terminal(clock):
    file = Terminal()
    run(Progress(1, file), clock, [10])
    text = file.getvalue()
    assert "step 1/2  loss 1.5" in text
    assert text.count("\n") == 1
    # What is left on the screen is the last line alone.
    assert re.search(r"\r\x1b\[Kepoch 1/1 .*\n$", text)
