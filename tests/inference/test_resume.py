"""`resume`: killed at any time, the files are the same to the bit."""

import contextlib
import hashlib
import itertools
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from keras_bandit.inference import files, resume
from keras_bandit.inference.crossfade import (
    Crossfade,
    HannChunks,
    MiddleChunks,
    TriangleChunks,
)
from keras_bandit.inference.files import JOB_FOLDER

from . import resumed
from .resumed import Model, separate

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    resumed.prepare(monkeypatch)
    audio = np.random.default_rng(0).uniform(-0.3, 0.3, (22_050, 2))
    soundfile.write("film.wav", audio, 11025, subtype="PCM_24")


def hashes(folder):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in pathlib.Path(folder).iterdir()
        if path.is_file()
    }


class Killed(BaseException):
    pass


@pytest.mark.parametrize("shifts", [0, 2])
@pytest.mark.parametrize("crossfade", ["hann", "middle", "triangle"])
def test_what_is_finished_is_not_computed_again(crossfade, shifts):
    def model(calls=10**6):
        made = Model()
        made.crossfade = crossfade
        compute = made.predict_on_batch

        def predict(batch):
            if len(made.shapes) == calls:
                raise Killed
            return compute(batch)

        made.predict_on_batch = predict
        return made

    whole = model()
    separate("whole", whole, shifts=shifts)
    calls = starts = 0
    while True:
        part = model(15)
        starts += 1
        try:
            separate("parts", part, shifts=shifts, resume=True)
            break
        except Killed:
            left = [path.name for path in pathlib.Path("parts").iterdir()]
            assert left == [JOB_FOLDER]
        calls += len(part.shapes)
    assert hashes("parts") == hashes("whole")
    assert starts > 1
    calls += len(part.shapes)
    # What is lost are batches that share a chunk, and the next, of each shift.
    assert calls <= len(whole.shapes) + 3 * (starts - 1) * (shifts or 1)


@pytest.mark.parametrize("plan", [HannChunks, MiddleChunks, TriangleChunks])
@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_blocks_after_a_kill(batch_size, plan):
    """A recording is pushed in blocks, shorter than chunks or longer."""
    audio = np.random.default_rng(0).uniform(-1, 1, (1, 1, 1001))

    def run(folder, hop, block, calls):
        def predict(batch):
            nonlocal calls
            if not calls:
                raise Killed
            calls -= 1
            ramp = np.linspace(0.5, 1.5, batch.shape[-1], dtype="float32")
            return {"speech": np.tanh(batch) * ramp}

        with resume.Job(pathlib.Path(folder), {}) as job:
            chunks = Crossfade(predict, ["speech"], plan(100, hop), batch_size)
            crossfade = job.keep(chunks)
            parts = [
                crossfade.push(audio[..., start : start + block])
                for start in range(0, 1001, block)
            ]
            parts.append(crossfade.finish())
        return np.concatenate([part["speech"] for part in parts], axis=-1)

    for hop, block in itertools.product([50, 83], [37, 400]):
        name = f"{hop}_{block}"
        whole = run(f"whole_{name}", hop, block, calls=1000)
        for _ in range(1000):
            with contextlib.suppress(Killed):
                estimate = run(name, hop, block, calls=4)
                break
        np.testing.assert_array_equal(estimate, whole)
        # Killed when all is computed.
        again = run(name, hop, block, calls=4)
        np.testing.assert_array_equal(again, whole)


def test_twenty_kills():
    separate("whole")
    root = pathlib.Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.inference.resumed"]
    rng, kills = np.random.default_rng(0), 0
    while True:
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, env={"PYTHONPATH": str(root)}
        ) as process:
            assert process.stdout.readline() == b"ready\n"
            try:
                seconds = rng.uniform(0, 0.2) if kills < 20 else 60
                assert process.wait(seconds) == 0
                break
            except subprocess.TimeoutExpired:
                process.kill()
                kills += 1
    assert kills == 20
    assert hashes("parts") == hashes("whole")


def test_report_and_markers_are_the_same():
    options = {"report": True, "markers": ["csv", "edl"], "mne": True}
    separate("whole", **options)
    part, calls = Model(), []
    compute = part.predict_on_batch

    def predict(batch):
        calls.append(batch)
        if len(calls) == 15:
            raise Killed
        return compute(batch)

    part.predict_on_batch = predict
    with pytest.raises(Killed):
        separate("parts", part, resume=True, **options)
    separate("parts", part, resume=True, **options)
    whole = hashes("whole")
    assert {"report.html", "markers.csv", "markers.edl"} <= set(whole)
    assert hashes("parts") == whole


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hop_seconds": 0.02}, "hop_seconds: None before, 0.02 now"),
        ({"model": Model(None, {"speech": 0.3})}, "gains"),
        ({"stems": ["speech"]}, "stems"),
        ({"lfe": "drop"}, "lfe"),
    ],
)
def test_another_job_is_refused(options, message):
    begin_and_kill()
    before = hashes(f"out/{JOB_FOLDER}")
    with pytest.raises(files.AudioFileError, match=message):
        separate("out", resume=True, **options)
    assert hashes(f"out/{JOB_FOLDER}") == before


def begin_and_kill():
    model = Model()

    def stop(batch):
        raise Killed

    model.predict_on_batch = stop
    with pytest.raises(Killed):
        separate("out", model, resume=True)


def test_another_file_is_refused():
    begin_and_kill()
    soundfile.write("film.wav", np.full((8000, 2), 0.1), 11025)
    with pytest.raises(ValueError, match=r"source.bytes.*without --resume"):
        separate("out", resume=True)


def test_without_resume_it_starts_anew():
    begin_and_kill()
    separate("out")
    separate("whole")
    assert hashes("out") == hashes("whole")
    with pytest.raises(FileExistsError):
        separate("out", resume=True)


def test_killed_when_all_is_written(monkeypatch):
    def stop(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(files.shutil, "rmtree", stop)
        with pytest.raises(Killed):
            separate("out", resume=True)
    before = hashes("out")
    assert len(before) == 3
    separate("out", resume=True)
    assert hashes("out") == before
    assert not pathlib.Path("out", JOB_FOLDER).exists()


def test_two_at_once_are_refused():
    pytest.importorskip("fcntl")
    settings = {"a": 1}
    with (
        resume.Job(pathlib.Path("job"), settings),
        pytest.raises(BlockingIOError),
    ):
        resume.Job(pathlib.Path("job"), settings)
    with resume.Job(pathlib.Path("job"), settings) as job:
        assert job.resumed
