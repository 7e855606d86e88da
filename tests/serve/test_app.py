"""The server's answers, of a model that is quick."""

import concurrent.futures
import contextlib
import io
import json
import pathlib
import re
import socket
import time
import urllib.parse
import zipfile
from threading import Event
from types import SimpleNamespace

import av
import numpy as np
import pytest
import requests
import soundfile

from keras_bandit.serve.safety import Root

from ..media.films import clicks, make_film, on_grid
from .fakes import SECONDS, STEMS, Quick, Running, write

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that several tests share, with a folder to pick from."""
    folder = tmp_path_factory.mktemp("serve")
    root = folder / "root"
    (root / "films").mkdir(parents=True)
    write(root / "films" / "picked.wav")
    (folder / "secret.wav").write_bytes(b"secret")
    (root / "out.wav").symlink_to(folder / "secret.wav")
    jobs = folder / "jobs"
    with Running(jobs, root=Root(root), max_seconds=3600.0) as running:
        yield running


def write_long(path, seconds):
    """Writes noise, mono at 4 kHz, second by second."""
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", 4000, 1, "PCM_16") as file:
        for _ in range(seconds):
            file.write(rng.uniform(-0.5, 0.5, 4000))
    return path


def memory_of(process):
    """Bytes that a process had in memory at most."""
    status = pathlib.Path(f"/proc/{process}/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s*(\d+) kB", status).group(1))


def sound_of(server, path):
    """The samples of a sound file of the server, `(channels, samples)`."""
    content = server.ask("GET", path).content
    return soundfile.read(io.BytesIO(content))[0].T


def entries(server):
    """Names in the folder of jobs."""
    return {p.name for p in server.store.folder.iterdir()} - {".lock"}


@pytest.fixture
def clip(tmp_path):
    return write(tmp_path / "clip.wav", seconds=1.0, channels=2)


def test_an_upload_becomes_stems(server, clip, tmp_path):
    from keras_bandit.inference import separate_file

    wanted = {"model": "quick", "deliver": ["me"], "stems": STEMS}
    wanted["extras"] = ["report", "markers", "residual"]
    answer = server.upload(clip, "../<b>film.wav", json.dumps(wanted))
    assert answer.status_code == 201, answer.text
    job = server.wait(answer.json()["id"])
    assert job["state"] == "done", job["error"]
    assert job["title"] == "<b>film.wav"
    stems = [*STEMS, "me", "residual"]
    assert job["sounds"] == ["original", *stems]
    markers = ["markers_csv", "markers_edl"]
    assert list(job["files"]) == [*stems, "report", "page", *markers]
    options = {"deliver": ["me"], "stems": STEMS, "residual": True}
    options |= {"report": True, "markers": ["csv", "edl"]}
    options["title"] = "<b>film.wav"  # what its user calls it, not "input"
    done = separate_file(clip, tmp_path / "own", Quick(), **options)
    address = f"/api/jobs/{job['id']}"
    for name, path in done.paths.items():
        given = server.ask("GET", f"{address}/files/{name}")
        assert given.content == path.read_bytes(), name
        header = given.headers["content-disposition"]
        assert header.startswith("attachment; filename*=utf-8''%3Cb%3Efilm_")
    content = server.ask("GET", f"{address}/zip").content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        for name, path in done.paths.items():
            inside = f"<b>film/{path.name}"
            assert archive.read(inside) == path.read_bytes(), name


def test_the_report_opens_with_the_users_name_and_plays(server, clip):
    request = json.dumps({"model": "quick", "extras": ["report"]})
    name = server.begin(clip, "<i>x.wav", request)
    job = server.wait(name)
    address = f"/api/jobs/{name}/report"
    page = server.ask("GET", f"{address}/report.html")
    assert "<h1>&lt;i&gt;x.wav</h1>" in page.text
    assert "input" not in page.text.replace("mixture (input)", "")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy  # no script
    assert "script" not in policy
    found = server.ask("GET", f"{address}/report.json").json()
    assert found["recording"]["source"] == job["title"] == "<i>x.wav"
    for source in re.findall(r'<audio[^>]*src="([^"]*)"', page.text):
        answer = server.ask("GET", f"{address}/{source}")
        assert soundfile.info(io.BytesIO(answer.content)).frames == 8000
        assert "content-disposition" not in answer.headers
    for other in ("job.json", "..%2fjob.json", "", "nothing.wav"):
        assert server.ask("GET", f"{address}/{other}").status_code == 404


def test_a_mix_is_the_sum_of_what_is_heard(server, tmp_path):
    path = tmp_path / "clip.wav"
    audio = np.random.default_rng(0).uniform(-1, 1, (8000, 6))
    soundfile.write(path, audio, 8000, format="WAVEX", subtype="FLOAT")
    request = {"model": "quick", "extras": ["residual"]}
    name = server.begin(path, request=json.dumps(request))
    server.wait(name)
    address = f"/api/jobs/{name}"
    for gains in (dict.fromkeys([*STEMS, "residual"], 0), {"music": 20.0}):
        answer = server.ask("POST", f"{address}/mix", json={"gains_db": gains})
        assert answer.status_code == 204, answer.text
        job = server.job(name)
        assert job["mix"] == gains
        mixed = sound_of(server, f"{address}/files/mix")
        # Six channels, and no clipping: music is a quarter of the mixture, but
        # for low effects, which are effects.
        expected = audio * (
            1 if len(gains) > 1 else [2.5] * 3 + [0] + [2.5] * 2
        )
        np.testing.assert_allclose(mixed, expected.T, atol=1e-6)
    assert list(job["files"]) == [*STEMS, "residual", "mix"]
    content = server.ask("GET", f"{address}/files/mix").content
    assert job["files"]["mix"]["bytes"] == len(content)


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        "[]",
        "x",
        '{"gains_db": {}}',
        '{"gains_db": {"original": 0}}',
        '{"gains_db": {"../job": 0}}',
        '{"gains_db": {"speech": "0"}}',
        '{"gains_db": {"speech": NaN}}',
        '{"gains_db": {"speech": 1e9}}',
        "[" * 9000,
    ],
)
def test_a_bad_mix_is_refused(server, clip, body):
    name = server.begin(clip)
    job = server.wait(name)
    answer = server.ask("POST", f"/api/jobs/{name}/mix", data=body)
    assert answer.status_code == 400
    assert server.job(name) == job
    answer = server.ask("POST", f"/api/jobs/{name}/mix", data="x" * 20_000)
    assert answer.status_code == 413


@pytest.fixture
def film(tmp_path):
    """A film with three sound tracks, of which the first is preferred."""
    rng = np.random.default_rng(0)
    tracks = {}
    for language, level in (("eng", 0.1), ("deu", 0.2), ("fra", 0.3)):
        audio = rng.uniform(-level, level, (2, 8000)).astype("float32")
        tracks[language] = on_grid(audio)
    options = {"sample_rate": 8000, "video_seconds": 1}
    make_film(tmp_path / "film.mkv", tracks, **options)
    return tmp_path / "film.mkv", list(tracks.values())


def test_a_film_with_several_tracks_asks_which(server, film, tmp_path):
    path, tracks = film
    name = server.begin(path, "film.mkv")
    address = f"/api/jobs/{name}"
    job = server.wait(name, "asking")
    assert [track["number"] for track in job["media"]["tracks"]] == [1, 2, 3]
    assert job["media"]["tracks"][1] == {
        "number": 2,
        "title": "sound deu",
        "language": "deu",
        "codec": "pcm_s16le",
        "layout": "stereo",
    }
    assert (job["media"]["track"], job["media"]["joined"]) == (1, "5.1")
    assert job["ahead"] == 0
    for bad, status in (("2", 400), (0, 400), ([], 400), (4, 422)):
        answer = server.ask("POST", f"{address}/track", json={"track": bad})
        assert answer.status_code == status, answer.text
    assert server.job(name)["state"] == "asking"
    answer = server.ask("POST", f"{address}/track", json={"track": 2})
    assert answer.status_code == 204
    job = server.wait(name)
    assert (job["state"], job["media"]["track"]) == ("done", 2)
    speech = sound_of(server, f"{address}/files/speech")
    np.testing.assert_allclose(speech, 0.5 * tracks[1], atol=1e-4)
    heard = sound_of(server, f"{address}/sounds/original/0")
    np.testing.assert_allclose(heard, tracks[1], atol=1e-4)
    answer = server.ask("POST", f"{address}/track", json={"track": 1})
    assert answer.status_code == 409  # it does not ask any more


def test_tracks_are_joined_where_they_are_channels_of_one(server, film):
    path, tracks = film
    request = json.dumps({"model": "quick", "track": [1, 2, 3]})
    name = server.begin(path, "film.mkv", request)
    job = server.wait(name)
    assert (job["state"], job["media"]["layout"]) == ("done", "5.1")
    music = sound_of(server, f"/api/jobs/{name}/files/music")
    np.testing.assert_allclose(
        music[[0, 1, 2, 4, 5]],
        0.25 * np.concatenate(tracks)[[0, 1, 2, 4, 5]],
        atol=1e-4,
    )


def test_a_question_outlives_the_server_and_can_be_cancelled(film, tmp_path):
    folder = tmp_path / "jobs"
    with Running(folder) as server:
        name = server.begin(film[0], "film.mkv")
        server.wait(name, "asking")
    with Running(folder) as server:
        assert server.wait(name, "asking")["id"] == name
        server.ask("DELETE", f"/api/jobs/{name}")
        assert entries(server) == set()


@pytest.mark.parametrize("container", ["mkv", "mov"])
def test_a_film_comes_with_its_stems_as_tracks(server, film, container):
    wanted = {"model": "quick", "track": 1, "remux": container}
    name = server.begin(film[0], "a.mkv", json.dumps(wanted))
    job = server.wait(name)
    assert job["state"] == "done", job["error"]
    assert job["files"]["film"]["file"] == f"film.{container}"
    content = server.ask("GET", f"/api/jobs/{name}/files/film").content
    with av.open(io.BytesIO(content)) as made:
        assert len(made.streams.audio) == 3 + 3
        assert len(made.streams.video) == 1


def test_pieces_join_to_the_sound(server, tmp_path):
    long = write(tmp_path / "long.wav", seconds=17.0, channels=2)
    job = server.wait(server.begin(long))
    for name, gain in (("original", 1.0), ("speech", 0.5)):
        pieces = []
        while True:
            address = f"/api/jobs/{job['id']}/sounds/{name}/{len(pieces)}"
            answer = server.ask("GET", address)
            if answer.status_code == 404:
                break
            pieces.append(soundfile.read(io.BytesIO(answer.content))[0])
        assert [len(piece) for piece in pieces] == [64000, 64000, 8000]
        expected = gain * soundfile.read(long)[0]
        np.testing.assert_allclose(
            np.concatenate(pieces), expected, atol=2 / 2**15
        )


def test_a_file_of_the_server_can_be_picked(server):
    listed = server.ask("GET", "/api/root").json()
    assert [entry["name"] for entry in listed] == ["films"]
    answer = server.ask(
        "POST", "/api/jobs", params={"path": "films/picked.wav"}
    )
    job = server.wait(answer.json()["id"])
    assert (job["state"], job["title"]) == ("done", "picked.wav")


@pytest.mark.parametrize(
    "path",
    ["../secret.wav", "out.wav", "/etc/passwd", "films/%2e%2e/x", "films", ""],
)
def test_nothing_else_can_be_picked(server, path):
    before = entries(server)
    answer = server.ask("POST", "/api/jobs", params={"path": path})
    assert answer.status_code == 404
    assert "secret" not in answer.text
    assert entries(server) == before


@pytest.mark.parametrize(
    "path",
    [
        "/page/../../../../pyproject.toml",
        "/page/%2e%2e/app.py",
        "/page/..%2fapp.py",
        "/page//etc/passwd",
        "/api/jobs/..",
        "/api/jobs/%2e%2e%2f%2e%2e",
        "/api/jobs/{id}/files/..%2f..%2fjob.json",
        "/api/jobs/{id}/files/%2e%2e",
        "/api/jobs/{id}/files/..%2finput",
        "/api/jobs/{id}/files/%2fetc%2fpasswd",
        "/api/jobs/{id}/files/job.json",
        "/api/jobs/{id}/look/..%2f..%2fjob",
        "/api/jobs/{id}/look/look.json",
        "/api/jobs/{id}/sounds/..%2finput/0",
        "/api/jobs/{id}/sounds/speech/-1",
        "/api/jobs/{id}/sounds/speech/99999999999999999999",
        "/api/jobs/{id}/picture",
    ],
)
def test_no_other_path_can_be_read(server, clip, path):
    job = server.wait(server.begin(clip))
    # `requests` would resolve "..": the bytes go as they are.
    request = requests.Request("GET", server.address).prepare()
    request.url = server.address + path.replace("{id}", job["id"])
    with requests.Session() as session:
        answer = session.send(request, timeout=30)
    assert answer.status_code in (400, 404), answer.text[:200]


def test_a_link_in_a_jobs_folder_is_not_followed(server, clip, tmp_path):
    job = server.wait(server.begin(clip))
    stem = server.store.folder / job["id"] / "stems" / "speech.wav"
    stem.unlink()
    stem.symlink_to(clip)
    answer = server.ask("GET", f"/api/jobs/{job['id']}/files/speech")
    assert answer.status_code == 404


def flac_of_zeros(path, seconds):
    """A small file of a long silence."""
    block = np.zeros(48000 * 60, "int16")
    with soundfile.SoundFile(path, "w", 48000, 1, "PCM_16") as file:
        for _ in range(round(seconds / 60)):
            file.write(block)
    return path


def poisoned(kind, path):
    """Writes a file that is not what it seems."""
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.txt", "a" * 10_000)
    elif kind == "text":
        path.write_text("not a film\n")
    elif kind == "list":  # of another file, which its sender may not read
        make_film(path.with_name("secret.ts"), clicks(), "mp2")
        path.write_text(
            "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n"
            f"file://{path.with_name('secret.ts')}\n#EXT-X-ENDLIST\n"
        )
    elif kind == "ffconcat":
        make_film(path.with_name("secret.ts"), clicks(), "mp2")
        path.write_text("ffconcat version 1.0\nfile secret.ts\n")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "header":  # 100 hours, all but the header missing
        write(path, seconds=0.1)
        content = bytearray(path.read_bytes())
        size = 100 * 3600 * 8000 * 2
        content[40:44] = (size % 2**32).to_bytes(4, "little")
        path.write_bytes(content)
    elif kind == "bomb":
        flac = path.with_suffix(".flac")
        flac_of_zeros(flac, 2 * 3600).rename(path)
    elif kind == "nan":
        audio = np.full(800, np.nan, "float32")
        soundfile.write(path, audio, 8000, subtype="FLOAT")
    return path


@pytest.mark.parametrize(
    "kind", ["zip", "text", "list", "ffconcat", "empty", "header", "bomb"]
)
def test_a_poisoned_upload_is_one_clear_message(server, tmp_path, kind):
    before = entries(server)
    path = poisoned(kind, tmp_path / "poison.wav")
    answer = server.upload(path, "poison.wav")
    if answer.status_code == 201:  # only reading tells
        job = server.wait(answer.json()["id"])
        assert job["state"] == "failed"
        error = job["error"]
        server.ask("DELETE", f"/api/jobs/{job['id']}")
    else:
        assert answer.status_code == 422
        error = answer.json()["error"]
    assert error
    assert "\n" not in error
    assert str(server.store.folder) not in error
    assert entries(server) == before


def test_what_only_reading_tells_is_said_of_the_job(server, tmp_path):
    path = poisoned("nan", tmp_path / "nan.wav")
    job = server.wait(server.begin(path, "nan.wav"))
    assert job["state"] == "failed"
    assert job["error"].startswith("nan.wav: audio must be finite")


def test_the_length_and_the_size_are_limited(tmp_path, clip):
    with Running(tmp_path / "jobs", max_bytes=1000, max_seconds=0.5) as server:
        answer = server.upload(clip)
        assert answer.status_code == 413
        assert "too large" in answer.json()["error"]

        def chunks():  # of no announced length
            while True:
                yield b"x" * 500

        try:
            answer = server.ask("POST", "/api/jobs", data=chunks())
            assert answer.status_code == 413
        except requests.ConnectionError:
            pass  # closed before all was sent
        short = write(tmp_path / "short.wav", seconds=0.6, rate=500)
        answer = server.upload(short, "short.wav")
        assert answer.status_code == 422
        assert "hours long" in answer.json()["error"]
        assert entries(server) == set()


@pytest.mark.parametrize(
    "request_",
    [
        "{",
        "[]",
        "[" * 100_000,
        '{"model": "../x"}',
        '{"model": ["quick"]}',
        '{"stems": ["speech", "../x"]}',
        '{"stems": []}',
        '{"stems": "speech"}',
        '{"quality": "best"}',
        '{"format": {"a": 1}}',
        '{"extras": ["overwrite"]}',
        '{"deliver": ["optionals"]}',
        '{"remux": "../x"}',
        '{"track": "1-2"}',
        '{"track": [true]}',
    ],
    ids=lambda text: text[:20],
)
def test_a_request_is_checked(server, clip, request_):
    before = entries(server)
    # Too long for an address: refused before it is read.
    answer = server.upload(clip, request=request_[:30_000])
    assert answer.status_code == 400
    assert entries(server) == before


@pytest.mark.parametrize(
    ("model", "error"),
    [("dies", "the process that computes ended"), ("bad", "cannot load")],
)
def test_a_job_that_fails_says_why_and_the_next_one_runs(
    server, clip, model, error
):
    request = json.dumps({"model": model})
    failing = server.begin(clip, request=request)
    after = server.begin(clip)
    assert error in server.wait(failing)["error"]
    assert server.wait(after)["state"] == "done"


def test_cancel_works_at_once_and_leaves_nothing(server, tmp_path):
    before = entries(server)
    clip = write(tmp_path / "clip.wav", seconds=60.0)
    slow = json.dumps({"model": "slow"})
    runs = server.begin(clip, request=slow)
    waits = server.begin(clip, request=slow)
    last = server.begin(write(tmp_path / "last.wav"))
    job = server.wait(runs, "running")
    while job["stage"] != "separating" or not job["progress"]:
        job = server.job(runs)
    assert server.job(waits)["ahead"] == 1
    began = time.monotonic()
    process = server.runner.pid
    assert server.ask("DELETE", f"/api/jobs/{runs}").status_code == 204
    assert server.ask("DELETE", f"/api/jobs/{waits}").status_code == 204
    assert time.monotonic() - began < 5
    assert server.ask("GET", f"/api/jobs/{runs}").status_code == 404
    assert server.wait(last)["state"] == "done"
    assert server.runner.pid == process  # which still has the model
    assert entries(server) == before | {last}


def test_a_process_that_does_not_let_go_is_killed(server, tmp_path):
    before = entries(server)
    clip = write(tmp_path / "clip.wav", seconds=1.0)
    stuck = server.begin(clip, request='{"model": "stuck"}')
    last = server.begin(clip)
    job = server.wait(stuck, "running")
    while job["stage"] != "separating":
        job = server.job(stuck)
    time.sleep(1)  # in the first batch, which takes a minute
    process = server.runner.pid
    began = time.monotonic()
    server.ask("DELETE", f"/api/jobs/{stuck}")
    assert time.monotonic() - began < 5
    assert server.wait(last)["state"] == "done"
    assert server.runner.pid != process
    assert entries(server) == before | {last}


def test_an_hour_takes_no_more_memory_than_a_minute(server, tmp_path):
    """And half of it, cancelled, leaves nothing."""
    before, memory = entries(server), {}
    request = json.dumps({"model": "long", "stems": ["speech"]})
    for minutes in (1, 60):
        clip = write_long(tmp_path / "long.wav", 60 * minutes)
        name = server.begin(clip, request=request)
        job = server.wait(name)
        assert job["state"] == "done", job["error"]
        memory[minutes] = memory_of(server.runner.pid)
        assert job["files"]["speech"]["bytes"] >= clip.stat().st_size
        server.ask("DELETE", f"/api/jobs/{name}")
    assert memory[60] - memory[1] < 40e6  # the sound alone has 58 MB
    name = server.begin(clip, request=request)
    progress = 0
    while progress < 0.2:
        progress = server.job(name)["progress"]
        progress = progress or 0
        time.sleep(0.05)
    assert progress < 1
    server.ask("DELETE", f"/api/jobs/{name}")
    assert entries(server) == before
    last = server.begin(write(tmp_path / "last.wav"))
    server.wait(last)
    assert entries(server) == before | {last}


def test_a_server_that_ends_goes_on_where_it_was(tmp_path):
    clip = write(tmp_path / "clip.wav", seconds=5.0)
    folder = tmp_path / "jobs"
    with Running(folder) as server:
        slow = json.dumps({"model": "slow"})
        name = server.begin(clip, request=slow)
        second = server.begin(clip)
        job = server.wait(name, "running")
        while job["stage"] != "separating" or not job["progress"]:
            job = server.job(name)
    with Running(folder) as server:
        assert server.wait(name)["state"] == "done"
        assert server.wait(second)["state"] == "done"
        first, other = (
            server.ask("GET", f"/api/jobs/{n}/files/speech").content
            for n in (name, second)
        )
        assert first == other


def test_fifty_jobs_of_twenty_clients_are_not_lost(tmp_path):
    clip = write(tmp_path / "clip.wav", seconds=0.2)
    with Running(tmp_path / "jobs") as server:
        busy = server.begin(
            write(tmp_path / "busy.wav", seconds=30.0),
            request='{"model": "slow"}',
        )
        server.wait(busy, "running")
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda _: server.upload(clip), range(50)))
        assert [a.status_code for a in answers] == 50 * [201]
        names = [a.json()["id"] for a in answers]
        assert len(set(names)) == 50

        def look(name):
            return server.ask("GET", f"/api/jobs/{name}").json()["state"]

        # How quickly: recipes/benchmark/serve.py.
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            assert list(pool.map(look, names)) == 50 * ["waiting"]
        server.ask("DELETE", f"/api/jobs/{busy}")
        states = [server.wait(name)["state"] for name in names]
        assert states == 50 * ["done"]


# Who may ask.


def test_other_sites_get_nothing(tmp_path, clip):
    hosts = ["127.0.0.1", "localhost"]
    with Running(tmp_path / "jobs", hosts=hosts) as server:
        rebound = {"Host": f"evil.example:{server.port}"}
        answer = server.ask("GET", "/api/choices", headers=rebound)
        assert answer.status_code == 421
        for origin, status in (
            ("http://evil.example", 403),
            ("null", 403),
            (server.address, 422),
        ):
            headers = {"Origin": origin}
            answer = server.ask("POST", "/api/jobs", headers=headers)
            assert answer.status_code == status, origin
        answer = server.ask("GET", "/")
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_token_opens_the_page_and_leaves_the_address(tmp_path):
    with Running(tmp_path / "jobs", token="secret") as server:
        for path in ("/", "/api/choices", "/page/page.js", "/?token=wrong"):
            assert server.ask("GET", path).status_code == 401
        cookie = {"keras_bandit": "wrong"}
        assert server.ask("GET", "/", cookies=cookie).status_code == 401
        with requests.Session() as session:
            answer = session.get(f"{server.address}/?token=secret", timeout=30)
            assert answer.status_code == 200
            assert answer.url == f"{server.address}/"
            answer = session.get(f"{server.address}/api/choices", timeout=30)
            assert answer.status_code == 200


def test_a_password_opens_the_page(tmp_path):
    with Running(tmp_path / "jobs", auth="Zoë:pass:word") as server:
        answer = server.ask("GET", "/")
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic")
        right = ("Zoë".encode(), b"pass:word")
        assert server.ask("GET", "/", auth=right).status_code == 200
        for wrong in (("Zoë".encode(), b"pass"), ("", ""), ("a", "b")):
            assert server.ask("GET", "/", auth=wrong).status_code == 401
        for header in ("Basic !", "Basic", "Bearer Wm/DqzpwYXNzOndvcmQ="):
            headers = {"Authorization": header}
            answer = server.ask("GET", "/", headers=headers)
            assert answer.status_code == 401


def test_who_leaves_while_the_upload_is_looked_at_leaves_no_job(tmp_path, clip):
    with Running(tmp_path / "jobs", start=False) as server:
        look, looking, left = server.probe.look, Event(), Event()

        def slow(*args):
            looking.set()
            left.wait()
            time.sleep(0.3)  # until the server knows, too
            return look(*args)

        server.probe.look = slow
        body = clip.read_bytes()
        head = (
            "POST /api/jobs?name=a.wav HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(head.encode() + body)
            assert looking.wait(SECONDS)
        left.set()
        end = time.monotonic() + SECONDS
        while any(n.startswith(".") for n in entries(server)):
            assert time.monotonic() < end
            time.sleep(0.05)
        assert not entries(server)


def test_an_upload_may_take_more_than_half_of_the_room(tmp_path, monkeypatch):
    path = write(tmp_path / "film.wav", seconds=100.0, channels=2)
    room, jobs = 1.3 * path.stat().st_size, tmp_path / "jobs"

    def usage(folder):
        used = sum(p.stat().st_size for p in jobs.glob("*/input"))
        return SimpleNamespace(free=room - used)

    with Running(jobs, start=False) as server:
        monkeypatch.setattr("shutil.disk_usage", usage)
        assert server.upload(path).status_code == 201
        assert server.upload(path).status_code == 507


def test_a_disk_that_is_full_is_said(tmp_path, clip):
    with Running(tmp_path / "jobs", start=False) as server:
        new_folder = server.store.new_folder

        @contextlib.contextmanager
        def full():
            with new_folder() as folder:
                (folder / "input").symlink_to("/dev/full")
                yield folder

        server.store.new_folder = full
        answer = server.upload(clip)
        assert answer.status_code == 507
        assert "disk is full" in answer.json()["error"]
        assert not entries(server)


def test_a_mix_of_what_cannot_be_read_is_refused(server, clip):
    job = server.wait(server.upload(clip).json()["id"])
    stem = server.store.folder / job["id"] / "stems" / "speech.wav"
    stem.write_bytes(b"x")
    answer = server.ask(
        "POST", f"/api/jobs/{job['id']}/mix", data='{"gains_db": {"speech": 0}}'
    )
    assert answer.status_code == 507
    assert answer.json() == {"error": "cannot be mixed"}


def test_the_queue_goes_on_where_no_process_could_begin(tmp_path, clip):
    with Running(tmp_path / "jobs") as server:
        send, failures = server.runner._child.send, [OSError(11, "no room")]

        def fails_once(message):
            if failures:
                raise failures.pop()
            send(message)

        server.runner._child.send = fails_once
        job = server.wait(server.upload(clip).json()["id"])
        assert (job["state"], job["error"]) == ("failed", "no room")
        job = server.wait(server.upload(clip).json()["id"])
        assert job["state"] == "done"


def test_a_number_of_thousands_of_digits_is_no_piece(server, clip):
    name = server.wait(server.upload(clip).json()["id"])["id"]
    for index in ("9" * 5000, "9" * 9, "x", "-1"):
        path = f"/api/jobs/{name}/sounds/speech/{index}"
        assert server.ask("GET", path).status_code == 404


def test_a_token_leads_to_no_other_server(tmp_path):
    with Running(tmp_path / "jobs", token="secret") as server:
        path = "//evil.example/a?token=secret"
        answer = server.ask("GET", path, allow_redirects=False)
        assert answer.headers["location"] == "/evil.example/a"


def test_an_empty_token_does_not_stand_for_the_password(tmp_path):
    # KERAS_BANDIT_TOKEN= in the environment, and no cookie: "" is "".
    options = {"token": "", "auth": "a:b"}
    with Running(tmp_path / "jobs", **options) as server:
        assert server.ask("GET", "/").status_code == 401
        assert server.ask("GET", "/", auth=("a", "b")).status_code == 200


def test_names_are_text_and_never_html(server, clip):
    name = '"><img src=x onerror=alert(1)>.wav'
    job = server.wait(server.begin(clip, name))
    address = f"/api/jobs/{job['id']}"
    answer = server.ask("GET", address)
    assert answer.headers["content-type"] == "application/json"
    header = server.ask("GET", f"{address}/zip").headers["content-disposition"]
    assert urllib.parse.unquote(header.partition("''")[2]) == (
        f"{name.removesuffix('.wav')}_stems.zip"
    )
