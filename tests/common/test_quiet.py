"""Standard error, held back and shown."""

import os
import subprocess
import sys
import threading

import pytest

from keras_bandit.common.quiet import hidden_stderr, quiet_tensorflow

pytestmark = pytest.mark.once


def test_held_back_messages_are_shown_with_an_error(capfd):
    def fail():
        with hidden_stderr():
            os.write(2, b"why\n")
            raise ImportError

    with hidden_stderr():
        os.write(2, b"a note\n")
    with pytest.raises(ImportError):
        fail()
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "why\nafterwards\n"


def test_threads_give_standard_error_back(capfd):
    def hide(turn):
        for _ in range(20):
            with hidden_stderr():
                os.write(2, b"a note\n")
        turn.wait(5)

    barrier = threading.Barrier(4)
    threads = [threading.Thread(target=hide, args=[barrier]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "afterwards\n"


def test_closed_standard_error_stays_closed():
    code = "import os; os.close(2)\n"
    code += "from keras_bandit.common.quiet import hidden_stderr\n"
    code += "with hidden_stderr(): print('done')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "done\n"


@pytest.mark.parametrize("level", [None, "3", "0"])
def test_tensorflow_is_quiet_unless_the_user_wants_its_messages(
    monkeypatch, capfd, level
):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", level or "")
    if level is None:
        del os.environ["TF_CPP_MIN_LOG_LEVEL"]
    with quiet_tensorflow():
        os.write(2, b"no GPU\n")
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == (level or "3")
    assert capfd.readouterr().err == ("no GPU\n" if level == "0" else "")
