"""A film is a task that can be done again: what is kept, done, and refused."""

import dataclasses
import json
import pathlib

import fsspec
import numpy as np
import pytest
import soundfile

from keras_bandit.bulk import films, places
from keras_bandit.bulk.films import RECORD, Plan, find_done, separate_film
from keras_bandit.bulk.manifest import Film
from keras_bandit.inference import resume
from keras_bandit.inference.files import JOB_FOLDER, separate_file
from keras_bandit.media.audio import AudioFileError

from ..file_server import FileServer
from .tanh import Tanh

pytestmark = pytest.mark.once
OPTIONS = {"chunk_seconds": 0.1, "hop_seconds": 0.05, "batch_size": 3}
STEMS = {"speech.wav", "music.wav", "effects.wav"}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(places, "_SECONDS_BETWEEN_TRIES", 0.01)
    monkeypatch.setattr(resume, "SECONDS_BETWEEN_STATES", 0.0)
    audio = np.random.default_rng(0).uniform(-0.3, 0.3, (5000, 2))
    soundfile.write("film.wav", audio, 11025, subtype="PCM_24")


@pytest.fixture
def film(tmp_path):
    return Film(str(tmp_path / "film.wav"), "film")


@pytest.fixture
def plan(tmp_path):
    scratch = str(tmp_path / "scratch")
    return Plan(str(tmp_path / "out"), OPTIONS, {"preset": "p"}, scratch)


@pytest.fixture
def expected(tmp_path):
    """`{name: bytes}` of what `separate` makes."""
    separate_file(tmp_path / "film.wav", tmp_path / "one", Tanh(), **OPTIONS)
    return {p.name: p.read_bytes() for p in pathlib.Path("one").iterdir()}


def stems(folder="out/film"):
    found = {p.name: p.read_bytes() for p in pathlib.Path(folder).iterdir()}
    assert json.loads(found.pop(RECORD))["files"].keys() == found.keys()
    return found


class Killed(BaseException):
    pass


def dying(calls):
    """A model that is killed after so many batches."""
    model, left = Tanh(), [calls]
    compute = model.predict_on_batch

    def predict(batch):
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return compute(batch)

    model.predict_on_batch = predict
    return model


def test_what_is_done_is_not_done_again(film, plan, expected):
    assert find_done(film, plan) is None
    record = separate_film(film, plan, Tanh())
    assert stems() == expected
    assert record["seconds"] == 5000 / 11025
    assert record["source"]["bytes"] > 0
    assert record["separator"]["description"]
    assert find_done(film, plan) == record
    assert separate_film(film, plan, dying(0)) == record
    assert not pathlib.Path("scratch").exists() or not list(
        pathlib.Path("scratch").iterdir()
    )


def test_a_killed_film_goes_on(film, plan, expected):
    with pytest.raises(Killed):
        separate_film(film, plan, dying(4))
    assert find_done(film, plan) is None
    begun = pathlib.Path("out/film")
    assert {p.name for p in begun.iterdir()} == {RECORD, JOB_FOLDER}
    separate_film(film, plan, dying(6))  # of 2 * 10 / 3 batches
    assert stems() == expected


@pytest.mark.parametrize("damage", ["missing", "short"])
def test_a_lost_stem_is_made_again(film, plan, expected, damage):
    separate_film(film, plan, Tanh())
    path = pathlib.Path("out/film/music.wav")
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(b"RIFF")
    assert find_done(film, plan) is None
    separate_film(film, plan, Tanh())
    assert stems() == expected


@pytest.mark.parametrize("calls", [2, 100])
def test_other_settings_are_noticed(film, plan, calls):
    try:
        separate_film(film, plan, dying(calls))
    except Killed:
        assert calls == 2
    options = {**OPTIONS, "hop_seconds": 0.04, "subtype": "PCM_16"}
    other = dataclasses.replace(plan, options=options)
    for call in (find_done, lambda *a: separate_film(*a, Tanh())):
        with pytest.raises(ValueError, match=r"hop_seconds.*--overwrite"):
            call(film, other)
    other = dataclasses.replace(other, overwrite=True)
    assert find_done(film, other) is None
    separate_film(film, other, Tanh())
    assert stems().keys() == STEMS
    assert soundfile.info("out/film/music.wav").subtype == "PCM_16"


