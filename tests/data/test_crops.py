"""Random crops: what is cut, in which order, and from which numbers."""

import collections
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_bandit.data import Gain, PolarityInversion, random_crops
from keras_bandit.data.track import ArrayTrack

pytest.importorskip("grain")  # the extra `grain`
pytestmark = pytest.mark.once

RATE = 100
STEMS = ("speech", "music", "effects")


def numbered(count=3, samples=50, stems=STEMS, channels=1, rate=RATE):
    """Tracks whose samples tell stem, track, channel and position.

    Whole numbers below 2 ** 24, which float32 and their sums keep exactly.
    """
    place = np.arange(samples) + 1000 * np.arange(channels)[:, None]
    return [
        ArrayTrack(
            f"track{number}",
            rate,
            {
                stem: 1e6 * (1 + stems.index(stem)) + 1e4 * number + place
                for stem in stems
            },
        )
        for number in range(count)
    ]


def origin(crop):
    """Track and start of a crop `(channels, samples)` of `numbered` tracks."""
    first = int(crop[0, 0])
    np.testing.assert_array_equal(crop[0], first + np.arange(crop.shape[1]))
    return first % 1_000_000 // 10_000, first % 1000


def examples(dataset, epochs=1):
    """All examples of some epochs, one by one."""
    for index in range(epochs * len(dataset)):
        mixture, targets = dataset[index]
        for row in range(len(mixture)):
            yield mixture[row], {s: x[row] for s, x in targets.items()}


def crops(tracks, stems=STEMS, **arguments):
    defaults = {"crop_seconds": 0.2, "batch_size": 2, "epoch_size": 12}
    return random_crops(tracks, stems, **(defaults | arguments))


def assert_same(first, second):
    np.testing.assert_array_equal(first[0], second[0])
    assert first[1].keys() == second[1].keys()
    for stem in first[1]:
        np.testing.assert_array_equal(first[1][stem], second[1][stem])


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    channels=st.integers(1, 2),
    length=st.integers(1, 50),
    batch_size=st.integers(1, 4),
    seed=st.integers(0, 2**40),
)
def test_stems_are_cut_together_and_sum_to_the_mixture(
    channels, length, batch_size, seed
):
    dataset = crops(
        numbered(channels=channels),
        crop_seconds=length / RATE,
        batch_size=batch_size,
        seed=seed,
    )
    mixture, targets = dataset[0]
    assert mixture.shape == (batch_size, channels, length)
    assert mixture.dtype == np.float32
    assert tuple(targets) == STEMS
    for mixture, targets in examples(dataset):
        assert len({origin(target) for target in targets.values()}) == 1
        np.testing.assert_array_equal(mixture, sum(targets.values()))
        np.testing.assert_array_equal(
            mixture[-1], mixture[0] + 3000 * (channels - 1)
        )


def test_tracks_come_equally_often_and_in_a_new_order_each_epoch():
    dataset = crops(numbered(5), epoch_size=12)
    found = [origin(targets["music"])[0] for _, targets in examples(dataset, 2)]
    for epoch in (found[:12], found[12:]):
        # The authors' i mod 5: tracks 0 and 1 come three times.
        assert collections.Counter(epoch) == {0: 3, 1: 3, 2: 2, 3: 2, 4: 2}
    assert found[:12] != found[12:]
    other = crops(numbered(5), epoch_size=12, seed=1)
    assert found[:12] != [origin(t["music"])[0] for _, t in examples(other)]


def test_every_start_is_possible_up_to_the_last():
    dataset = crops(numbered(1, samples=24), epoch_size=200)
    starts = {origin(targets["speech"])[1] for _, targets in examples(dataset)}
    # 5 starts, 200 draws: one is left out with probability 5 (4/5) ** 200.
    assert starts == {0, 1, 2, 3, 4}


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"independent": True},
        {"augmentations": [PolarityInversion(), Gain()]},
    ],
    ids=["plain", "independent", "augmented"],
)
def test_examples_do_not_depend_on_batches_or_epochs_before(arguments):
    tracks = numbered()
    twos = list(examples(crops(tracks, **arguments), epochs=3))
    threes = examples(crops(tracks, batch_size=3, **arguments), epochs=3)
    for first, second in zip(twos, threes, strict=True):
        assert_same(first, second)
    resumed = examples(crops(tracks, start_epoch=2, **arguments))
    for first, second in zip(twos[24:], resumed, strict=True):
        assert_same(first, second)


