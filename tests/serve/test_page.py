"""The page in Debian's Chromium, with the model that ships.

Screenshots of all states go to KERAS_BANDIT_SCREENSHOTS, if that is a folder.
"""

import pathlib
import re
import subprocess
import sys
import time

import numpy as np
import pytest
import requests
import soundfile
from playwright.sync_api import expect

from .. import browser
from ..cli.command_line import python
from ..media.films import clicks, make_film
from .fakes import Running

pytestmark = pytest.mark.once

ROOT = pathlib.Path(__file__).parents[2]
RATE = 44_100
chromium = browser.chromium
WAIT = 180_000  # ms; the machine may be busy


def sound(seconds):
    """Tones, a gliding voice and bursts, mono."""
    rng = np.random.default_rng(0)
    t = np.arange(round(seconds * RATE)) / RATE
    music = 0.2 * np.sin(2 * np.pi * 220 * t) * (t % 1 < 0.6)
    glide = 140 + 20 * np.sin(2 * np.pi * 3 * t)
    voice = 0.3 * np.sin(2 * np.pi * np.cumsum(glide) / RATE)
    voice *= np.sin(2 * np.pi * 0.7 * t) > 0
    bursts = np.zeros_like(t)
    for start in rng.integers(0, len(t) - 8000, round(seconds)):
        decay = np.exp(-np.arange(8000) / 1500)
        bursts[start : start + 8000] += rng.normal(0, 0.2, 8000) * decay
    return 0.7 * (music + voice + bursts)


class Served:
    """`keras-bandit serve` in a process of its own."""

    def __init__(self, folder):
        self.folder, self.port = folder, "0"
        self.start()

    def start(self):
        """Starts it on a free port, then always on that one."""
        args = ["--preset", "bandit_demo", "--engine", "openvino"]
        args += ["--port", self.port, "--jobs", str(self.folder / "jobs")]
        args += ["--root", str(self.folder / "root")]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "keras_bandit", "serve", *args],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        line = self.process.stdout.readline()
        self.address, self.port = re.search(
            r"(http://\S+:(\d+))/", line
        ).groups()

    def stop(self, kill=False):
        """Ends it as Ctrl-C does, or at once."""
        self.process.kill() if kill else self.process.terminate()
        self.process.wait(30)
        self.process.stdout.close()

    def jobs(self):
        """Names in the folder of jobs."""
        names = {path.name for path in (self.folder / "jobs").iterdir()}
        return names - {".lock"}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    (folder / "root").mkdir()
    soundfile.write(folder / "root" / "picked.wav", sound(0.5), RATE)
    running = Served(folder)
    yield running
    running.stop()


@pytest.fixture(params=["light"])
def page(chromium, served, request):
    """A page of 1280 x 900 whose requests and mistakes are watched."""
    context = chromium.new_context(
        viewport={"width": 1280, "height": 900},
        color_scheme=request.param,
        base_url=served.address,
    )
    opened = context.new_page()
    opened.set_default_timeout(WAIT)
    foreign, mistakes = [], []

    def watch(asked):
        if not asked.url.startswith((served.address, "data:", "blob:")):
            foreign.append(asked.url)

    opened.on("request", watch)
    opened.on("pageerror", lambda error: mistakes.append(str(error)))
    yield opened
    context.close()
    assert not foreign, "all comes from the server itself"
    assert not mistakes


def shoot(page, name):
    browser.shoot(page, name)
    browser.shoot(page, f"{name}_whole", full_page=True)


def check_accessible(page):
    """axe-core finds nothing serious."""
    assert not browser.serious_faults(page)


