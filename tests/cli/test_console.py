"""Output that cannot be printed."""

import io
import sys

import pytest

from .command_line import found, python, separate, write

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


def test_kill_cleans_up_as_ctrl_c_does(tmp_path):
    code = """
import argparse, os, pathlib, signal
from keras_bandit import cli
from keras_bandit.common.files import complete_files

def killed(args):
    path = pathlib.Path("speech.wav")
    with complete_files([path]) as temporary:
        temporary[path].write_text("half")
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()

parsed = argparse.Namespace(command=killed)
cli.build_parser = lambda: argparse.Namespace(parse_args=lambda _: parsed)
cli.run()
"""
    done = python("-c", code, cwd=tmp_path, timeout=60)
    assert (done.returncode, list(tmp_path.iterdir())) == (130, [])
    assert "interrupted" in done.stderr
