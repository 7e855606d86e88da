"""Augmentations: what they change, how often, and what they leave alone."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest

from keras_bandit.data import Gain, PolarityInversion, Reverse

pytestmark = pytest.mark.once

RATE = 8000
STEMS = ("speech", "music", "effects")
ALL = [Gain(), PolarityInversion(), Reverse(), Reverse(together=True)]


def noise(channels=2, samples=RATE):
    """`{stem: (channels, samples)}` of RMS 0.1."""
    rng = np.random.default_rng(0)
    return {
        stem: rng.normal(0, 0.1, (channels, samples)).astype("float32")
        for stem in STEMS
    }


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


@pytest.mark.parametrize("augmentation", ALL, ids=repr)
@pytest.mark.parametrize("stems", [None, ("effects",)])
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_each_of_its_stems_is_changed_with_its_probability(
    augmentation, stems, p
):
    augmentation = dataclasses.replace(augmentation, p=p, stems=stems)
    rng = np.random.default_rng(0)
    audio = noise(channels=1, samples=80)
    changed = dict.fromkeys(STEMS, 0)
    for _ in range(400):
        after = augmentation(rng, audio, RATE)
        for stem in STEMS:
            changed[stem] += not np.array_equal(after[stem], audio[stem])
    for stem, count in changed.items():
        expected = p if stem in (stems or STEMS) else 0
        # A binomial share of 400: standard deviation ≤ 0.025.
        assert abs(count / 400 - expected) < 0.08


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
            gains_db.append(20 * np.log10(factor[0, 0]))
    # The mean of 900 uniform numbers: standard error 15 / sqrt(12 × 900).
    assert np.mean(gains_db) == pytest.approx(4.5, abs=0.6)
    assert -3 <= min(gains_db) < -2.8
    assert 11.8 < max(gains_db) <= 12.0001


def test_polarity_is_inverted():
    stems = noise()
    inverted = PolarityInversion(p=1.0)(np.random.default_rng(0), stems, RATE)
    for stem, audio in stems.items():
        np.testing.assert_array_equal(inverted[stem], -audio)


@pytest.mark.parametrize("together", [False, True])
def test_stems_are_played_backwards_alone_or_together(together):
    stems = noise(samples=10)
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(100):
        after = Reverse(together=together)(rng, stems, RATE)
        turned = [np.array_equal(after[s], stems[s][:, ::-1]) for s in STEMS]
        kept = [np.array_equal(after[s], stems[s]) for s in STEMS]
        assert turned == [not x for x in kept]
        seen.add(tuple(turned))
    # All or none; or each of the 2³ ways, missed with odds of 8 (7/8)^100.
    assert len(seen) == (2 if together else 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"p": 1.5}, "p=1.5"),
        ({"p": -1}, "p=-1"),
        ({"stems": "speech"}, "stems='speech'"),
        ({"gain_db": (1.0, -1.0)}, r"gain_db=\(1.0, -1.0\)"),
        ({"gain_db": (0.1,)}, "gain_db"),
        ({"gain_db": (0, float("inf"))}, "gain_db"),
        ({"gain_db": (float("nan"), 0)}, "gain_db"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Gain(**arguments)