@pytest.fixture(scope="module")
def job(chromium, served):
    """A job that the page made of a clip of 10 s: its address."""
    clip = served.folder / "a<b>.wav"
    soundfile.write(clip, sound(10.0), RATE, subtype="PCM_16")
    context = chromium.new_context(base_url=served.address)
    page = context.new_page()
    page.set_default_timeout(WAIT)
    page.goto("/")
    page.set_input_files("#file", clip)
    page.get_by_label("What is left over").check()
    page.get_by_label("Report of loudness").check()
    shoot(page, "chosen")
    page.get_by_role("button", name="Separate", exact=True).click()
    page.wait_for_url("**/job/*")
    expect(page.locator("#progress-state")).to_have_text(
        "Separating", timeout=WAIT
    )
    shoot(page, "separating")
    check_accessible(page)
    page.wait_for_selector(".mixer")
    address = page.url
    context.close()
    return address


@pytest.fixture(scope="module")
def storm(served):
    """A job of recorded sounds, with all that can be chosen: its address."""
    parts = ROOT.joinpath("recipes", "demo_clip").glob("*.ogg")
    path = served.folder / "root" / "storm at the mill.wav"
    soundfile.write(path, sum(soundfile.read(part)[0] for part in parts), RATE)
    query = {"path": path.name, "request": "{}"}
    address = f"{served.address}/api/jobs"
    name = requests.post(address, params=query, timeout=60).json()["id"]
    end = time.monotonic() + WAIT / 1000
    while (
        requests.get(f"{address}/{name}", timeout=60).json()["state"] != "done"
    ):
        assert time.monotonic() < end
        time.sleep(0.3)
    return f"{served.address}/job/{name}"


# How far what is heard of `other` ("all", or a row) is from the sum of rows, and
# how loud it is, so many times. Read in the page, whose clock goes on: both
# readings may still lie on two sides of a step of the audio thread.
MEASURE = """async ([names, other, times]) => {
  const { player } = document.querySelector("#mixer").mixer;
  const read = (node) => {
    const values = new Float32Array(node.fftSize);
    node.getFloatTimeDomainData(values);
    return values;
  };
  const found = [];
  while (found.length < times) {
    const heard = read(other === "all" ? player.analyser : player.taps[other]);
    const rows = names.map((name) => read(player.taps[name]));
    let off = 0;
    let level = 0;
    heard.forEach((value, i) => {
      const sum = rows.reduce((total, row) => total + row[i], 0);
      off = Math.max(off, Math.abs(value - sum));
      level = Math.max(level, Math.abs(value));
    });
    found.push([off, level, player.place]);
    await new Promise((resume) => setTimeout(resume, 40));
  }
  return found;
}"""
PLACE = "() => document.querySelector('#mixer').mixer.player.place"
PLAYING = "() => document.querySelector('#mixer').mixer.player.playing"


def measure(page, names, other="all", times=10):
    """Medians of how far off, and how loud; the last place in seconds."""
    found = np.array(page.evaluate(MEASURE, [names, other, times]))
    assert page.evaluate(PLAYING), "the sound was over before the measurement"
    return (*np.median(found[:, :2], axis=0), found[-1, 2])


def until(page, condition):
    """Waits; Playwright's own way is `eval`, which the page forbids."""
    end = time.monotonic() + WAIT / 1000
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(30)


SEEK = "(s) => document.querySelector('#mixer').mixer.player.seek(s)"


def play_from(page, place):
    """Plays from a place on, and waits until it sounds."""
    page.evaluate(SEEK, place)
    if not page.evaluate(PLAYING):
        page.keyboard.press("Space")
    until(page, f"({PLACE})() > {place + 0.1}")


def test_stems_play_in_sync_to_the_sample(page, job):
    page.goto(job)
    page.wait_for_selector(".mixer")
    parts = ["speech", "music", "effects", "residual"]
    for start, end in ((1.0, 1.2), (7.0, 8.05)):  # the latter over a seam
        play_from(page, start)
        off, level, place = measure(page, parts, "original", 32)
        assert place > end
        assert level > 0.01
        assert off < 5 / 2**15  # each is rounded to 16 bits
    starts = page.evaluate(
        "() => document.querySelector('#mixer').mixer.player.starts"
    )
    assert {start["index"] for start in starts} == {0, 1}
    groups = {}
    for start in starts:
        key = start["index"], start["when"], start["offset"]
        groups.setdefault(key, set()).add(start["name"])
    assert all(len(names) == 5 for names in groups.values())


