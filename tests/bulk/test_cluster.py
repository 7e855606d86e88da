"""A cluster of node processes: what dies is made good, what is written is exact.

Beside each film: the bytes that `separate_file` writes alone.
"""

import functools
import os
import pathlib
import signal
import threading
import time

import numpy as np
import pytest
import ray
import soundfile
from ray.cluster_utils import Cluster

from keras_bandit.bulk import run
from keras_bandit.bulk.films import Plan
from keras_bandit.bulk.manifest import Film
from keras_bandit.inference.files import JOB_FOLDER, separate_file

from ..file_server import FileServer
from .tanh import POISON, Tanh

pytestmark = [pytest.mark.once, pytest.mark.slow]
OPTIONS = {"chunk_seconds": 0.1, "hop_seconds": 0.05, "batch_size": 3}
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


@pytest.fixture(scope="module")
def cluster():
    """Two nodes, each with room for one model; this process is connected."""
    made = Cluster(initialize_head=True, head_node_args=NODE)
    made.add_node(**NODE)
    with run.connected(made.address):
        yield made
    made.shutdown()


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "_SECONDS_BETWEEN_LOOKS", 0.5)


def write(name, seconds=2.0, seed=0, value=None):
    rng = np.random.default_rng(seed)
    audio = rng.uniform(-0.3, 0.3, (round(seconds * 8000), 2))
    if value is not None:
        audio[4000:5000] = value
    soundfile.write(name, audio, 8000, subtype="FLOAT")
    return Film(os.path.abspath(name), pathlib.Path(name).stem)


def separate(films, seconds=0.0, meanwhile=None, output="out", **options):
    """`{name: Result}`; each batch takes a model `seconds`.

    `meanwhile` is called in a thread when all models have computed a batch.
    """
    pids = os.path.abspath("pids")
    os.makedirs(pids, exist_ok=True)
    plan = Plan(
        os.path.abspath(output), OPTIONS, {}, os.path.abspath("scratch")
    )
    load = functools.partial(Tanh, seconds=seconds, pids=pids)
    bulk = run.Bulk(films, plan, load, **options)
    thread = None
    found = {}
    deadline = time.monotonic() + 300
    for result in bulk.results():
        assert time.monotonic() < deadline, f"done: {found}"
        there = len(os.listdir(pids))
        working = there and there == len(bulk.models())
        if meanwhile and thread is None and working:
            thread = threading.Thread(target=meanwhile)
            thread.start()
        if result:
            found[result.film.name] = result
    if thread is not None:
        thread.join()
    assert (thread is None) == (meanwhile is None)
    return found


def assert_exact(films, output="out"):
    for film in films:
        alone = f"one/{film.name}"
        separate_file(film.source, alone, Tanh(), overwrite=True, **OPTIONS)
        for path in pathlib.Path("one", film.name).iterdir():
            found = pathlib.Path(output, film.name, path.name)
            assert found.read_bytes() == path.read_bytes()
        assert not pathlib.Path(output, film.name, JOB_FOLDER).exists()


def pids():
    return [int(name) for name in os.listdir("pids")]


def holder(path):
    """The process that has a file open, beside this one."""
    path = os.path.abspath(path)
    for link in pathlib.Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(link) == path:
                return int(link.parts[2])
        except OSError:
            pass
    raise AssertionError(f"nobody has {path}")


def test_a_long_film_is_spread_over_models(cluster):
    films = [write("long.wav", 6)]
    found = separate(films, seconds=0.01)
    assert found["long"].reason is None
    assert_exact(films)
    assert len(pids()) == 2
    # Half of the batches each, about: the one with less to do takes the next.
    counts = [int(p.read_text()) for p in pathlib.Path("pids").iterdir()]
    assert min(counts) > sum(counts) / 4


def test_a_model_and_a_film_s_process_are_killed(cluster):
    films = [write(f"{i}.wav", 4, seed=i) for i in range(3)]

    def kill():
        os.kill(pids()[0], signal.SIGKILL)
        time.sleep(0.5)
        os.kill(holder(f"out/0/{JOB_FOLDER}/job.json"), signal.SIGKILL)

    found = separate(films, seconds=0.1, meanwhile=kill)
    assert [result.reason for result in found.values()] == [None] * 3
    assert_exact(films)
    assert len(pids()) == 3  # the killed one had a successor


