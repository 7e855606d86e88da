"""Preparing datasets: all or nothing, and errors that name every file."""

import shutil

import numpy as np
import pytest
import soundfile

from keras_bandit import cli
from keras_bandit.data import open_tracks
from keras_bandit.data.prepare import (
    DEFAULT_CONFIGS,
    load_builder,
    prepare,
)
from keras_bandit.data.track_builder import TrackBuilder
from keras_bandit.data.track_files import FolderError

pytestmark = pytest.mark.once

RATE = 8000
NAMES = ("mix", "speech", "music", "sfx")


def write(path, num_samples=9000, **kwargs):
    """Writes noise that is its own at every path."""
    rng = np.random.default_rng(list(str(path).encode()))
    path.parent.mkdir(parents=True, exist_ok=True)
    audio = rng.uniform(-1, 1, num_samples)
    soundfile.write(path, audio, kwargs.pop("rate", RATE), **kwargs)


@pytest.fixture
def dnr(tmp_path):
    """A folder in DnR v2's layout with two tracks for training."""
    for folder in ("tr/a", "tr/b", "cv/c", "tt/d"):
        for name in NAMES:
            write(tmp_path / "dnr" / folder / f"{name}.wav")
    return tmp_path / "dnr"


def cut(path, share=0.5):
    """Leaves the first part of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])


def spoil(path):
    """Zeros a stretch in the middle of a file."""
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(2000)
    path.write_bytes(data)


def data_files(data_dir):
    """All files but TFDS' note of the default config's name."""
    return [
        path
        for path in data_dir.rglob("*")
        if path.is_file() and path.parent.name != ".config"
    ]


@pytest.mark.parametrize("storage", ["paths", "segments"])
def test_all_bad_files_are_named_and_nothing_is_left(dnr, tmp_path, storage):
    data = tmp_path / "data"
    good = {path: path.read_bytes() for path in dnr.rglob("*.wav")}
    cut(dnr / "tr/a/speech.wav")
    write(dnr / "tr/b/music.wav", 8999)
    (dnr / "cv/c/sfx.wav").write_text("This is not audio.")
    write(dnr / "tt/d/mix.wav", rate=44100)
    with pytest.raises(FolderError) as caught:
        prepare("dnr", dnr, data, f"v2_{storage}")
    assert len(caught.value.problems) == 4
    message = str(caught.value)
    for line in (
        "4 files cannot be used",
        "tr/a/speech.wav: breaks off after",
        "tr/b/music.wav: 8999 samples, 1 channel(s), 8000 Hz; the other",
        "cv/c/sfx.wav: not audio, or damaged",
        "tt/d/mix.wav: 9000 samples, 1 channel(s), 44100 Hz; the other",
    ):
        assert line in message
    assert not data_files(data)
    with pytest.raises(ValueError, match="none is"):
        open_tracks("dnr", "train", data)
    # Repaired, it is prepared by the same call.
    for path, content in good.items():
        path.write_bytes(content)
    prepare("dnr", dnr, data, f"v2_{storage}")
    tracks = open_tracks("dnr", "train", data, storage)
    assert [track.name for track in tracks] == ["a", "b"]


def test_damage_inside_flac_is_found(dnr, tmp_path):
    """Headers and ends are sound; only decoding shows it, in any split."""
    for folder in ("tr/a", "tt/d"):
        (dnr / folder / "music.wav").unlink()
        write(dnr / folder / "music.flac")
        spoil(dnr / folder / "music.flac")
    with pytest.raises(FolderError, match="2 damaged files") as caught:
        prepare("dnr", dnr, tmp_path / "data", "v2_segments")
    assert "tr/a/music.flac: damaged" in str(caught.value)
    assert "tt/d/music.flac: damaged" in str(caught.value)
    assert not data_files(tmp_path / "data")


def test_missing_files_and_folders_are_named(dnr, tmp_path):
    (dnr / "tr/b/music.wav").unlink()
    (dnr / "tr/b/sfx.wav").unlink()
    shutil.rmtree(dnr / "cv")
    with pytest.raises(FolderError) as caught:
        prepare("dnr", dnr, tmp_path / "data")
    message = str(caught.value)
    assert "tr/b: missing music.wav, sfx.wav" in message
    assert "cv: no such folder" in message
    assert "no tracks for the split validation" in message


def test_bad_files_are_named_with_the_missing_ones(dnr, tmp_path):
    (dnr / "tr/b/music.wav").unlink()
    cut(dnr / "tr/a/speech.wav")
    with pytest.raises(FolderError, match="is incomplete") as caught:
        prepare("dnr", dnr, tmp_path / "data")
    missing, damaged = caught.value.problems
    assert "tr/b: missing music.wav" in missing
    assert "tr/a/speech.wav: breaks off" in damaged


def test_what_is_not_a_number_is_named(dnr, tmp_path):
    audio = np.zeros(9000)
    audio[8100] = np.nan
    soundfile.write(dnr / "tr/b/sfx.wav", audio, RATE, subtype="FLOAT")
    with pytest.raises(FolderError, match="1 damaged file") as caught:
        prepare("dnr", dnr, tmp_path / "data", "v2_segments")
    (problem,) = caught.value.problems
    assert "tr/b/sfx.wav: not a finite number at sample 8100" in problem


def test_wrong_folders_are_refused(tmp_path):
    data = tmp_path / "data"
    with pytest.raises(FolderError, match="nowhere: no such folder"):
        prepare("dnr", tmp_path / "nowhere", data)
    (tmp_path / "empty").mkdir()
    for dataset in ("dnr", "musdb18_hq"):
        with pytest.raises(FolderError, match=r"empty is empty\n  .*ownload"):
            prepare(dataset, tmp_path / "empty", data)
    (tmp_path / "empty" / "notes.txt").write_text("not empty any more")
    with pytest.raises(
        FolderError, match=r"is not DnR v2.*lacks the folders tr, cv, tt"
    ):
        prepare("dnr", tmp_path / "empty", data)
    with pytest.raises(
        FolderError, match=r"is not MUSDB18-HQ.* lacks the(.|\n)*unzip"
    ):
        prepare("musdb18_hq", tmp_path / "empty", data)
    with pytest.raises(FolderError, match="subset eng"):
        prepare("dnr", tmp_path / "empty", data, "v3_eng_paths")
    with pytest.raises(FolderError, match="neither sounds"):
        prepare("film_mix", tmp_path / "empty", data)


def test_a_stranger_among_tracks_is_named(dnr, tmp_path):
    for name in NAMES:
        write(dnr / f"tt/d/{name}.wav", rate=44100)
    with pytest.raises(FolderError, match="track d: 44100 Hz, 1 channel"):
        prepare("dnr", dnr, tmp_path / "data")


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match="dataset must be one of dnr, musdb"):
        load_builder("musdb", tmp_path)
    with pytest.raises(ValueError, match=r"v3_SUBSET_STORAGE.*'v2_eng_paths'"):
        load_builder("dnr", tmp_path, "v2_eng_paths")
    with pytest.raises(ValueError, match=r"one of paths.*'v2_paths'"):
        load_builder("musdb18_hq", tmp_path, "v2_paths")
    with pytest.raises(ValueError, match=r"STORAGE one of paths, segments"):
        load_builder("dnr", tmp_path, "v2_tracks")
    with pytest.raises(ValueError, match="mixing is for film_mix"):
        prepare("dnr", tmp_path, tmp_path, mixing={"seed": 1})
    # Any subset of version 3, also one that nobody has thought of.
    name = "v3_multi-v2b_segments"
    config = load_builder("dnr", tmp_path, name).builder_config
    assert (config.subset, config.storage) == ("multi-v2b", "segments")


def test_a_full_disk_is_named(dnr, tmp_path, monkeypatch):
    def fill(self, **kwargs):
        raise RuntimeError("write() failed: No space left on device; …")

    monkeypatch.setattr(TrackBuilder, "download_and_prepare", fill)
    with pytest.raises(OSError, match=r"No space left on device: .*v2_"):
        prepare("dnr", dnr, tmp_path / "data")


def test_overwrite_keeps_what_it_cannot_replace(dnr, tmp_path):
    data = tmp_path / "data"
    directory, notes = prepare("dnr", dnr, data)
    assert "train has 2 tracks; the full release has 3406" in notes
    with pytest.raises(FileExistsError, match=r"v2_paths/1\.0\.0 is prepared"):
        prepare("dnr", dnr, data)
    before = {path: path.read_bytes() for path in data_files(directory)}
    spoiled = (dnr / "tt/d/mix.wav").read_bytes()
    cut(dnr / "tt/d/mix.wav")
    with pytest.raises(FolderError):
        prepare("dnr", dnr, data, overwrite=True)
    assert {p: p.read_bytes() for p in data_files(directory)} == before
    (dnr / "tt/d/mix.wav").write_bytes(spoiled)
    shutil.copytree(dnr / "tr/a", dnr / "tr/e")
    prepare("dnr", dnr, data, overwrite=True)
    names = [track.name for track in open_tracks("dnr", "train", data)]
    assert names == ["a", "b", "e"]
    assert [path.name for path in directory.parent.iterdir()] == ["1.0.0"]


def test_every_subset_of_dnr_v3_is_counted(tmp_path):
    for track in ("eng/train/0", "eng/val/0", "eng/test/0", "deu/train/0"):
        for name in ("mixture", "speech", "music", "sfx"):
            write(tmp_path / "dnr" / track / f"{name}.flac")
    for split in ("val", "test"):
        folder = tmp_path / "dnr" / "eng" / split / "0"
        shutil.copytree(folder, tmp_path / "dnr" / "deu" / split / "0")
    _, notes = prepare("dnr", tmp_path / "dnr", tmp_path / "data", "v3_paths")
    assert notes == [
        f"{subset}/{split} has 1 tracks; the full release has {count}"
        for subset in ("deu", "eng")
        for split, count in (
            ("train", 6000),
            ("validation", 600),
            ("test", 1200),
        )
    ]


def test_missing_validation_songs_are_named(tmp_path):
    """MUSDB18-HQ's fourteen are known; of the others only the number is."""
    from keras_bandit.datasets.musdb18_hq import musdb18_hq_dataset_builder

    first, *others = musdb18_hq_dataset_builder.VALIDATION_TRACKS
    absent = others[3:5]
    songs = {first, *others} - {*absent}
    # Spelt otherwise: it counts as a song for training.
    songs = [*songs - {first}, first.lower()]
    for song in [*(f"train/{name}" for name in songs), "test/A - B"]:
        for stem in musdb18_hq_dataset_builder.STEMS:
            write(tmp_path / "musdb" / song / f"{stem}.wav", 100)
    _, notes = prepare("musdb18_hq", tmp_path / "musdb", tmp_path / "data")
    assert notes == [
        "train has 1 tracks; the full release has 86",
        "validation has 11 tracks; the full release has 14",
        "test has 1 tracks; the full release has 50",
        "validation lacks ANiMAL - Rockshow, Fergessen - Nos Palpitants, "
        "James May - On The Line",
    ]


