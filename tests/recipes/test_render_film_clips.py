"""The rendering recipe: what it composes and mixes; with Debian's, it all."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.once

RECIPE = Path(__file__).parents[2] / "recipes" / "render_film_clips.py"
STEMS = {"speech", "music", "sfx"}


def load():
    spec = importlib.util.spec_from_file_location("render_film_clips", RECIPE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


recipe = load()
MISSING = recipe.check_programs(recipe.CONFIG)
needs_debian = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))


def disjoint(choices):
    """Whether the splits of a table share no entry."""
    sets = [set(c.split() if isinstance(c, str) else c) for c in choices]
    return sum(map(len, sets)) == len(set.union(*sets))


@pytest.mark.parametrize(
    "table", ["LANGUAGES", "VARIANTS", "PLACES", "KITS", "EFFECT_PROGRAMS"]
)
def test_splits_share_no_voice_and_no_instrument(table):
    choices = getattr(recipe, table)
    assert set(choices) == {"tr", "cv", "tt"}
    assert disjoint(choices.values())


def test_splits_share_no_sound_file(tmp_path):
    for number in range(23):
        (tmp_path / f"sound{number:02}.oga").touch()
    (tmp_path / "audio-channel-front-left.oga").touch()  # somebody speaks
    files = [recipe.effect_files(str(tmp_path), s) for s in recipe.SPLITS]
    assert disjoint(files)
    assert sum(map(len, files)) == 23
    assert all(files)


def read_midi(data):
    """Ticks and messages of a file of one track, running status unused."""
    assert data[:14] == b"MThd\0\0\0\6\0\0\0\1\x01\xe0"
    assert data[14:18] == b"MTrk"
    assert int.from_bytes(data[18:22]) == len(data) - 22
    position, tick, events = 22, 0, []
    while position < len(data):
        delta, more = 0, True
        while more:
            delta = delta << 7 | data[position] & 127
            more = data[position] >> 7
            position += 1
        tick += delta
        length = 3 - (data[position] >> 4 == 0xC)
        if data[position] == 0xFF:
            length = 3 + data[position + 2]
        events.append((tick, data[position : position + length]))
        position += length
    return events


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), split=st.sampled_from(["tr", "cv", "tt"]))
def test_songs_are_whole_and_of_their_split(seed, split):
    song = recipe.Song(np.random.default_rng(seed), split, seconds=20.0)
    again = recipe.Song(np.random.default_rng(seed), split, seconds=20.0)
    assert (song.melody, song.drums) == (again.melody, again.drums)
    notes = 0
    for events in (song.melody, song.drums):
        data = recipe.midi_file(events, song.tempo)
        tempo, *read, end = read_midi(data)
        assert tempo[1][:3] == b"\xff\x51\x03"
        assert end[1] == b"\xff\x2f\0"
        assert read == sorted(events, key=lambda event: event[0])
        sounding = {}
        for _, message in read:
            kind, channel = message[0] >> 4, message[0] & 15
            assert all(value < 128 for value in message[1:])
            if kind == 0xC and channel != 9:
                assert message[1] % 8 in recipe.PLACES[split]
            elif kind == 0xC:
                assert message[1] in recipe.KITS[split]
            elif kind == 9:
                notes += 1
                key = channel, message[1]
                sounding[key] = sounding.get(key, 0) + 1
            elif kind == 8:
                sounding[channel, message[1]] -= 1
        assert not any(sounding.values())
    assert notes > 0


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6))
def test_sentences_have_words_to_say(seed):
    text = recipe.sentence(np.random.default_rng(seed))
    assert 4 <= len(text.split()) <= 14
    assert text.isascii()
    assert "_" not in text
    assert not text.startswith("-")  # espeak-ng would take it for an option


def test_convolution_is_numpys():
    rng = np.random.default_rng(0)
    signal, response = rng.normal(size=(2, 301)), rng.normal(size=50)
    expected = [np.convolve(x, response)[:301] for x in signal]
    np.testing.assert_allclose(
        recipe.convolve(signal, response), expected, atol=1e-10
    )


@pytest.mark.parametrize("seed", range(4))
def test_parts_stems_and_mixture_add_up_to_the_bit(seed):
    rng = np.random.default_rng(seed)
    parts = {
        name: rng.normal(size=(2, 8000)).astype("float32")
        for name in ("melody", "drums")
    }
    stems = {
        "speech": rng.normal(size=(2, 8000)).astype("float32") ** 3,
        "music": sum(parts.values()),
        "sfx": rng.normal(size=(2, 8000)).astype("float32"),
    }
    out = recipe.mix(rng, stems, parts, recipe.CONFIG)
    assert set(out) == STEMS | {"mix", "melody", "drums"}
    for audio in out.values():
        assert audio.dtype == np.int16
        # A rounding of each of four sounds may come on top of the limit.
        assert np.abs(audio).max() <= 32767 * recipe.CONFIG["peak"] + 4
    wide = {name: audio.astype("int64") for name, audio in out.items()}
    np.testing.assert_array_equal(
        wide["mix"], sum(wide[stem] for stem in STEMS)
    )
    np.testing.assert_array_equal(wide["music"], wide["melody"] + wide["drums"])


def test_levels_are_those_of_the_active_parts():
    """Half of the sound is silent, and does not count."""
    rng = np.random.default_rng(0)
    levels = {stem: [] for stem in STEMS}
    for _ in range(30):
        stems = {
            stem: rng.uniform(0.01, 1) * rng.normal(size=(1, 16384))
            for stem in recipe.CONFIG["levels_db"]
        }
        for audio in stems.values():
            audio[:, 8192:] = 0
        out = recipe.mix(rng, stems, {}, recipe.CONFIG)
        for stem in STEMS:
            power = np.mean((out[stem][:, :8192] / 32767) ** 2)
            levels[stem].append(10 * np.log10(power))
    for stem, level_db in recipe.CONFIG["levels_db"].items():
        # Noise at these levels stays below the peak: no turning down.
        assert np.abs(np.array(levels[stem]) - level_db).max() <= 3.01
        assert np.ptp(levels[stem]) > 3


def test_cues_are_gains_that_begin_or_end_at_nothing():
    gains = [
        recipe.cue(np.random.default_rng(seed), 16000, 8000)
        for seed in range(60)
    ]
    for gain in gains:
        assert gain.shape == (16000,)
        assert gain.min() >= 0
        assert gain.max() == 1
        assert np.abs(np.diff(gain)).max() < 0.01
    silent = [gain[0] == 0 or gain[-1] == 0 for gain in gains]
    assert 4 <= sum(silent) <= 24  # a fifth of 60, 3 standard deviations


def test_missing_packages_are_named_at_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(recipe.shutil, "which", lambda name: None)
    config = recipe.CONFIG | {key: str(tmp_path / key) for key in recipe.FILES}
    assert recipe.main([str(tmp_path / "out")], config) == 1
    error = capsys.readouterr().err
    for package in (*recipe.PROGRAMS.values(), *recipe.FILES.values()):
        assert package in error
    assert "apt-get install" in error
    assert not (tmp_path / "out").exists()


def test_clips_that_are_there_are_not_rendered_again(tmp_path):
    counts = {"tr": 6, "cv": 1, "tt": 1}
    blocks = recipe.plan_blocks(tmp_path, counts)
    assert blocks == [
        ("tr", 0, [0, 1, 2, 3]),
        ("tr", 1, [4, 5]),
        ("cv", 0, [0]),
        ("tt", 0, [0]),
    ]
    for done in ("tr/1", "tr/4", "tr/5", "cv/0"):
        (tmp_path / done).mkdir(parents=True)
    blocks = recipe.plan_blocks(tmp_path, counts)
    assert blocks == [("tr", 0, [0, 2, 3]), ("tt", 0, [0])]


def test_clips_of_others_and_other_options_are_left_alone(tmp_path):
    options = {"seed": 1, "rate": 8000}
    assert recipe.prepare_output(tmp_path, options, False) is None
    assert json.loads((tmp_path / "render.json").read_text()) == options
    clip = tmp_path / "tr" / "0"
    clip.mkdir(parents=True)
    assert recipe.prepare_output(tmp_path, options, False) is None
    problem = recipe.prepare_output(tmp_path, options | {"seed": 2}, False)
    assert "seed 1 there, 2 here" in problem
    assert clip.exists()
    assert recipe.prepare_output(tmp_path, options | {"seed": 2}, True) is None
    assert not clip.exists()
    clip.mkdir(parents=True)
    (tmp_path / "render.json").unlink()
    for overwrite in (False, True):
        problem = recipe.prepare_output(tmp_path, options, overwrite)
        assert "not of this recipe" in problem
    assert clip.exists()


@pytest.mark.parametrize(
    "option", ["--train=-1", "--seconds=0.5", "--seconds=nan", "--rate=4000"]
)
def test_bad_options_are_named(tmp_path, option, capsys):
    with pytest.raises(SystemExit, match="2"):
        recipe.main([str(tmp_path / "out"), option])
    assert option.split("=")[1] in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """Four small clips, stereo, with drums."""
    output = tmp_path_factory.mktemp("clips")
    command = [str(output), "--train=2", "--validation=1", "--test=1"]
    command += ["--seconds=2", "--rate=16000", "--channels=2", "--drums"]
    assert recipe.main(command) == 0
    return output, command


@needs_debian
def test_clips_are_rendered_in_dnrs_folders(rendered):
    output, _ = rendered
    clips = sorted(output.glob("t*/*")) + sorted(output.glob("cv/*"))
    assert [c.relative_to(output).as_posix() for c in clips] == [
        "tr/0",
        "tr/1",
        "tt/0",
        "cv/0",
    ]
    for clip in clips:
        audio = {}
        for path in clip.iterdir():
            audio[path.stem], rate = soundfile.read(path, dtype="int16")
            assert rate == 16000
            assert audio[path.stem].shape == (32000, 2)
        assert set(audio) == STEMS | {"mix", "drums", "melody"}
        wide = {stem: x.astype("int64") for stem, x in audio.items()}
        total = sum(wide[stem] for stem in STEMS)
        np.testing.assert_array_equal(wide["mix"], total)
        np.testing.assert_array_equal(
            wide["music"], wide["melody"] + wide["drums"]
        )
        for stem in STEMS:
            assert np.abs(audio[stem]).max() > 300


@needs_debian
def test_a_lost_clip_is_rendered_as_it_was(rendered, capsys):
    output, command = rendered
    kept, lost = output / "tr" / "0" / "mix.wav", output / "tr" / "1"
    expected = {p.name: p.read_bytes() for p in lost.iterdir()}
    time = kept.stat().st_mtime_ns
    recipe.shutil.rmtree(lost)
    assert recipe.main(command) == 0
    assert "1 of 1 clips" in capsys.readouterr().out
    assert kept.stat().st_mtime_ns == time
    assert {p.name: p.read_bytes() for p in lost.iterdir()} == expected


@needs_debian
@pytest.mark.parametrize("split", ["tr", "cv", "tt"])
def test_every_voice_speaks(split):
    languages = recipe.LANGUAGES[split].split()
    variants = recipe.VARIANTS[split].split()
    voices = [*languages, *(f"en+{v}" for v in variants if v != "_")]
    for voice in voices:
        audio, rate = recipe.say(voice, 160, 50, "one two three")
        assert len(audio) > 0.3 * rate, voice
        assert np.abs(audio).max() > 0.01, voice