def test_a_changed_film_is_noticed(film, plan):
    with pytest.raises(Killed):
        separate_film(film, plan, dying(2))
    soundfile.write("film.wav", np.full((8000, 2), 0.1), 11025)
    with pytest.raises(ValueError, match=r"source\.bytes.*--overwrite"):
        separate_film(film, plan, Tanh())
    separate_film(film, dataclasses.replace(plan, overwrite=True), Tanh())
    assert soundfile.info("out/film/music.wav").frames == 8000


def test_files_of_others_are_not_replaced(film, plan):
    pathlib.Path("out/film").mkdir(parents=True)
    pathlib.Path("out/film/speech.wav").write_text("mine")
    for _ in range(2):
        with pytest.raises(FileExistsError):
            separate_film(film, plan, Tanh())
    assert pathlib.Path("out/film/speech.wav").read_text() == "mine"
    separate_film(film, dataclasses.replace(plan, overwrite=True), Tanh())
    assert stems().keys() == STEMS


def test_a_bad_film_leaves_nothing(tmp_path, plan):
    pathlib.Path("bad.wav").write_bytes(b"RIFF no")
    with pytest.raises(AudioFileError, match=r"bad\.wav"):
        separate_film(Film(str(tmp_path / "bad.wav"), "bad"), plan, Tanh())
    assert not pathlib.Path("out").exists()
    with pytest.raises(FileNotFoundError):
        separate_film(Film(str(tmp_path / "no.wav"), "no"), plan, Tanh())


def test_a_track_for_one_film(film, plan):
    with pytest.raises(AudioFileError, match="2"):
        separate_film(dataclasses.replace(film, audio_track=2), plan, Tanh())


def test_from_http(plan, expected):
    content = pathlib.Path("film.wav").read_bytes()
    with FileServer({"a film.wav": content}) as server:
        film = Film(f"{server.url}/a%20film.wav", "film")
        server.files["a%20film.wav"] = server.files.pop("a film.wav")
        server.cuts = [None, 1000]
        # A copy that goes on is the same file on another machine.
        with pytest.raises(Killed):
            separate_film(film, plan, dying(4))
        separate_film(film, plan, dying(6))
        assert stems() == expected
        missing = Film(f"{server.url}/no.wav", "no")
        with pytest.raises(FileNotFoundError):
            separate_film(missing, plan, Tanh())
        server.statuses = [503] * 20
        with pytest.raises(OSError, match=r"cannot read http.*no\.wav"):
            separate_film(missing, plan, Tanh())


@pytest.fixture
def memory():
    place = fsspec.filesystem("memory")
    yield place
    place.store.clear()


def test_to_another_place(film, plan, expected, memory, monkeypatch):
    plan = dataclasses.replace(plan, output="memory://out/here")
    folder = "/out/here/film"
    with monkeypatch.context() as patch:
        put, count = memory.put_file, []

        def killed(*args, **kwargs):
            count.append(args)
            if len(count) == 2:
                raise Killed
            return put(*args, **kwargs)

        patch.setattr(type(memory), "put_file", lambda self, *a: killed(*a))
        with pytest.raises(Killed):
            separate_film(film, plan, Tanh())
    assert find_done(film, plan) is None
    record = separate_film(film, plan, Tanh())
    found = {p.rpartition("/")[2]: memory.cat(p) for p in memory.ls(folder, 0)}
    assert json.loads(found.pop(RECORD)) == record
    assert found == expected
    assert find_done(film, plan) == record
    with pytest.raises(ValueError, match="hop_seconds"):
        find_done(
            film, dataclasses.replace(plan, options={"hop_seconds": 0.04})
        )


def test_elsewhere_nothing_of_others_is_replaced(film, plan, memory):
    plan = dataclasses.replace(plan, output="memory://out")
    memory.pipe_file("/out/film/notes.txt", b"mine")
    with pytest.raises(FileExistsError, match=r"notes\.txt"):
        separate_film(film, plan, dying(0))


def test_waits_for_a_process_that_is_about_to_die(film, plan, monkeypatch):
    tries = []

    def busy(*args, **kwargs):
        tries.append(1)
        if len(tries) < 3:
            raise BlockingIOError
        return separate_file(*args, **kwargs)

    monkeypatch.setattr(films, "separate_file", busy)
    monkeypatch.setattr(films.time, "sleep", lambda seconds: None)
    separate_film(film, plan, Tanh())
    assert len(tries) == 3