@pytest.mark.parametrize(("dataset", "config"), DEFAULT_CONFIGS.items())
def test_default_configs_exist(dataset, config, tmp_path):
    builder = load_builder(dataset, tmp_path)
    assert builder.builder_config.name == config
    assert builder.builder_config.storage == "paths"


MIXING = {
    "counts": {"train": 2, "validation": 1, "test": 1},
    "seconds": 2.0,
    "sample_rate": 8000,
}


@pytest.mark.parametrize("folders", [(), ("speech",), ("music", "effects")])
def test_film_mix_from_sounds(tmp_path, folders):
    """From the user's folders, from none, or from some and our generators."""
    sounds, data = tmp_path / "sounds", tmp_path / "data"
    sounds.mkdir()
    for folder in folders:
        for number in range(4):
            write(sounds / folder / f"{number}.wav", 12000)
    prepare("film_mix", sounds, data, mixing=MIXING)
    for split, count in MIXING["counts"].items():
        tracks = open_tracks("film_mix", split, data)
        assert len(tracks) == count
        for track in tracks:
            assert track.stems == ("mixture", "speech", "music", "effects")
            assert (track.num_samples, track.sample_rate) == (16000, 8000)
            mixture, *stems = (track.read(stem) for stem in track.stems)
            np.testing.assert_allclose(sum(stems), mixture, atol=1e-6)
            assert all(np.abs(stem).max() > 1e-4 for stem in stems)


