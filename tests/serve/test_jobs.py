"""Jobs on the disk."""

import json

import pytest

from keras_bandit.serve.jobs import DONE, FAILED, RUNNING, WAITING, JobStore
from keras_bandit.serve.safety import Refused

pytestmark = pytest.mark.once

MEDIA = {"seconds": 1.0, "has_picture": False}


def add(store, title="film.wav"):
    with store.new_folder() as folder:
        (folder / "input").write_bytes(b"film")
        return store.add(folder, title, {"model": "a"}, MEDIA)


@pytest.fixture
def store(tmp_path):
    made = JobStore(tmp_path)
    yield made
    made.close()


def again(store):
    store.close()
    return JobStore(store.folder)


def test_jobs_outlive_the_server(store):
    first, second = add(store, "a"), add(store, "b")
    store.change(second, state=DONE, ended=2.0, files={"speech": "s.wav"})
    store = again(store)
    assert store.get(first.id) == first
    assert store.get(second.id) == second
    assert store.waiting() == [first]
    assert store.source(first).read_bytes() == b"film"
    store.close()


def test_the_first_comes_first_also_after_a_restart(store):
    jobs = [add(store, str(n)) for n in range(5)]
    assert store.begin_next() is jobs[0]
    store = again(store)
    # The one that ran begins again, before the others.
    begun = [store.begin_next().title for _ in jobs]
    assert begun == ["0", "1", "2", "3", "4"]
    assert store.begin_next() is None
    store.close()


def test_a_job_that_ends_the_server_thrice_is_not_begun_again(store):
    name = add(store).id
    for _ in range(3):
        assert store.begin_next().state == RUNNING
        store = again(store)
    job = store.get(name)
    assert job.state == FAILED
    assert "3 times" in job.error
    store.close()


def test_half_an_upload_leaves_nothing(store):
    def breaks_off():
        with store.new_folder() as folder:
            (folder / "input").write_bytes(b"half")
            raise ConnectionError

    with pytest.raises(ConnectionError):
        breaks_off()
    folder = store.folder / f".{'a' * 32}"  # of a server that was killed
    folder.mkdir()
    store = again(store)
    assert [p.name for p in store.folder.iterdir()] == [".lock"]
    store.close()


def test_a_removed_job_leaves_nothing_and_stays_away(store):
    job = add(store)
    store.begin_next()
    store.remove(job)
    assert [p.name for p in store.folder.iterdir()] == [".lock"]
    assert not store.change(job, state=DONE)
    with pytest.raises(Refused, match="no such job"):
        store.get(job.id)
    assert [p.name for p in store.folder.iterdir()] == [".lock"]


def test_jobs_expire_when_they_have_ended(tmp_path):
    store = JobStore(tmp_path, keep_days=1.0)
    old, new, waits = add(store), add(store), add(store)
    store.change(old, state=DONE, ended=1.0)
    store.change(new, state=DONE, ended=new.created)
    store.expire()
    left = {p.name for p in tmp_path.iterdir()} - {".lock"}
    assert left == {new.id, waits.id}
    store.close()


def test_a_queue_has_an_end(tmp_path):
    store = JobStore(tmp_path, most_waiting=2)
    add(store), add(store)
    with pytest.raises(Refused, match="too many"):
        add(store)
    assert len(list(tmp_path.iterdir())) == 3
    store.close()


def test_what_is_no_job_is_passed_over(store):
    job = add(store)
    (store.folder / "readme.txt").write_text("mine")
    for name, content in (
        ("a" * 32, "{"),
        ("b" * 32, "[]"),
        ("c" * 32, json.dumps({"id": "c" * 32})),
    ):
        (store.folder / name).mkdir()
        (store.folder / name / "job.json").write_text(content)
    store = again(store)
    assert store.waiting() == [job]
    assert job.state == WAITING
    assert (store.folder / "readme.txt").exists()
    store.close()


def test_a_folder_is_one_servers(store):
    with pytest.raises(BlockingIOError, match="another server"):
        JobStore(store.folder)