def test_mute_solo_and_volume_change_what_is_heard(page, job):
    page.goto(job)
    page.wait_for_selector(".mixer")
    stems = ["speech", "music", "effects"]
    play_from(page, 2.7)
    off, level, _ = measure(page, stems)
    assert level > 0.01
    assert off < 1e-3
    mute = page.get_by_role("button", name="Mute speech")
    mute.click()
    expect(mute).to_have_attribute("aria-pressed", "true")
    play_from(page, 2.7)
    assert measure(page, stems)[0] > 5e-3  # speech is not heard
    play_from(page, 2.7)
    assert measure(page, stems[1:])[0] < 1e-3
    page.keyboard.press("3")
    page.keyboard.press("s")
    play_from(page, 2.7)
    off, level, _ = measure(page, ["effects"])
    assert off < 1e-3
    for _ in range(6):
        page.keyboard.press("ArrowDown")
    play_from(page, 2.7)
    assert measure(page, ["effects"])[1] / level == pytest.approx(0.5, abs=0.2)
    page.keyboard.press("s")
    page.keyboard.press("m")
    page.get_by_role("button", name="Mute music").click()
    play_from(page, 2.7)
    page.wait_for_timeout(150)  # the fade is 8 ms long
    assert measure(page, [])[1] < 1e-4
    shoot(page, "muted")


def test_a_click_on_a_picture_seeks(page, job):
    page.goto(job)
    pictures = page.locator(".pictures").nth(1)
    box = pictures.bounding_box()
    pictures.click(position={"x": box["width"] / 2, "y": 20})
    assert page.evaluate(f"({PLACE})()") == pytest.approx(5.0, abs=0.05)
    page.keyboard.press("ArrowRight")
    assert page.evaluate(f"({PLACE})()") == pytest.approx(10.0, abs=0.05)
    page.keyboard.press("Home")
    assert page.evaluate(f"({PLACE})()") == 0
    page.keyboard.press("Space")
    until(page, f"({PLACE})() > 0.5")
    page.keyboard.press("Space")
    stopped = page.evaluate(f"({PLACE})()")
    page.wait_for_timeout(300)
    assert page.evaluate(f"({PLACE})()") == stopped