def test_film_mix_goes_on(tmp_path):
    """More tracks are added, the old ones are not mixed again."""
    sounds, data = tmp_path / "sounds", tmp_path / "data"
    sounds.mkdir()
    prepare("film_mix", sounds, data, mixing=MIXING)
    old = {path: path.stat().st_mtime_ns for path in sounds.rglob("*.wav")}
    more = {**MIXING, "counts": {"train": 3, "validation": 1, "test": 1}}
    prepare("film_mix", sounds, data, mixing=more, overwrite=True)
    assert len(open_tracks("film_mix", "train", data)) == 3
    assert {path: path.stat().st_mtime_ns for path in old} == old
    other = {**more, "seed": 5}
    with pytest.raises(ValueError, match="seed"):
        prepare("film_mix", sounds, data, mixing=other, overwrite=True)
    assert len(open_tracks("film_mix", "train", data)) == 3
    # The folder that was mixed is one more place to prepare from.
    prepare("film_mix", sounds / "mixed", data, "segments")
    first = open_tracks("film_mix", "test", data, "segments")[0]
    again = open_tracks("film_mix", "test", data)[0]
    np.testing.assert_array_equal(first.read("music"), again.read("music"))


def test_command(dnr, tmp_path, capsys):
    args = ["prepare", "dnr", "--manual-dir", str(dnr), "--data-dir"]
    data = tmp_path / "data"
    assert cli.main([*args, str(data)]) == 0
    out, err = capsys.readouterr()
    assert str(data / "dnr" / "v2_paths" / "1.0.0") in out
    assert "train 2, validation 1, test 1" in out
    assert "the full release has 973" in err
    assert len(open_tracks("dnr", "train", data)) == 2

    assert cli.main([*args, str(data)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert cli.main([*args, str(data), "--overwrite"]) == 0
    assert cli.main([*args, str(data), "--config", "v2_segments"]) == 0
    capsys.readouterr()
    (dnr / "tr/a/mix.wav").unlink()
    assert cli.main([*args, str(data), "--overwrite"]) == 2
    assert "tr/a: missing mix.wav" in capsys.readouterr().err
    assert cli.main([*args, str(data), "--config", "foo"]) == 2
    assert "config must be v2_STORAGE" in capsys.readouterr().err
    assert cli.main([*args, str(data), "--config", "v1_paths"]) == 2
    assert "v1_paths" in capsys.readouterr().err


def test_command_skips_sounds(tmp_path, capsys, monkeypatch):
    """Bad sounds are named with the option that leaves them out."""
    monkeypatch.chdir(tmp_path)
    music = tmp_path / "sounds" / "music"
    for number in range(3):
        write(music / f"{number}.wav")
    bad = [music / "a, b.wav", music / "c.wav", music / "d.wav"]
    for path in bad:
        soundfile.write(path, np.zeros(RATE), RATE)
    command = ["prepare", "film_mix", "--manual-dir", "sounds"]
    command += ["--data-dir", "data", "--num-tracks", "1,1,1"]
    command += ["--seconds", "1", "--sample-rate", str(RATE)]
    assert cli.main(command) == 2
    error = capsys.readouterr().err
    assert "or name them in --skip\n" in error
    assert all(f"{path}: silent" in error for path in bad)
    names = ["sounds/music/a, b.wav", f"sounds/music/c.wav,{bad[2]}"]
    options = [f"--skip={name}" for name in names]
    assert cli.main([*command, *options, "--skip", "music/e.wav"]) == 2
    assert "--skip names music/e.wav, not a sound" in capsys.readouterr().err
    assert cli.main([*command, *options]) == 0
    capsys.readouterr()
    assert cli.main([*command, *options, "--overwrite", "--seed", "3"]) == 2
    error = capsys.readouterr().err
    assert "seed: 0 before, 3 now; choose another folder, or --remix" in error