def test_a_node_is_lost(cluster):
    node = cluster.add_node(**NODE)
    films = [write(f"{i}.wav", 4, seed=i) for i in range(6)]

    def lose():
        cluster.remove_node(node, allow_graceful=False)

    found = separate(films, seconds=0.1, meanwhile=lose)
    assert [result.reason for result in found.values()] == [None] * 6
    assert_exact(films)


def test_poisoned_films_among_good_ones(cluster):
    films = [write(f"good{i}.wav", 3, seed=i) for i in range(4)]
    deadly = write("deadly.wav", value=POISON)
    nan = write("nan.wav", value=np.nan)
    pathlib.Path("damaged.wav").write_bytes(b"RIFF no")
    damaged = Film(os.path.abspath("damaged.wav"), "damaged")
    missing = Film(os.path.abspath("missing.wav"), "missing")
    bad = [deadly, nan, damaged, missing]
    order = [film for pair in zip(bad, films, strict=True) for film in pair]
    found = separate(order, seconds=0.01)
    reasons = {film.name: found[film.name].reason for film in order}
    assert_exact(films)
    assert "3 processes died that computed the same" in reasons["deadly"]
    assert "nan.wav: audio must be finite" in reasons["nan"]
    assert "damaged.wav: not a media file" in reasons["damaged"]
    assert "missing.wav: No such file" in reasons["missing"]
    assert [reasons[film.name] for film in films] == [None] * 4


def test_two_hundred_short_files_and_what_is_missing(cluster):
    with FileServer({}) as server:
        films = [write(f"{i}.wav", 0.1 + i / 1000, seed=i) for i in range(200)]
        for film in films[:20]:
            name = f"{film.name}.wav"
            server.files[name] = pathlib.Path(name).read_bytes()
        remote = [Film(f"{server.url}/{f.name}.wav", f.name) for f in films]
        mixed = [*remote[:20], *films[20:]]
        found = separate(mixed)
        assert {result.reason for result in found.values()} == {None}
        assert_exact(films)
        assert not pathlib.Path("scratch").exists() or not os.listdir("scratch")
        kept = pathlib.Path("out/7/speech.wav").stat().st_mtime_ns
        pathlib.Path("out/3/music.wav").unlink()
        pathlib.Path("out/150/bulk.json").unlink()
        plan = Plan(os.path.abspath("out"), OPTIONS, {}, "scratch")
        done = run.skip_done(mixed, plan)
        left = {f.name for f in mixed} - {result.film.name for result in done}
        assert left == {"3", "150"}
        found = separate([f for f in mixed if f.name in left])
        # Files without a record are not known to be ours.
        assert found["3"].reason is None
        assert "already there" in found["150"].reason
    assert_exact(films)
    assert pathlib.Path("out/7/speech.wav").stat().st_mtime_ns == kept


def fails():
    raise ValueError("no such preset")


def test_no_model_can_be_loaded(cluster):
    plan = Plan(os.path.abspath("out"), OPTIONS, {}, "scratch")
    films = [write("film.wav")]
    with pytest.raises(run.NoModelError, match="no such preset"):
        list(run.Bulk(films, plan, fails).results())
    with pytest.raises(run.NoModelError, match="no machine has 4 CPU"):
        list(run.Bulk(films, plan, Tanh, cpus=4).results())
    with pytest.raises(ValueError, match="part of a GPU"):
        run.Bulk(films, plan, Tanh, cpus=0, gpus=0)
    options = {"stems": ["singing"]}
    plan = Plan(os.path.abspath("out"), options, {}, "scratch")
    with pytest.raises(run.NoModelError, match="has no singing"):
        list(run.Bulk(films, plan, Tanh).results())


def test_models_go_when_their_run_is_over(cluster):
    separate([write("film.wav", 0.5)])
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if ray.available_resources().get("CPU") == 2:
            return
        time.sleep(0.2)
    raise AssertionError("models still hold processors")