def test_downloads_are_what_separate_writes(page, job, served, tmp_path):
    clip = served.folder / "a<b>.wav"
    args = ["--preset", "bandit_demo", "--engine", "openvino", "--residual"]
    output = ["--output", str(tmp_path), "--quiet"]
    done = python(
        "-m", "keras_bandit", "separate", str(clip), *args, *output, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    page.goto(job)
    for name in ("speech", "music", "effects", "residual"):
        with page.expect_download() as download:
            page.locator("#files").get_by_role("link", name=name).click()
        own = tmp_path / "a<b>" / f"{name}.wav"
        given = pathlib.Path(download.value.path())
        assert given.read_bytes() == own.read_bytes(), name
        assert name in download.value.suggested_filename


def test_the_report_opens_under_the_users_name(page, job):
    page.goto(job)
    with page.context.expect_page() as opened:
        page.locator("#files").get_by_role("link", name="Open").click()
    report = opened.value
    report.wait_for_load_state()
    assert report.locator("h1").inner_text() == "a<b>.wav"
    # Its style and its pictures are let in, and the stems play.
    colour = "getComputedStyle(document.querySelector('.card')).borderRadius"
    assert report.evaluate(colour) != "0px"
    play = "document.querySelector('audio').play().then(() => 1)"
    assert report.evaluate(play) == 1
    shoot(report, "report")


def test_what_is_heard_is_saved_as_a_mix(page, job):
    page.goto(job)
    page.get_by_role("button", name="Mute speech").click()
    page.get_by_label("Volume of music").fill("-6")
    save = page.get_by_role("button", name="Save this mix")
    with page.expect_download() as download:
        save.click()
    row = page.locator("#files li").filter(has_text="Your mix")
    expect(row).to_contain_text("music \u22126.0 dB · effects 0.0 dB")
    expect(row).not_to_contain_text("speech")
    mixed, _ = soundfile.read(download.value.path())
    stems = {}
    for name in ("music", "effects"):
        with page.expect_download() as download:
            page.locator("#files").get_by_role("link", name=name).click()
        stems[name] = soundfile.read(download.value.path())[0]
    expected = 10 ** (-6 / 20) * stems["music"] + stems["effects"]
    np.testing.assert_allclose(mixed, expected, atol=1e-6)
    shoot(page, "mix")
    page.get_by_role("button", name="Mute original").click()
    save.click()
    expect(page.locator("#mix-note")).to_contain_text("Mute the original")


def test_a_film_asks_for_its_sound_track(chromium, tmp_path):
    film = tmp_path / "film.mkv"
    tracks = {name: clicks(4) for name in ("eng", "deu", "fra")}
    make_film(film, tracks, video_seconds=4)
    with Running(tmp_path / "jobs") as server:
        context = chromium.new_context(base_url=server.address)
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.goto("/")
        page.set_input_files("#file", film)
        page.get_by_role("button", name="Separate", exact=True).click()
        expect(page.get_by_label("2: sound deu")).not_to_be_checked()
        expect(page.get_by_label("1: sound eng")).to_be_checked()
        shoot(page, "tracks")
        check_accessible(page)
        page.reload()
        page.get_by_label("All, as channels of one recording").check()
        page.get_by_role("button", name="Separate this track").click()
        page.wait_for_selector(".mixer")
        facts = page.locator("#result-facts")
        expect(facts).to_contain_text("5.1")
        expect(facts).to_contain_text("track 1, 2, 3")
        warnings = page.locator("#warnings")
        expect(warnings).to_contain_text("You hear a stereo downmix")
        page.keyboard.press("Space")
        until(page, f"({PLACE})() > 0.2")
        shoot(page, "surround")
        with page.expect_download() as download:
            page.get_by_role("button", name="Save this mix").click()
        assert soundfile.info(download.value.path()).channels == 6
        context.close()


def test_a_quality_says_what_it_costs(page):
    page.goto("/")
    note = page.locator("#quality-note")
    for name, words in (
        ("Fast", "Chunks of 12 s, one every 10 s: each second is computed 1.2"),
        ("Standard", "Chunks of 6 s, one every 3 s: each second is computed 2"),
        ("The authors'", "one every 0.5 s: each second is computed 12 times"),
    ):
        page.get_by_label(name).check()
        expect(note).to_contain_text(words)
    expect(note).to_contain_text("6 times the work of Standard")
    page.get_by_label("Fast").check()
    expect(note).to_contain_text("40 % less than Standard")
    expect(note).to_contain_text("2 times the memory")


def test_the_page_comes_back_after_a_reload_and_a_restart(page, job, served):
    page.goto(job)
    page.wait_for_selector(".mixer")
    page.reload()
    page.wait_for_selector(".mixer")
    served.stop(kill=True)
    served.start()
    page.reload()
    page.wait_for_selector(".mixer")
    assert page.locator("#result-title").inner_text() == "a<b>.wav"
    assert page.locator("#result-title *").count() == 0  # text, not HTML


def test_cancel_comes_back_and_leaves_nothing(page, served):
    before = served.jobs()
    clip = served.folder / "long.wav"
    soundfile.write(clip, sound(60.0), RATE)
    page.goto("/")
    page.set_input_files("#file", clip)
    page.get_by_role("button", name="Separate", exact=True).click()
    expect(page.locator("#progress-state")).to_have_text(
        "Separating", timeout=WAIT
    )
    assert len(served.jobs()) == len(before) + 1
    page.reload()  # the job goes on, and the page finds it
    expect(page.locator("#progress-title")).to_have_text("long.wav")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#start")).to_be_visible()
    assert served.jobs() == before


def test_a_bad_file_is_one_clear_message(page, served):
    before = served.jobs()
    bad = served.folder / "bad<i>.wav"
    bad.write_bytes(b"PK\x03\x04" + 1000 * b"zip")
    page.goto("/")
    page.set_input_files("#file", bad)
    page.get_by_role("button", name="Separate", exact=True).click()
    message = page.get_by_role("alert")
    expect(message).to_contain_text("bad<i>.wav: ", timeout=WAIT)
    expect(page.locator("#start")).to_be_visible()
    assert "\n" not in message.inner_text()
    assert served.jobs() == before
    shoot(page, "bad_file")
    check_accessible(page)


def test_a_file_is_picked_on_the_server(page):
    page.goto("/")
    page.get_by_role("button", name="Pick one on the server").click()
    shoot(page, "server_files")
    check_accessible(page)
    page.get_by_role("button", name="picked.wav").click()
    expect(page.locator("#chosen")).to_contain_text("picked.wav")
    expect(
        page.get_by_role("button", name="Separate", exact=True)
    ).to_be_enabled()


def test_the_form_works_by_keyboard_alone(page, served):
    # Listened for from now on: Playwright does not wait until Chromium gives
    # choosers away, and a key right after would open one of Chromium's own.
    page.on("filechooser", lambda chooser: None)
    page.goto("/")
    page.wait_for_selector(".model")
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "file":
            break
    assert page.evaluate("document.activeElement.id") == "file"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(served.folder / "root" / "picked.wav")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "go":
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**/job/*")
    page.wait_for_selector(".mixer")


@pytest.mark.parametrize("page", ["light", "dark"], indirect=True)
def test_every_width_and_theme_is_readable(page, storm, request):
    theme = request.node.callspec.params["page"]
    for address, ready, name in (
        ("/", ".model", "start"),
        (storm, ".row", "mixer"),
    ):
        for width in (390, 820, 1280):
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(address)
            page.wait_for_selector(ready)
            page.wait_for_load_state("networkidle")
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide == width, "nothing is cut or scrolled sideways"
            if name == "mixer":
                page.evaluate(SEEK, 9.6)
                page.wait_for_timeout(100)
            shoot(page, f"{name}_{theme}_{width}")
            check_accessible(page)
    play = page.get_by_role("button", name="Play").bounding_box()
    assert min(play["width"], play["height"]) >= 44


def test_a_films_picture_goes_with_the_sound(chromium, tmp_path):
    audio = clicks(seconds=6)
    film = tmp_path / "film.webm"
    make_film(film, audio, "libopus", video="libvpx", video_seconds=6)
    offset = f"document.querySelector('video').currentTime - ({PLACE})()"
    with Running(tmp_path / "jobs") as server:
        request = '{"model": "quick", "remux": "mkv"}'
        name = server.begin(film, "film.webm", request)
        assert server.wait(name)["state"] == "done"
        context = chromium.new_context(base_url=server.address)
        page = context.new_page()
        page.goto(f"/job/{name}")
        until(page, "document.querySelector('video')?.readyState > 1")
        page.keyboard.press("Space")
        until(page, f"({PLACE})() > 1.5")
        # Frames are 40 ms long.
        assert min(abs(page.evaluate(offset)) for _ in range(10)) < 0.08
        assert page.evaluate("document.querySelector('video').muted")
        page.locator(".pictures").first.click(position={"x": 4, "y": 10})
        page.wait_for_timeout(800)
        assert abs(page.evaluate(offset)) < 0.2
        page.keyboard.press("Space")
        page.wait_for_timeout(500)
        assert abs(page.evaluate(offset)) < 0.05
        shoot(page, "film")
        expect(page.locator("#files")).to_contain_text("film.mkv")
        context.close()
