"""Augmentations: what they change, how often, and what they leave alone."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest

from keras_bandit.data import (
    ColoredNoise,
    Gain,
    PolarityInversion,
    RandomOrder,
    Remix,
    Shift,
    WindowGain,
)
from keras_bandit.data.augmentation import colored_noise
from keras_bandit.data.track import ArrayTrack

pytestmark = pytest.mark.once

RATE = 8000
STEMS = ("speech", "music", "effects")


def noise(seed=0, channels=2, samples=RATE, stems=STEMS):
    """`{stem: (channels, samples)}` of RMS 0.1."""
    rng = np.random.default_rng(seed)
    return {
        stem: rng.normal(0, 0.1, (channels, samples)).astype("float32")
        for stem in stems
    }


def pool(channels=2, stems=STEMS, rate=RATE, samples=2 * RATE):
    return [
        ArrayTrack(f"track{i}", rate, noise(9 + i, channels, samples, stems))
        for i in range(3)
    ]


def db(ratio):
    return 20 * np.log10(ratio)


def rms(signal):
    return np.sqrt(np.mean(np.square(signal, dtype="float64"), -1))


ALL = [
    Gain(),
    PolarityInversion(),
    Shift(),
    ColoredNoise(),
    ColoredNoise(stems=None),
    WindowGain(window_seconds=0.5, p=0.5),
    Remix(tracks=pool()),
    RandomOrder([Gain(), Shift(), PolarityInversion()]),
]
SINGLE = [x for x in ALL if not isinstance(x, RandomOrder)]


@pytest.mark.parametrize("augmentation", ALL, ids=repr)
def test_same_numbers_same_result_and_the_argument_is_left_alone(augmentation):
    stems = noise()
    before = copy.deepcopy(stems)
    first = augmentation(np.random.default_rng(3), stems, RATE)
    clone = pickle.loads(pickle.dumps(augmentation))
    again = clone(np.random.default_rng(3), stems, RATE)
    assert tuple(first) == STEMS
    for stem in STEMS:
        np.testing.assert_array_equal(stems[stem], before[stem])
        np.testing.assert_array_equal(first[stem], again[stem])
        assert first[stem].shape == (2, RATE)
        assert first[stem].dtype == np.float32
        assert np.isfinite(first[stem]).all()


@pytest.mark.parametrize("augmentation", SINGLE, ids=repr)
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_each_of_its_stems_is_changed_with_its_probability(augmentation, p):
    augmentation = dataclasses.replace(augmentation, p=p)
    rng = np.random.default_rng(0)
    stems = noise(channels=1, samples=800)
    if isinstance(augmentation, Remix):
        augmentation = dataclasses.replace(augmentation, tracks=pool(1))
    changed = dict.fromkeys(STEMS, 0)
    for _ in range(400):
        after = augmentation(rng, stems, RATE)
        for stem in STEMS:
            changed[stem] += not np.array_equal(after[stem], stems[stem])
    for stem, count in changed.items():
        expected = p if augmentation.stems in (None, (stem,)) else 0
        # A binomial share of 400: standard deviation ≤ 0.025; also, one
        # shift in 801 is by nothing.
        assert abs(count / 400 - expected) < 0.08


def test_silence_stays_silent():
    silence = {stem: np.zeros((1, 900), "float32") for stem in STEMS}
    for augmentation in SINGLE:
        if isinstance(augmentation, Remix):
            continue
        augmentation = dataclasses.replace(augmentation, p=1.0)
        after = augmentation(np.random.default_rng(0), silence, RATE)
        for audio in after.values():
            np.testing.assert_array_equal(audio, 0)


def test_gains_fill_their_range():
    stems = noise(samples=10)
    gain = Gain(gain_db=(-3.0, 12.0), p=1.0)
    rng = np.random.default_rng(0)
    gains_db = []
    for _ in range(300):
        for stem, audio in gain(rng, stems, RATE).items():
            factor = audio / stems[stem]
            # One rounding each: 6e-8 of each factor.
            np.testing.assert_allclose(factor, factor[0, 0], rtol=2e-7)
            gains_db.append(db(factor[0, 0]))
    # The mean of 900 uniform numbers: standard error 15 / sqrt(12 × 900).
    assert np.mean(gains_db) == pytest.approx(4.5, abs=0.6)
    assert -3 <= min(gains_db) < -2.8
    assert 11.8 < max(gains_db) <= 12.0001


def test_polarity_and_shift_are_undone():
    stems = noise(samples=101)
    inverted = PolarityInversion(p=1.0)(np.random.default_rng(0), stems, RATE)
    shifted = Shift(p=1.0)(np.random.default_rng(0), stems, RATE)
    for stem, audio in stems.items():
        np.testing.assert_array_equal(inverted[stem], -audio)
        # Circular: some roll gives the stem back, for both channels alike.
        assert any(
            np.array_equal(np.roll(shifted[stem], -n, -1), audio)
            for n in range(-50, 51)
        )


def test_shifts_reach_both_ends():
    click = {"speech": np.eye(1, 9, 4, dtype="float32")}
    rng = np.random.default_rng(0)
    shift = Shift(p=1.0)
    places = {
        int(shift(rng, click, RATE)["speech"].argmax()) for _ in range(300)
    }
    assert places == set(range(9))  # ± round(9 / 2) = ± 4


@pytest.mark.parametrize("snr_db", [-24.0, 0.0, 24.0])
def test_noise_has_the_asked_level_in_each_channel(snr_db):
    quiet_left = noise(samples=3 * RATE)["effects"] * [[0.1], [1.0]]
    stems = {"effects": quiet_left.astype("float32"), "music": quiet_left}
    augmentation = ColoredNoise(
        snr_db=(snr_db, snr_db), exponent=(0.0, 0.0), p=1.0
    )
    after = augmentation(np.random.default_rng(0), stems, RATE)
    added = after["effects"] - stems["effects"]
    # The sum's rounding is 6e-8 of about 0.1; 24 dB below 0.01 is 6e-4.
    np.testing.assert_allclose(
        db(rms(stems["effects"]) / rms(added)), snr_db, atol=1e-3
    )
    assert after["music"] is stems["music"]


@pytest.mark.parametrize("exponent", [-2.0, 0.0, 1.0, 2.0])
def test_noise_has_the_asked_colour(exponent):
    rng = np.random.default_rng(0)
    sound = colored_noise(rng, 2, 2 * RATE + 5, RATE, exponent)
    assert sound.shape == (2, 2 * RATE + 5)
    np.testing.assert_allclose(rms(sound[:, :RATE]), 1, rtol=1e-5)
    np.testing.assert_array_equal(sound[:, :RATE], sound[:, RATE : 2 * RATE])
    power = np.abs(np.fft.rfft(sound[:, :RATE])) ** 2
    slope = np.linspace(1, np.sqrt(RATE / 2), power.shape[-1])
    level_db = 10 * np.log10(power * slope ** (2 * exponent))
    # Whitened again, halves of the spectrum have one level: a mean over
    # 2 × 2000 bins scatters by 10 / ln 10 × 1.28 / sqrt(4000) = 0.09 dB.
    low, high = level_db[:, 1:2000].mean(), level_db[:, 2000:-1].mean()
    assert abs(low - high) < 0.5
    assert abs(np.corrcoef(sound)[0, 1]) < 0.2


def test_window_is_scaled_and_the_rest_is_not():
    ones = {stem: np.ones((2, 40), "float32") for stem in STEMS}
    augmentation = WindowGain(window_seconds=10 / RATE, gain_db=(6.0, 7.0))
    rng = np.random.default_rng(0)
    silenced, starts = 0, set()
    for _ in range(300):
        for audio in augmentation(rng, ones, RATE).values():
            np.testing.assert_array_equal(audio[0], audio[1])
            (window,) = np.nonzero(audio[0] != 1)
            np.testing.assert_array_equal(window, window[0] + np.arange(10))
            assert len(set(audio[0, window])) == 1
            starts.add(int(window[0]))
            gain = audio[0, window[0]]
            silenced += gain == 0
            assert gain == 0 or 6 <= db(gain) <= 7
    assert starts == set(range(31))
    # A share of 900: standard deviation 0.01.
    assert silenced / 900 == pytest.approx(0.1, abs=0.04)


def test_remix_takes_the_same_stem_of_one_other_track():
    tracks = pool(samples=RATE + 3)
    lacking = ArrayTrack("no music", RATE, noise(7, stems=("speech",)))
    remix = Remix(tracks=[*tracks, lacking], p=1.0, stems=("music",))
    stems = noise()
    rng = np.random.default_rng(0)
    origins = set()
    for _ in range(100):
        after = remix(rng, stems, RATE)
        assert after["speech"] is stems["speech"]
        (origin,) = (
            (track.name, start)
            for track in tracks
            for start in range(4)
            if np.array_equal(
                track.read("music", start, start + RATE), after["music"]
            )
        )
        origins.add(origin)
    assert len(origins) == 12  # three tracks, four starts


@pytest.mark.parametrize(
    ("tracks", "message"),
    [
        (pool(channels=1), "track. has 1 at 8000"),
        (pool(rate=16000), "track. has 2 at 16000"),
        (pool(samples=RATE - 1), "track. is shorter"),
        (pool(stems=("speech",)), "the stem 'music'"),
    ],
)
def test_remix_refuses_tracks_that_do_not_fit(tracks, message):
    remix = Remix(tracks=tracks, p=1.0, stems=("music",))
    with pytest.raises(ValueError, match=message):
        remix(np.random.default_rng(0), noise(), RATE)


def test_random_order_applies_all_in_any_order():
    class Append:
        def __init__(self, letter):
            self.letter = letter

        def __call__(self, rng, targets, sample_rate):
            assert sample_rate == RATE
            return {"word": targets["word"] + self.letter}

    rng = np.random.default_rng(0)
    letters = [Append(letter) for letter in "abc"]
    always, sometimes = RandomOrder(letters), RandomOrder(letters, p=0.5)
    words = {always(rng, {"word": ""}, RATE)["word"] for _ in range(100)}
    assert words == {"abc", "acb", "bac", "bca", "cab", "cba"}
    words = [sometimes(rng, {"word": ""}, RATE)["word"] for _ in range(200)]
    assert 60 < words.count("") < 140


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gain(p=1.5), "p=1.5"),
        (lambda: RandomOrder([], p=-1), "p=-1"),
        (lambda: Gain(stems="speech"), "stems='speech'"),
        (lambda: Gain(gain_db=(1.0, -1.0)), r"gain_db=\(1.0, -1.0\)"),
        (lambda: Shift(fraction=(0.1,)), "fraction"),
        (lambda: ColoredNoise(snr_db=(0, float("inf"))), "snr_db"),
        (lambda: ColoredNoise(exponent=(float("nan"), 0)), "exponent"),
        (lambda: WindowGain(window_seconds=0), "window_seconds=0"),
        (lambda: WindowGain(silence=2), "silence=2"),
        (lambda: Remix(tracks=[]), "got none"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
