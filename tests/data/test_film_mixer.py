"""Sets of mixed tracks: layout, splits, going on after a stop, errors."""

import csv
import itertools
import sys

import numpy as np
import pytest
import soundfile

from keras_bandit.data import film_mixer
from keras_bandit.data.film_mixer import mix_film_tracks
from keras_bandit.data.track_files import FolderError

pytestmark = pytest.mark.once

RATE = 8000
SMALL = {"seconds": 3.0, "sample_rate": RATE}
STEMS = ("mix", "speech", "music", "sfx")


def read(folder):
    audio = {}
    for stem in STEMS:
        audio[stem], rate = soundfile.read(
            folder / f"{stem}.wav", dtype="float32"
        )
        assert rate == RATE
    return audio


def events(folder):
    with (folder / "annots.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def fill(folder, count, seed=0, sample_rate=RATE, channels=1):
    """A folder of noises of a second or two."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for number in range(count):
        samples = int(rng.uniform(1, 2) * sample_rate)
        audio = 0.1 * rng.standard_normal((samples, channels))
        soundfile.write(
            folder / f"{folder.name}{number}.wav", audio, sample_rate
        )
    return folder


@pytest.fixture
def folders(tmp_path):
    return {
        "speech_dir": fill(tmp_path / "in" / "speech", 5, 1, 16000),
        "music_dir": fill(tmp_path / "in" / "music", 4, 2, RATE, channels=2),
        "effects_dir": fill(tmp_path / "in" / "effects", 6, 3),
    }


def test_layout_is_that_of_dnr_v2(tmp_path):
    counts = {"train": 2, "validation": 1, "test": 1}
    seen = []
    tracks = mix_film_tracks(
        tmp_path / "out",
        counts,
        progress=lambda done, total: seen.append((done, total)),
        **SMALL,
    )
    assert seen == [(n, 4) for n in range(5)]
    written = {
        p.relative_to(tmp_path / "out").as_posix()
        for p in (tmp_path / "out").rglob("*.wav")
    }
    assert written == {
        f"{track}/{stem}.wav"
        for track in ("tr/0", "tr/1", "cv/0", "tt/0")
        for stem in STEMS
    }
    assert {k: len(v) for k, v in tracks.items()} == counts
    for split, folder in (
        ("train", "tr"),
        ("validation", "cv"),
        ("test", "tt"),
    ):
        assert tracks[split][0] == tmp_path / "out" / folder / "0"
    for path in itertools.chain(*tracks.values()):
        audio = read(path)
        assert all(samples.shape == (24000,) for samples in audio.values())
        total = audio["speech"] + audio["music"] + audio["sfx"]
        np.testing.assert_allclose(audio["mix"], total, atol=1e-6)
        assert list(events(path)[0]) == [
            "file",
            "class",
            "mix start time",
            "mix end time",
            "clip start time",
            "clip end time",
            "clip gain",
        ]
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "tr",
        "cv",
        "tt",
        "film_mix.json",
    }


def test_a_file_is_heard_in_one_split_only(tmp_path, folders):
    counts = {"train": 4, "validation": 3, "test": 3}
    tracks = mix_film_tracks(tmp_path / "out", counts, **folders, **SMALL)
    heard = {
        split: {event["file"] for path in paths for event in events(path)}
        for split, paths in tracks.items()
    }
    assert not heard["train"] & heard["validation"]
    assert not heard["train"] & heard["test"]
    assert not heard["validation"] & heard["test"]
    kinds = {name.rstrip("0123456789.wav") for name in heard["train"]}
    assert kinds == {"speech", "music", "effects"}


def test_foreground_and_background_may_lie_apart(tmp_path):
    fill(tmp_path / "in" / "foreground", 2, 1)
    fill(tmp_path / "in" / "background", 2, 2)
    tracks = mix_film_tracks(
        tmp_path / "out", {"train": 2}, effects_dir=tmp_path / "in", **SMALL
    )
    for event in itertools.chain(*map(events, tracks["train"])):
        if event["class"] in ("sfx", "background"):
            part = "foreground" if event["class"] == "sfx" else "background"
            assert event["file"].startswith(part)
        else:
            assert event["file"].startswith("generated/")


def test_tracks_do_not_depend_on_how_many_there_are(tmp_path, folders):
    few = mix_film_tracks(tmp_path / "a", {"train": 1}, **folders, **SMALL)
    more = mix_film_tracks(
        tmp_path / "b", {"train": 2}, **folders, **SMALL, seed=0
    )
    other = mix_film_tracks(
        tmp_path / "c", {"train": 1}, **folders, **SMALL, seed=1
    )
    first = read(few["train"][0])
    for stem, samples in read(more["train"][0]).items():
        np.testing.assert_array_equal(samples, first[stem])
        assert not np.array_equal(samples, read(more["train"][1])[stem])
        assert not np.array_equal(samples, read(other["train"][0])[stem])


def test_mixing_goes_on_where_it_stopped(tmp_path, folders, monkeypatch):
    whole = mix_film_tracks(tmp_path / "a", {"train": 3}, **folders, **SMALL)
    mixed = []
    real = film_mixer.mix_film_track

    def stop_at_second(seed, *arguments):
        if mixed:
            raise KeyboardInterrupt
        mixed.append(seed)
        return real(seed, *arguments)

    monkeypatch.setattr(film_mixer, "mix_film_track", stop_at_second)
    out = tmp_path / "b"
    with pytest.raises(KeyboardInterrupt):
        mix_film_tracks(out, {"train": 3}, **folders, **SMALL)
    assert [path.name for path in (out / "tr").iterdir()] == ["0"]
    monkeypatch.setattr(film_mixer, "mix_film_track", real)
    kept = (out / "tr" / "0" / "mix.wav").stat().st_mtime_ns
    seen = []
    tracks = mix_film_tracks(
        out,
        {"train": 3},
        progress=lambda done, total: seen.append(done),
        **folders,
        **SMALL,
    )
    assert seen == [1, 2, 3]
    assert (out / "tr" / "0" / "mix.wav").stat().st_mtime_ns == kept
    for track, expected in zip(tracks["train"], whole["train"], strict=True):
        for stem, samples in read(track).items():
            np.testing.assert_array_equal(samples, read(expected)[stem])


def test_a_write_that_fails_leaves_no_track(tmp_path, monkeypatch):
    def fail(path, events):
        raise OSError("disk full")

    monkeypatch.setattr(film_mixer, "_write_annotations", fail)
    # Settings may change as long as there is no track.
    for seed in (0, 1):
        with pytest.raises(OSError, match="disk full"):
            mix_film_tracks(tmp_path, {"train": 1}, seed=seed, **SMALL)
        assert not list((tmp_path / "tr").iterdir())


def test_processes_give_the_same_tracks(tmp_path):
    one = mix_film_tracks(tmp_path / "a", {"test": 2}, **SMALL)
    two = mix_film_tracks(tmp_path / "b", {"test": 2}, workers=2, **SMALL)
    for track, expected in zip(two["test"], one["test"], strict=True):
        for stem, samples in read(track).items():
            np.testing.assert_array_equal(samples, read(expected)[stem])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "seed: 0 before, 1 now"),
        ({"seconds": 4.0}, "seconds: 3.0 before, 4.0 now"),
        ({"counts": {"train": 1, "test": 1}}, "files.test.music.*absent be"),
        ({"music_dir": None}, "files.train.music: absent before, None"),
    ],
)
def test_other_tracks_are_neither_joined_nor_lost(
    tmp_path, folders, change, message
):
    arguments = {"counts": {"train": 1}, **folders, **SMALL}
    before = mix_film_tracks(tmp_path / "out", **arguments)["train"][0]
    expected = read(before)
    with pytest.raises(ValueError, match=message):
        mix_film_tracks(tmp_path / "out", **arguments | change)
    np.testing.assert_array_equal(read(before)["mix"], expected["mix"])
    mix_film_tracks(tmp_path / "out", **arguments | change, overwrite=True)
    assert not np.array_equal(read(before)["mix"], expected["mix"])


def test_a_changed_file_is_noticed(tmp_path, folders):
    arguments = {"counts": {"train": 1}, **folders, **SMALL}
    mix_film_tracks(tmp_path / "out", **arguments)
    path = folders["music_dir"] / "music0.wav"
    soundfile.write(path, 0.1 * np.ones(500), RATE)
    with pytest.raises(ValueError, match=r"music0\.wav: .* before"):
        mix_film_tracks(tmp_path / "out", **arguments)


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_tracks_of_others_are_left_alone(tmp_path, overwrite):
    mine = tmp_path / "tt" / "1002" / "mix.wav"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"DnR")
    with pytest.raises(ValueError, match="did not write"):
        mix_film_tracks(tmp_path, {"train": 1}, overwrite=overwrite, **SMALL)
    assert mine.read_bytes() == b"DnR"
    assert not (tmp_path / "tr").exists()


def test_a_full_disk_leaves_no_half_written_track(
    tmp_path, folders, monkeypatch
):
    write, written = soundfile.write, []

    def break_off(path, *args, **kwargs):
        if len(written) == 5:  # the second file of the second track
            raise soundfile.LibsndfileError(2)
        written.append(path)
        write(path, *args, **kwargs)

    monkeypatch.setattr(film_mixer.soundfile, "write", break_off)
    out, arguments = tmp_path / "out", {**folders, **SMALL}
    with pytest.raises(OSError, match=r"speech\.wav: writing broke off"):
        mix_film_tracks(out, {"train": 2}, **arguments)
    assert {path.name for path in out.iterdir()} == {"film_mix.json", "tr"}
    assert [path.name for path in (out / "tr").iterdir()] == ["0"]


def test_bad_files_are_all_named_before_mixing_and_can_be_skipped(
    tmp_path, folders
):
    bad = [folders["speech_dir"] / "zero.wav", folders["music_dir"] / "x.wav"]
    for path in bad:
        soundfile.write(path, np.zeros(RATE), RATE)
    text = folders["effects_dir"] / "text.wav"
    text.write_text("no sound")
    out, arguments = tmp_path / "out", {**folders, **SMALL}
    with pytest.raises(FolderError, match=r"skip=") as error:
        mix_film_tracks(out, {"train": 1}, **arguments)
    silent = {f"{path}: silent" for path in bad}
    assert silent == {p for p in error.value.problems if "silent" in p}
    assert any(f"{text}: not audio" in p for p in error.value.problems)
    bad.append(text)
    assert not out.exists()
    mix_film_tracks(out, {"train": 1}, **arguments, skip=bad)
    assert (out / "tr" / "0").is_dir()
    with pytest.raises(ValueError, match="elsewhere"):
        mix_film_tracks(
            out, {"train": 1}, **arguments, skip=[tmp_path / "elsewhere.wav"]
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"counts": {}}, "counts="),
        ({"counts": {"train": 0}}, "counts="),
        ({"counts": {"training": 1}}, "training"),
        ({"counts": {"train": -1}}, "counts.*train.* at least 0; got -1"),
        ({"counts": {"train": 1.5}}, "counts.*train.* integer.*; got 1.5"),
        ({"seconds": 0.5}, "seconds=0.5"),
        ({"seconds": float("nan")}, "seconds=nan"),
        ({"seconds": 1e300}, "seconds .* at most 86400; got 1e.300"),
        ({"sample_rate": 4000}, "sample_rate .*; got 4000"),
        ({"sample_rate": 10**12}, "sample_rate .* to 768000; got 10*$"),
        ({"seed": -1}, "-1"),
        ({"workers": 0}, "workers"),
    ],
)
def test_bad_arguments_are_named(tmp_path, change, message):
    arguments = {"counts": {"train": 1}, **SMALL} | change
    with pytest.raises(ValueError, match=message):
        mix_film_tracks(tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_missing_pyloudnorm_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyloudnorm", None)
    with pytest.raises(ImportError, match=r"keras-bandit\[mix\]"):
        mix_film_tracks(tmp_path / "out", {"train": 1}, **SMALL)
    assert not (tmp_path / "out").exists()
