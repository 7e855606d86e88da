"""Output that cannot be printed."""

import io
import sys

import pytest

from .command_line import found, separate, write

pytestmark = pytest.mark.once


class FullDisk(io.StringIO):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def flush(self):
        raise self.error


FULL = OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (FULL, "keras-bandit: error: standard output: No space left\n"),
        (BrokenPipeError(32, "Broken pipe"), ""),
    ],
)
def test_output_that_cannot_be_printed(
    model, capsys, monkeypatch, error, message
):
    write("a.wav")
    write("b.wav")
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", FullDisk(error))
        assert separate("a.wav", "b.wav") == 1
    assert capsys.readouterr().err.replace(" on device", "") == message
    assert len(found("separated")) == 6
    assert separate("a.wav", "--quiet", "--overwrite") == 0
