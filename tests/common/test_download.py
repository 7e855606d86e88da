"""Downloads from a server that breaks off, has no ranges, or is not there."""

import builtins
import errno

import numpy as np
import pytest

from keras_bandit.common import download as module
from keras_bandit.common.download import BLOCK, download

from ..file_server import FileServer

pytestmark = pytest.mark.once

CONTENT = np.random.default_rng(0).bytes(3 * 10**6)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(module, "WAITS", (0, 0, 0))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server():
    with FileServer({"a.bin": CONTENT}) as server:
        yield server


@pytest.fixture
def fetch(server, tmp_path):
    """Downloads the file, checks it, and returns its path."""

    def run():
        path = tmp_path / "a.bin"
        download(f"{server.url}/a.bin", path)
        assert path.read_bytes() == CONTENT
        assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]

    return run


def test_a_file_is_fetched_once(fetch, server, capsys):
    fetch()
    fetch()
    assert server.requests == [("a.bin", None)]
    assert capsys.readouterr() == ("", "")  # no bar where there is no terminal


def test_a_broken_connection_is_taken_up(fetch, server):
    server.cuts = [20 * BLOCK, 10 * BLOCK + 7, 0]
    fetch()
    assert [wanted for _, wanted in server.requests] == [
        None,
        f"bytes={20 * BLOCK - 1}-",
        f"bytes={30 * BLOCK - 2}-",
        f"bytes={30 * BLOCK - 2}-",
    ]


def test_what_is_there_is_not_fetched_again(fetch, server, tmp_path):
    part = tmp_path / "a.bin.part"
    server.cuts = [10 * BLOCK, 0, 0, 0]
    with pytest.raises(ConnectionError, match=r"a\.bin cannot be fetched: "):
        fetch()
    assert part.read_bytes() == CONTENT[: 10 * BLOCK]
    fetch()
    assert server.requests[-1] == ("a.bin", f"bytes={10 * BLOCK - 1}-")
    # All of it, but for its name.
    (tmp_path / "a.bin").rename(part)
    fetch()
    assert server.requests[-1] == ("a.bin", "bytes=2999999-")


def test_a_server_without_ranges_begins_anew(fetch, server):
    server.ranges = False
    server.cuts = [1_000_000]
    fetch()
    assert len(server.requests) == 2


def test_what_is_longer_than_the_file_is_dropped(fetch, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(bytes(4 * 10**6))
    fetch()


def test_servers_that_are_busy_are_asked_again(fetch, server):
    server.statuses = [503, 429, 500]
    fetch()
    assert len(server.requests) == 4


def test_a_file_that_is_not_there(server, tmp_path):
    with pytest.raises(ConnectionError, match=r"b\.bin cannot be.*404 Client"):
        download(f"{server.url}/b.bin", tmp_path / "b.bin")
    assert len(server.requests) == 1
    assert list(tmp_path.iterdir()) == []


def test_no_network(server, tmp_path):
    with FileServer({}) as gone:
        url = f"{gone.url}/a.bin"
    with pytest.raises(ConnectionError, match=r"cannot be .*: .*refused"):
        download(url, tmp_path / "a.bin")
    with pytest.raises(ConnectionError, match=r"cannot be .*: .*nothing"):
        download("nothing/a.bin", tmp_path / "a.bin")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk(fetch, server, tmp_path, monkeypatch):
    class Full:
        """A file on a disk that is full after a megabyte."""

        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, block):
            if self.file.tell() + len(block) > 2**20:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.file.write(block)

    with monkeypatch.context() as full:
        opened = builtins.open
        full.setattr(
            module, "open", lambda *args: Full(opened(*args)), raising=False
        )
        with pytest.raises(OSError, match="No space left") as error:
            fetch()
    part = tmp_path / "a.bin.part"
    assert error.value.filename == str(part)
    assert part.stat().st_size == 2**20
    fetch()
    assert server.requests == [
        ("a.bin", None),
        ("a.bin", f"bytes={2**20 - 1}-"),
    ]
