"""A subset of the decoders at each step."""

import numpy as np
import pytest
import tiny

from keras_bandit.training import AlternatingStems, paper_optimizer

STEMS = ["speech", "music", "effects"]


def data(count=2, steps=4):
    """`fit`'s arguments: so many batches of two."""
    mixture, targets = tiny.batch(0, size=count * steps, stems=STEMS)
    kwargs = {"batch_size": count, "shuffle": False, "verbose": 0}
    return {"x": mixture, "y": targets, **kwargs}


def numbers(variables):
    return [v.numpy().copy() for v in variables]


def moved(before, variables):
    return [
        not np.array_equal(a, v.numpy())
        for a, v in zip(before, variables, strict=True)
    ]


def optimizer_state(separator, stem):
    """Adam's two moments of a decoder's weights."""
    optimizer = separator.optimizer
    indices = [
        optimizer._get_variable_index(v)
        for v in separator.decoders[stem].trainable_variables
    ]
    moments = (optimizer._momentums, optimizer._velocities)
    return [moment[i] for moment in moments for i in indices]


@pytest.fixture
def trio():
    return tiny.build(stems=STEMS, run_eagerly=tiny.EAGERLY)


def test_decoders_that_are_not_attached_do_not_move(trio):
    # All have been trained, so that Adam would move them by momentum.
    trio.fit(**data())
    names = ["speech", "effects"]
    watched = [
        *trio.decoders["speech"].variables,
        *trio.decoders["effects"].variables,
        *(v for stem in names for v in optimizer_state(trio, stem)),
    ]
    trained = [
        *trio.backbone.trainable_variables,
        *trio.decoders["music"].trainable_variables,
        *optimizer_state(trio, "music"),
    ]
    before, before_trained = numbers(watched), numbers(trained)
    alternate = AlternatingStems([["music"], names], steps_per_turn=4)
    trio.fit(**data(), callbacks=[alternate])  # one turn: music
    assert not any(moved(before, watched))
    assert all(moved(before_trained, trained))
    trio.fit(**data(), callbacks=[alternate], initial_epoch=1, epochs=2)
    assert all(moved(before, watched))
    # Afterwards the separator trains all stems again.
    before = numbers(trio.trainable_variables)
    trio.fit(**data(steps=1))
    assert all(moved(before, trio.trainable_variables))


def test_all_stems_in_one_subset_is_training_as_usual():
    stems = STEMS[:2]
    usual = tiny.build(stems=stems, run_eagerly=tiny.EAGERLY)
    duo = tiny.build(stems=stems)
    expected = usual.fit(**data(), epochs=2).history
    found = duo.fit(
        **data(), epochs=2, callbacks=[AlternatingStems([stems])]
    ).history
    assert set(found) == set(expected)
    for name, values in expected.items():
        # float32; the graph is another one and may be compiled otherwise.
        np.testing.assert_allclose(found[name], values, rtol=1e-4)
    for a, b in zip(usual.weights, duo.weights, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-4)


def test_logs_are_of_all_stems(trio):
    # Without learning, each subset's values are those of the whole.
    trio.optimizer.learning_rate = 0.0
    mixture, targets = tiny.batch(0, size=2, stems=STEMS)
    expected = trio.evaluate(mixture, targets, verbose=0, return_dict=True)
    # Three turns: two of the speech, one of the others.
    logs = trio.fit(
        np.tile(mixture, (3, 1, 1)),
        {stem: np.tile(x, (3, 1, 1)) for stem, x in targets.items()},
        batch_size=2,
        shuffle=False,
        verbose=0,
        callbacks=[AlternatingStems([["speech"], ["music", "effects"]])],
    ).history
    assert set(logs) == set(expected)
    for name, value in expected.items():
        assert logs[name][0] == pytest.approx(value, rel=1e-4), name


def test_turns():
    alternate = AlternatingStems(steps_per_turn=2)
    turns = [[alternate.turn(e, s, 3) for s in range(8)] for e in range(2)]
    assert turns == [[0, 0, 1, 1, 2, 2, 0, 0], [1, 1, 2, 2, 0, 0, 1, 1]]


def test_turns_keep_accumulated_gradients_together():
    optimizer = paper_optimizer(0.01, accumulation_steps=2)
    separator = tiny.build(optimizer, stems=STEMS, run_eagerly=tiny.EAGERLY)
    with pytest.raises(ValueError, match="multiples of gradient_accumulation"):
        separator.fit(**data(), callbacks=[AlternatingStems()])
    before = numbers(separator.decoders["music"].variables)
    others = numbers(separator.decoders["speech"].variables)
    alternate = AlternatingStems([["music"], ["speech", "effects"]], 2)
    separator.fit(**data(steps=2), callbacks=[alternate])
    assert all(moved(before, separator.decoders["music"].variables))
    assert not any(moved(others, separator.decoders["speech"].variables))


@pytest.mark.parametrize(
    "subsets", [[["speech"], ["music"]], [STEMS, ["dialogue"]]]
)
def test_subsets_must_hold_the_stems(trio, subsets):
    with pytest.raises(ValueError, match="subsets must hold"):
        trio.fit(**data(), callbacks=[AlternatingStems(subsets)])


def test_steps_per_turn_must_be_positive():
    with pytest.raises(ValueError, match="at least 1; got 0"):
        AlternatingStems(steps_per_turn=0)
