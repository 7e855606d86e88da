"""Natural sounds: found in packages, sorted, packed; with made packages."""

import csv
import io
import zipfile

import natural_sounds
import numpy as np
import pytest
import soundfile
from natural_sounds import Source

pytestmark = pytest.mark.once

RATE = 22050
COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/

Files: *
Copyright: 2001, the authors of {0}
           2002, others
License: GPL-2+

Files: debian/*
Copyright: a packager
License: Expat

Files: data/music/* speech.wav
Copyright: a composer
License: CC-BY-3.0
 and its text

License: GPL-2+
 Its text.
"""


def tone(seconds, hz=440.0, level=0.3):
    time = np.arange(round(seconds * RATE)) / RATE
    return (level * np.sin(2 * np.pi * hz * time)).astype("float32")


def as_wav(audio):
    file = io.BytesIO()
    soundfile.write(file, audio, RATE, format="WAV")
    return file.getvalue()


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Three unpacked packages, one with an archive, and their sources."""
    sources = [
        Source("voices", "speech", r"share/(\w+)/"),
        Source("game", "music", r"/music/"),
        Source("game", "effects", r"sounds/"),
        Source("other", "speech", r"speech", "test"),
    ]
    monkeypatch.setattr(natural_sounds, "SOURCES", sources)
    folder = tmp_path / "packages"
    files = {
        f"voices/usr/share/{speaker}/{number}.wav": tone(1.5, 10 * hz + number)
        for hz, speaker in enumerate("abcdefghijklmnopqrstuvwx", 20)
        for number in range(3)
    }
    files["voices/usr/share/a/silent.wav"] = tone(1.5, level=0.0)
    files["voices/usr/share/a/clipped.wav"] = tone(1.5, level=9.0).clip(-1, 1)
    files["game/usr/share/music/theme.wav"] = tone(14.0)
    files["game/usr/share/sounds/wind.wav"] = tone(11.0, 100)
    files["game/usr/share/sounds/click.wav"] = tone(0.01, 100)
    files["other/usr/share/speech.wav"] = tone(2.0, 300)
    for name, audio in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(as_wav(audio))
    with zipfile.ZipFile(folder / "game/usr/share/all.zip", "w") as archive:
        for number in range(40):
            sound = as_wav(tone(0.5, 300 + 10 * number))
            archive.writestr(f"sounds/sound{'x' * number}.wav", sound)
    for package in ("voices", "game", "other"):
        path = folder / package / "usr/share/doc" / package / "copyright"
        path.parent.mkdir(parents=True)
        path.write_text(COPYRIGHT.format(package))
    return folder


def read_manifest(folder):
    with (folder / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_sounds_are_sorted_and_splits_share_no_group(packages, tmp_path):
    output = tmp_path / "sounds"
    natural_sounds.main([str(packages), str(output)])
    rows = read_manifest(output)
    assert {row["split"] for row in rows} == {"train", "validation", "test"}
    splits = {}
    for row in rows:
        audio, rate = soundfile.read(output / row["file"])
        assert (rate, audio.ndim) == (natural_sounds.SAMPLE_RATE, 1)
        assert len(audio) / rate == pytest.approx(
            float(row["seconds"]), abs=0.01
        )
        assert 0.05 < np.abs(audio).max() <= 0.91
        splits.setdefault(row["group"], set()).add(row["split"])
    assert all(len(found) == 1 for found in splits.values())
    sources = "; ".join(row["sources"] for row in rows)
    for left_out in ("silent", "clipped", "click"):
        assert left_out not in sources
    kinds = {row["sources"]: row["kind"] for row in rows}
    assert kinds["usr/share/sounds/wind.wav"] == "background"
    assert sum(kind == "foreground" for kind in kinds.values()) == 40
    # Three utterances of 1.5 s and pauses make one file of a speaker.
    spoken = [float(r["seconds"]) for r in rows if r["package"] == "voices"]
    assert len(spoken) == 24
    assert 4.5 < min(spoken) < max(spoken) < 6.5
    credits = (output / "CREDITS.md").read_text().splitlines()
    assert (
        "| game | 41 | GPL-2+ | 2001, the authors of game; 2002, others |"
        in (credits)
    )
    # Patterns are of the source package, whose first folder is not installed.
    assert "| game | 1 | CC-BY-3.0 | a composer |" in credits
    assert "| other | 1 | CC-BY-3.0 | a composer |" in credits
    assert not any("packager" in line for line in credits)


def test_licences_that_were_read_by_hand(tmp_path):
    rows = [
        {"package": "neural", "sources": "joe_1.0/0.wav; jf_alpha/0.wav"},
        {"package": "wesnoth-1.16-music", "sources": "usr/share/a.ogg"},
        {"package": "unknown", "sources": "a.ogg"},
    ]
    found = {
        (row["package"], row["licence"].partition(" ")[0]): row["files"]
        for row in natural_sounds.licences(tmp_path, rows)
    }
    assert found == {
        ("neural", "CC0"): 1,
        ("neural", "Apache-2.0"): 1,
        ("wesnoth-1.16-music", "GPL-2+"): 1,
        ("unknown", "see"): 1,
    }


def test_missing_packages_are_named(packages, tmp_path, monkeypatch):
    more = [*natural_sounds.SOURCES, Source("absent", "music", "x")]
    monkeypatch.setattr(natural_sounds, "SOURCES", more)
    with pytest.raises(ValueError, match="lacks absent"):
        natural_sounds.main([str(packages), str(tmp_path / "sounds")])


def test_no_package_trains_and_tests():
    tested = {s.package for s in natural_sounds.SOURCES if s.split == "test"}
    others = {s.package for s in natural_sounds.SOURCES if s.split != "test"}
    assert tested
    assert not tested & others
    # Kept for judging.
    assert not any("hedgewars" in name for name in tested | others)


def test_pack_has_as_much_of_every_group(packages, tmp_path, monkeypatch):
    monkeypatch.setitem(natural_sounds.PACKED_SECONDS, "speech", 3.0)
    sounds, pack = tmp_path / "sounds", tmp_path / "pack"
    natural_sounds.main([str(packages), str(sounds)])
    natural_sounds.main([str(sounds), str(pack), "--pack"])
    files = sorted(pack.rglob("*.opus"))
    assert not (pack / "test").exists()
    assert len(files) == sum(
        r["split"] != "test" for r in read_manifest(sounds)
    )
    spoken = [soundfile.info(p) for p in files if "speech" in p.parts]
    assert {round(info.duration, 1) for info in spoken} == {3.0}
    assert {info.samplerate for info in spoken} == {48000}
