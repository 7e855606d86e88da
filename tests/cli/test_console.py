"""Output that cannot be printed, or is held back."""

import io
import os
import sys

import pytest
from command_line import found, separate, write

from keras_bandit.cli.console import hidden_stderr


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


def test_held_back_messages_are_shown_with_an_error(capfd):
    def fail():
        with hidden_stderr():
            os.write(2, b"why\n")
            raise ImportError

    with pytest.raises(ImportError):
        fail()
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "why\nafterwards\n"
