"""One mixed track: levels, places of events, and what the events say."""

import itertools

import numpy as np
import pytest
import soundfile

from keras_bandit.common.loudness import integrated_loudness
from keras_bandit.data.film_track import KINDS, mix_film_track
from keras_bandit.data.sound_sources import FileSound, find_sounds

pytestmark = pytest.mark.once

RATE = 8000
GENERATED = dict.fromkeys(KINDS)
TARGET_LUFS = {"music": -24, "speech": -17, "sfx": -21, "background": -29}


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Steady noise of each kind: its loudness is that of every piece."""
    rng = np.random.default_rng(0)
    found = {}
    for kind in KINDS:
        folder = tmp_path_factory.mktemp(kind)
        for number, seconds in enumerate((3, 5, 9)):
            audio = 0.05 * rng.standard_normal(seconds * RATE)
            path = folder / f"{kind}{number}.wav"
            soundfile.write(path, audio, RATE, subtype="FLOAT")
        found[kind] = find_sounds(folder)
    return found


def fade(audio, seconds):
    """Straight ramps at both ends, as the mixer's docstring says."""
    length = min(round(seconds * RATE), len(audio) // 2)
    ramp = (np.arange(length) + 0.5) / max(length, 1)
    audio = audio.copy()
    audio[:length] *= ramp
    audio[len(audio) - length :] *= ramp[::-1]
    return audio


def test_stems_are_what_the_events_say(sounds):
    seconds = 30.0
    audio, events = mix_film_track([1, 2], seconds, RATE, sounds)
    paths = {s.name: s.path for files in sounds.values() for s in files}
    rebuilt = {stem: np.zeros(240000) for stem in ("speech", "music", "sfx")}
    for event in events:
        clip, _ = soundfile.read(paths[event.file])
        start, first = round(event.start * RATE), int(event.clip_start * RATE)
        length = round((event.stop - event.start) * RATE)
        long = event.kind in ("music", "background")
        clip = fade(clip[first : first + length], 0.5 if long else 0.01)
        stem = "sfx" if event.kind == "background" else event.kind
        rebuilt[stem][start : start + length] += event.gain * clip
    for stem, expected in rebuilt.items():
        # float32 against float64 at levels of about 0.1.
        np.testing.assert_allclose(audio[stem], expected, atol=1e-6)
    np.testing.assert_allclose(audio["mix"], sum(rebuilt.values()), atol=1e-6)


def test_loudness_is_as_in_dnr(sounds):
    differences = {kind: [] for kind in KINDS}
    for seed in range(12):
        audio, events = mix_film_track(seed, 20.0, RATE, sounds)
        loudness = integrated_loudness(audio["mix"][None], RATE)
        assert -29.01 <= loudness <= -24.99
        levels = {kind: [] for kind in KINDS}
        for event in events:
            # Foreground and background overlap in one stem: measure the clip.
            path = next(
                s.path for s in sounds[event.kind] if s.name == event.file
            )
            clip, _ = soundfile.read(path)
            start = int(event.clip_start * RATE)
            length = round((event.stop - event.start) * RATE)
            long = event.kind in ("music", "background")
            clip = fade(clip[start : start + length], 0.5 if long else 0.01)
            levels[event.kind].append(
                integrated_loudness(event.gain * clip[None], RATE)
            )
        for kind, values in levels.items():
            # ±1 per event around the track's level of the kind.
            assert np.ptp(values) <= 2.01
            differences[kind].append(
                np.mean(values) - np.mean(levels["speech"])
            )
    for kind, values in differences.items():
        expected = TARGET_LUFS[kind] - TARGET_LUFS["speech"]
        # Two levels, each uniform ±2 (standard deviation 1.15) and ±1 per
        # event: the mean of 12 is within 3 × 2.0 / sqrt(12) = 1.7.
        assert abs(np.mean(values) - expected) < 1.7
        assert np.ptp(values) > 1 or kind == "speech"


@pytest.mark.parametrize("seconds", [1.0, 4.0, 60.0])
def test_events_of_a_kind_follow_each_other(sounds, seconds):
    for seed in range(6):
        _, events = mix_film_track(seed, seconds, RATE, sounds)
        for kind in KINDS:
            own = [event for event in events if event.kind == kind]
            assert own, f"a track without {kind}"
            for event in own:
                assert 0 <= event.start < event.stop <= seconds + 1e-9
            for before, after in itertools.pairwise(own):
                assert after.start >= before.stop


def test_a_minute_has_about_as_many_events_as_in_dnr(tmp_path):
    """Short sounds leave room for all that are drawn: 7, 8, 12 and 6."""
    audio = 0.1 * np.random.default_rng(0).standard_normal(800)
    soundfile.write(tmp_path / "a.wav", audio, RATE)
    sounds = dict.fromkeys(KINDS, find_sounds(tmp_path))
    counts = {kind: 0 for kind in KINDS}
    for seed in range(16):
        for event in mix_film_track(seed, 60.0, RATE, sounds)[1]:
            counts[event.kind] += 1
    for kind, mean in {"music": 7, "speech": 8, "background": 6}.items():
        # A mean of 16 Poisson numbers: 3 standard deviations.
        assert abs(counts[kind] / 16 - mean) < 3 * (mean / 16) ** 0.5
    # At about 3.5 s from one to the next, 12 fit or nearly.
    assert 9 < counts["sfx"] / 16 < 13


def test_files_are_used_up_before_they_come_again(sounds):
    _, events = mix_film_track(3, 60.0, RATE, sounds)
    for kind in KINDS:
        first = [e.file for e in events if e.kind == kind][:3]
        assert len(set(first)) == len(first)


def test_track_without_files_is_generated_and_follows_from_its_seed():
    audio, events = mix_film_track([0, 1], 6.0, RATE, GENERATED)
    again, same = mix_film_track([0, 1], 6.0, RATE, GENERATED)
    other, _ = mix_film_track([0, 2], 6.0, RATE, GENERATED)
    assert events == same
    for stem, samples in audio.items():
        assert samples.shape == (48000,)
        assert samples.dtype == np.float32
        assert np.isfinite(samples).all()
        assert np.abs(samples).max() > 1e-3
        np.testing.assert_array_equal(samples, again[stem])
        assert not np.array_equal(samples, other[stem])


def test_silent_pieces_are_drawn_again_and_a_silent_file_is_named(tmp_path):
    audio = np.zeros(20 * RATE)
    path = tmp_path / "late.wav"
    audio[12 * RATE :] = 0.1 * np.random.default_rng(0).standard_normal(
        8 * RATE
    )
    soundfile.write(path, audio, RATE)
    sounds = GENERATED | {"sfx": [FileSound(path, "late.wav")]}
    stems, _ = mix_film_track(0, 10.0, RATE, sounds)
    assert np.abs(stems["sfx"]).max() > 1e-3
    soundfile.write(path, 0 * audio, RATE)
    with pytest.raises(ValueError, match=r"late\.wav.*silent.*skip"):
        mix_film_track(0, 10.0, RATE, sounds)