def test_other_seeds_and_epochs_give_other_starts():
    """Not even [seed, epoch] = [1, 0] and [0, 1] share their numbers."""
    drawn = {
        (seed, epoch): tuple(
            origin(targets["speech"])
            for _, targets in examples(
                crops(numbered(), seed=seed, start_epoch=epoch)
            )
        )
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(set(drawn.values())) == 9


def test_iteration_gives_the_indexed_batches_and_resumes_from_its_state():
    dataset = crops(numbered())
    iterator = iter(dataset.repeat(2))
    for index in range(8):
        assert_same(next(iterator), dataset[index])
    state = iterator.get_state()
    resumed = iter(dataset.repeat(2))
    resumed.set_state(state)
    for index in range(8, 12):
        assert_same(next(resumed), dataset[index])
    with pytest.raises(StopIteration):
        next(resumed)


def test_slices_for_shards_go_on_in_later_epochs():
    dataset = crops(numbered())
    shard = dataset[1::2]
    assert len(shard) == 3
    for index in range(6):
        expected = dataset[len(dataset) * (index // 3) + 1 + 2 * (index % 3)]
        assert_same(shard[index], expected)


def test_source_can_be_pickled_and_stays_the_same():
    dataset = crops(numbered(), independent=True)
    copy = pickle.loads(pickle.dumps(dataset._source))
    assert_same(copy.item(3), dataset[3])


def test_independent_stems_have_tracks_and_starts_of_their_own():
    dataset = crops(
        numbered(4), epoch_size=40, independent=True, peak_margin=None
    )
    found = {stem: [] for stem in STEMS}
    for mixture, targets in examples(dataset):
        np.testing.assert_array_equal(mixture, sum(targets.values()))
        for stem, target in targets.items():
            found[stem].append(origin(target))
    for origins in found.values():
        tracks = collections.Counter(track for track, _ in origins)
        assert tracks == dict.fromkeys(range(4), 10)
    for a, b in ("speech", "music"), ("music", "effects"):
        together = sum(x == y for x, y in zip(found[a], found[b], strict=True))
        # One of 4 × 31 origins: 40 pairs share 0.3 on average.
        assert together < 5


def test_stored_mixture_is_given_as_it_is_until_stems_change():
    tracks = numbered(stems=(*STEMS, "mixture"))
    dataset = crops(tracks)
    for mixture, targets in examples(dataset):
        assert mixture[0, 0] // 1_000_000 == 4
        assert origin(mixture) == origin(targets["music"])
    changed = crops(tracks, independent=True, peak_margin=None)
    for mixture, targets in examples(changed):
        np.testing.assert_array_equal(mixture, sum(targets.values()))


@pytest.mark.parametrize("independent", [False, True])
def test_composite_is_the_sum_of_its_parts_and_counted_once(independent):
    dataset = crops(
        numbered(),
        ["music", "mne", "effects"],
        composites={"mne": ["music", "effects"]},
        independent=independent,
        peak_margin=None,
    )
    for mixture, targets in examples(dataset):
        assert list(targets) == ["music", "mne", "effects"]
        np.testing.assert_array_equal(
            targets["mne"], targets["music"] + targets["effects"]
        )
        # Speech is in the mixture though it is no target.
        speech = mixture - targets["mne"]
        assert speech[0, 0] // 1_000_000 == 1


def test_parts_of_a_stem_are_not_summed_twice():
    """DnR v3 stores `effects` and what it is made of."""
    stems = ("speech", "effects", "effects_foreground")
    dataset = crops(numbered(stems=stems), ["effects_foreground", "effects"])
    for mixture, targets in examples(dataset):
        speech = mixture - targets["effects"]
        assert speech[0, 0] // 1_000_000 == 1
    dataset = crops(
        numbered(stems=stems), ["effects"], mixture_stems=["effects"]
    )
    for mixture, targets in examples(dataset):
        np.testing.assert_array_equal(mixture, targets["effects"])


def test_missing_stem_is_an_error():
    tracks = [*numbered(2), *numbered(3, stems=("speech", "music"))[2:]]
    with pytest.raises(ValueError, match=r"track2 has no stem 'effects'"):
        crops(tracks)
    with pytest.raises(ValueError, match=r"\['sfx'\].*'effects'"):
        crops(tracks, ["speech", "sfx"])


def test_mixture_may_lack_what_no_target_needs():
    """A stored mixture needs no other stems; a sum does."""
    whole = numbered(1, stems=("speech", "music", "mixture"))
    lacking = numbered(2, stems=("speech", "mixture"))[1:]
    assert len(crops([*whole, *lacking], ["speech"])) == 6
    with pytest.raises(ValueError, match=r"track1 has no stem 'music'"):
        crops([*whole, *lacking], ["speech"], augmentations=[Gain()])


def test_silent_stems_stay_silent_and_finite():
    audio = dict.fromkeys(STEMS, np.zeros((1, 50)))
    dataset = crops(
        [ArrayTrack("silence", RATE, audio)], augmentations=[Gain(p=1.0)]
    )
    for mixture, targets in examples(dataset):
        for signal in (mixture, *targets.values()):
            np.testing.assert_array_equal(signal, 0)


def test_peaks_above_full_scale_are_scaled_together():
    rng = np.random.default_rng(0)
    loud = ArrayTrack(
        "loud", RATE, {s: rng.uniform(-1, 1, (1, 50)) for s in STEMS}
    )
    plain, exact, below = (
        list(examples(crops([loud], augmentations=[gain], peak_margin=margin)))
        for gain, margin in (
            (Gain(p=0.0), None),
            (Gain(p=0.0), 0.0),
            (Gain(p=0.0), 0.5),
        )
    )
    scaled = 0
    for (mixture, _), one, lower in zip(plain, exact, below, strict=True):
        peak = np.abs(mixture).max()
        if peak <= 1:
            assert_same((mixture, _), one)
            continue
        scaled += 1
        # One rounding of the gain and one of each product: 2 × 6e-8.
        assert np.abs(one[0]).max() == pytest.approx(1, abs=2e-7)
        assert peak / (peak + 0.5) - 2e-7 <= np.abs(lower[0]).max() <= 1
        for mixed, targets in (one, lower):
            np.testing.assert_allclose(mixed, sum(targets.values()), atol=3e-7)
    assert scaled > 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size .*; got 0"),
        ({"batch_size": 13}, "epoch_size .*; got 12"),
        ({"epoch_size": 2.5}, "epoch_size .*; got 2.5"),
        ({"seed": -1}, "seed .*; got -1"),
        ({"start_epoch": -1}, "start_epoch .*; got -1"),
        ({"crop_seconds": 0}, "crop_seconds=0"),
        ({"crop_seconds": float("nan")}, "crop_seconds=nan"),
        ({"crop_seconds": 0.51}, "track0 is shorter than crop_seconds=0.51"),
        ({"peak_margin": -1}, "peak_margin=-1"),
        ({"sample_rate": 200}, "track0 has sample_rate=100; all must have 200"),
        ({"composites": {"music": ["speech"]}}, "'music'"),
        ({"composites": {"mne": []}}, "'mne'"),
        ({"composites": {"mne": ["sfx"]}, "stems": ["mne"]}, "'sfx'"),
        ({"stems": []}, r"stems must be a list.*\[\]"),
        ({"stems": "speech"}, "'speech'"),
        ({"stems": ["mixture"]}, "'mixture'"),
        ({"mixture_stems": ["voice"]}, "'voice'"),
        ({"tracks": []}, "got none"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        crops(**({"tracks": numbered()} | arguments))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"channels": 2}, "num_channels=2, track track0 has 1"),
        ({"rate": 200}, "sample_rate=200; all must have 100"),
        ({"samples": 19}, "19 of 20 samples"),
    ],
)
def test_track_unlike_the_others_is_named(other, message):
    tracks = [*numbered(1), numbered(2, **other)[1]]
    with pytest.raises(ValueError, match=f"track1.*{message}"):
        crops(tracks)
