"""`report.json`, `report.html` and the names of files."""

import html.parser
import json
import pathlib
import re
import urllib.parse

import numpy as np
import pytest
import soundfile

from keras_bandit import __version__
from keras_bandit.common.loudness import integrated_loudness
from keras_bandit.inference import separate_file
from keras_bandit.inference.report_page import CSS, _axis, _clock

from ..gains import Gains

pytestmark = pytest.mark.once
RATE = 8000


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(audio):
    soundfile.write("film.wav", audio.T, RATE, subtype="FLOAT")
    return audio


def report(model, **options):
    separate_file("film.wav", "out", model, report=True, **options)
    return json.loads(pathlib.Path("out/report.json").read_text())


def test_loudness_peak_and_null_test():
    time = np.arange(8 * RATE) / RATE
    # Between the samples its peak is 3 dB above them.
    tone = np.sin(2 * np.pi * RATE / 4 * time + np.pi / 4)
    audio = write(0.5 * np.stack([tone, tone]))
    audio[:, : 4 * RATE] = 0
    write(audio)
    found = report(Gains(), mne=True)
    assert list(found["stems"]) == ["speech", "music", "effects", "mne"]
    speech = found["stems"]["speech"]
    expected = integrated_loudness(0.5 * audio, RATE)
    assert speech["loudness_lufs"] == pytest.approx(expected, abs=0.02)
    assert speech["true_peak_dbtp"] == pytest.approx(-12.04, abs=0.3)
    # Stems add up to 7/8 of the mixture.
    expected = 20 * np.log10(1 / 8)
    assert found["null_test_db"] == pytest.approx(expected, abs=0.01)
    assert found["dialogue_share"] == pytest.approx(0.5, abs=0.03)


def test_silence_has_no_numbers():
    write(np.zeros((2, 8000)))
    found = report(Gains())
    assert found["stems"]["music"] == {
        "loudness_lufs": None,
        "loudness_range_lu": 0.0,
        "true_peak_dbtp": None,
    }
    assert found["null_test_db"] is None
    assert found["dialogue_share"] == 0


def test_more_channels_than_the_standard_has():
    write(np.random.default_rng(0).uniform(-0.1, 0.1, (7, 8000)))
    assert report(Gains())["stems"]["speech"]["loudness_lufs"] < 0


