"""The time after each epoch."""

import pytest

from keras_bandit.training.callbacks import Progress

# The callback is the same on every backend.
pytestmark = pytest.mark.once


class Clock:
    """Time that passes when told to."""

    now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("keras_bandit.training.callbacks.time", clock)
    return clock


def run(progress, clock, seconds, epochs, start=0):
    progress.set_params({"verbose": 2, "epochs": epochs, "steps": 2})
    progress.on_train_begin()
    for epoch, pace in enumerate(seconds, start):
        progress.on_epoch_begin(epoch)
        clock.now += pace
        progress.on_train_batch_end(1, {"loss": 1.5})
        progress.on_epoch_end(epoch, {"loss": 1.5, "val_si_snr": 7.25})


def test_keras_lines_and_the_time(clock, capsys):
    run(Progress(), clock, [60, 10, 20], epochs=10)
    lines = capsys.readouterr().out.splitlines()
    assert lines[6] == "Epoch 3/10"
    assert lines[7].startswith("2/2 - ")
    assert lines[7].endswith(" - loss: 1.5000 - val_si_snr: 7.2500")
    # 7 epochs at 15 s, without the first, which compiles.
    assert lines[8:] == ["elapsed 01:30  left 01:45"]


def test_no_time_is_left_after_the_last_epoch(clock, capsys):
    run(Progress(), clock, [4000, 10], epochs=2)
    assert capsys.readouterr().out.endswith("elapsed 1:06:50  left 00:00\n")


def test_time_of_former_starts_counts(clock, capsys):
    before = Progress()
    run(before, clock, [60], epochs=10)
    after = Progress()
    after.set_state(before.get_state())
    run(after, clock, [30], epochs=10, start=1)
    out = capsys.readouterr().out
    assert "Epoch 2/10" in out
    assert out.endswith("elapsed 01:30  left 04:00\n")