class Page(html.parser.HTMLParser):
    """What a page has: tags with attributes, text, and tags left open."""

    EMPTY = ("meta", "img")

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text = [], [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.EMPTY and tag != "br":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def page():
    return Page(pathlib.Path("out/report.html").read_text(encoding="utf-8"))


def test_the_page_has_all_that_is_measured():
    audio = np.random.default_rng(0).uniform(-0.1, 0.1, (2, 3 * RATE))
    write(audio)
    found = report(Gains(), mne=True, markers=["csv"])
    made = page()
    assert not made.open
    sounds = ["mixture", "speech", "music", "effects", "mne"]
    heads = made.all("th")
    assert [h["scope"] for h in heads] == ["col"] * 4 + ["row"] * len(sounds)
    alts = [svg["aria-label"] for svg in made.all("svg")]
    assert alts[0] == "Dialogue in 1 place, 0:03 in all"
    for i, name in enumerate(sounds):
        wave, spectrum = alts[1 + 2 * i : 3 + 2 * i]
        assert wave.startswith(f"Waveform of {name}: \N{MINUS SIGN}")
        assert spectrum == f"Spectrogram of {name}, 0 to 4 kHz"
    loudness = found["stems"]["music"]["loudness_lufs"]
    assert f"{loudness:.1f}".replace("-", "\N{MINUS SIGN}") in made.text
    assert "mne is a draft of an M&E, not a fully-filled one" in made.text
    played = [player["src"] for player in made.all("audio")]
    assert played == [f"./{name}.wav" for name in sounds[1:]]
    linked = [link["href"] for link in made.all("a")]
    assert linked == ["./report.json", "./markers.csv"]
    assert len({svg["viewbox"].split()[2] for svg in made.all("svg")[1:]}) == 1


def test_the_page_needs_no_other_file():
    write(np.full((2, 4000), 0.1))
    report(Gains())
    text = pathlib.Path("out/report.html").read_text(encoding="utf-8")
    tags = {tag for tag, _ in Page(text).tags}
    assert not tags & {"script", "link", "iframe", "object"}
    assert not re.search(r"https?:|@import|url\(", text)
    images = [image["href"] for image in Page(text).all("image")]
    assert all(url.startswith("data:image/png;base64,") for url in images)


def test_names_of_files_are_escaped():
    name = """<b>"it's" & 100%#?.wav"""
    write(np.full((2, 4000), 0.1))
    pathlib.Path("film.wav").rename(name)
    separate_file(name, "out", Gains(), report=True, name="{title} {stem}")
    made = page()
    assert not made.all("b")
    assert f"{name}: stems" in made.text
    sources = [player["src"] for player in made.all("audio")]
    for source in sources:
        assert pathlib.Path("out", urllib.parse.unquote(source)).exists()
        assert not set(source) & set("\"'<>#? ")
    assert len(sources) == 3


def test_a_title_stands_for_the_files_name():
    title = "<b>Reel 1<b>.mov"
    write(np.full((2, 4000), 0.1))
    found = report(Gains(), title=title, markers=["edl"])
    assert found["recording"]["source"] == title
    assert not page().all("b")
    assert f"{title}: stems" in page().text
    edl = pathlib.Path("out/markers.edl").read_text()
    assert edl.startswith(f"TITLE: {title} DIALOGUE\n")
    assert "film.wav" not in edl + page().text
    named = {"title": "Reel 1.mov", "name": "{title} {stem}"}
    done = separate_file("film.wav", "named", Gains(), **named)
    assert done.paths["speech"].name == "Reel 1 speech.wav"


def test_a_model_and_its_licence_are_named():
    write(np.full((2, 4000), 0.1))
    model = Gains()
    model.metadata = {"preset": "some", "license": "CC BY-NC 4.0"}
    found = report(model, deliver=["me", "dialogue"])
    assert found["recording"] == {
        "source": "film.wav",
        "seconds": 0.5,
        "sample_rate": RATE,
        "channels": 2,
        "layout": "stereo",
        "model": "some (CC BY-NC 4.0)",
        "program": f"keras-bandit {__version__}",
    }
    assert "dialogue_share" in found
    made = page()
    assert "some (CC BY-NC 4.0)" in made.text
    assert "me is a draft of an M&E" in made.text
    assert len(made.all("audio")) == 2


def test_silence_and_mono_files_have_a_page():
    write(np.zeros((2, 8000)))
    report(Gains(), split_channels=True, stems=["speech", "music"])
    made = page()
    assert not made.all("audio")
    linked = [link["href"] for link in made.all("a")]
    assert linked[:2] == ["./speech.L.wav", "./speech.R.wav"]
    assert "silent" in made.text


def contrast(first, second):
    """WCAG 2.2's contrast of two colours, "#rrggbb"."""

    def luminance(color):
        values = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [
            v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4
            for v in values
        ]
        return np.dot([0.2126, 0.7152, 0.0722], linear)

    dark, light = sorted([luminance(first), luminance(second)])
    return (light + 0.05) / (dark + 0.05)


def test_colours_of_text_can_be_read():
    light, dark = CSS.split("@media")
    for theme in (light, dark):
        colors = dict(re.findall(r"--(\w+): (#\w{6})", theme))
        for text in ("text", "quiet", "accent", "s0", "s1", "s2", "s3", "s4"):
            for under in ("page", "card"):
                assert contrast(colors[text], colors[under]) >= 4.5


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.5, ["0:00.0", "0:00.1", "0:00.2", "0:00.3", "0:00.4"]),
        (61, ["0:00", "0:15", "0:30", "0:45", ""]),
        (7200, ["0:00", "30:00", "1:00:00", "1:30:00"]),
        (90_000, ["0:00", "5:00:00", "10:00:00", "15:00:00", "20:00:00"]),
    ],
)
def test_time_axis(seconds, expected):
    assert re.findall(r">([^<>]*)</span>", _axis(seconds)) == expected
    assert _clock(3723.46, 1) == "1:02:03.5"
    assert _clock(59.96, 1) == "1:00.0"


def test_names_by_a_template():
    write(np.full((2, 4000), 0.1))
    name = "{title}_{stem}_{layout}_{rate}"
    done = separate_file("film.wav", "out", Gains(), name=name)
    assert done.paths["speech"].name == "film_speech_stereo_8000.wav"
    assert done.paths["speech"].exists()


@pytest.mark.parametrize(
    "name",
    [
        "{title}",
        "{stem}/x",
        "{stem",
        "{0}{stem}",
        "{name}{stem}",
        ".{stem}",
        "",
    ],
)
def test_bad_templates_are_refused(name):
    write(np.full((2, 4000), 0.1))
    with pytest.raises(ValueError, match="name must hold"):
        separate_file("film.wav", "out", Gains(), name=name)
    assert not pathlib.Path("out").exists()
