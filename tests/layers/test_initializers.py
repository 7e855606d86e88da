"""Initial weights: PyTorch's distribution, and no twins."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_bandit.layers import (
    BandSplit,
    BidirectionalGRU,
    BidirectionalLSTM,
    MaskDecoder,
    ResidualGRUPair,
    ResidualLSTMPair,
)
from keras_bandit.layers.initializers import FanInUniform, initializer_for

BANDS = [(0, 3), (2, 9), (9, 33)]

# Read off once; Python's and NumPy's generators keep their values.
FIRST_OF_SEED_5 = (0.17606369, -0.23931333, 0.06808406)


def band_split():
    """Layer, and its random variables with their `fan_in`."""
    layer = BandSplit(BANDS, 16)
    layer.build((1, 2, 4, 33, 2))
    values = np.array([4 * (stop - start) for start, stop in BANDS])
    rows = np.repeat(values, values)[:, None]
    return layer, [(layer.kernel, rows), (layer.bias, values[:, None])]


def mask_decoder():
    layer = MaskDecoder(BANDS, mlp_dim=24)
    layer.build((1, 3, 4, 16))
    return layer, [
        (layer.hidden_kernel, 16),
        (layer.hidden_bias, 16),
        (layer.output_kernel, 24),
        (layer.output_bias, 24),
    ]


def recurrent(layer):
    layer.build((None, None, 16))
    return layer, [(variable, layer.units) for variable in layer.weights]


def residual_pair(layer):
    layer.build((1, 3, 4, 16))
    variables = []
    for block in (layer.over_frames, layer.over_bands):
        weights = block.recurrent.weights
        variables += [(variable, layer.rnn_dim) for variable in weights]
        variables.append((block.projection.kernel, 2 * layer.rnn_dim))
        variables.append((block.projection.bias, 2 * layer.rnn_dim))
    return layer, variables


MAKERS = {
    "BandSplit": band_split,
    "MaskDecoder": mask_decoder,
    "BidirectionalGRU": lambda: recurrent(BidirectionalGRU(20)),
    "BidirectionalLSTM": lambda: recurrent(BidirectionalLSTM(20)),
    "ResidualGRUPair": lambda: residual_pair(ResidualGRUPair(20)),
    "ResidualLSTMPair": lambda: residual_pair(ResidualLSTMPair(20)),
}


@pytest.fixture(params=MAKERS)
def make(request):
    return MAKERS[request.param]


def as_arrays(layer):
    return [ops.convert_to_numpy(variable) for variable in layer.weights]


def unit_values(variables):
    """Values divided by the bound they should have, flat."""
    return [
        (ops.convert_to_numpy(variable) * np.sqrt(fan_in)).ravel()
        for variable, fan_in in variables
    ]


def assert_no_twins(arrays):
    """No two arrays begin with the same numbers."""
    beginnings = {tuple(np.round(array.ravel()[:4], 6)) for array in arrays}
    assert len(beginnings) == len(arrays)


def test_values_are_uniform_within_one_over_root_fan_in(make):
    _, variables = make()
    units = unit_values(variables)
    for unit in units:
        assert np.abs(unit).max() <= 1 + 1e-6
    pooled = np.concatenate(units)
    # Uniform in ±1: mean 0, deviation 1/sqrt(3), a quarter in each quarter.
    # About 1500 values or more: 0.015 is one deviation of the mean.
    assert np.mean(pooled) == pytest.approx(0, abs=0.05)
    assert np.std(pooled) == pytest.approx(3**-0.5, abs=0.03)
    quarters = np.histogram(pooled, bins=4, range=(-1, 1))[0] / len(pooled)
    np.testing.assert_allclose(quarters, 0.25, atol=0.05)


def test_every_variable_has_its_own_values(make):
    assert_no_twins(unit_values(make()[1]))


def test_the_other_variables_start_neutral(make):
    layer, variables = make()
    random = {id(variable) for variable, _ in variables}
    for variable in layer.weights:
        if id(variable) not in random:
            neutral = {"gamma": 1, "beta": 0}[variable.name]
            assert (ops.convert_to_numpy(variable) == neutral).all()


def test_seed_reproduces(make):
    weights = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        weights.append(as_arrays(make()[0]))
    for first, same in zip(weights[0], weights[1], strict=True):
        np.testing.assert_array_equal(first, same)
    assert any(
        not np.array_equal(first, other)
        for first, other in zip(weights[0], weights[2], strict=True)
    )


@pytest.mark.parametrize("initializer", ["random_normal", FanInUniform(9)])
def test_a_users_initializer_draws_anew_for_every_variable(initializer):
    # Keras's own initializers repeat themselves when called twice.
    pair = ResidualGRUPair(8, kernel_initializer=initializer)
    pair.build((1, 3, 4, 6))
    random = [
        ops.convert_to_numpy(variable)
        for variable in pair.weights
        if variable.name not in ("gamma", "beta")
    ]
    assert_no_twins(random)


def test_a_users_initializer_is_used():
    split = BandSplit([(0, 4)], 3, kernel_initializer="ones")
    split.build((1, 1, 2, 4, 2))
    assert (ops.convert_to_numpy(split.kernel) == 1).all()
    constant = initializer_for(lambda shape, dtype: ops.full(shape, 2.0), 4)
    assert ops.convert_to_numpy(constant((2,), "float32")).tolist() == [2, 2]


def test_config_round_trip():
    initializer = FanInUniform([[4.0], [9.0]], seed=3)
    config = initializer.get_config()
    copy = FanInUniform.from_config(config)
    assert copy.get_config() == config
    np.testing.assert_array_equal(
        ops.convert_to_numpy(initializer((2, 5))),
        ops.convert_to_numpy(copy((2, 5))),
    )


def test_one_seed_gives_the_same_weights_on_every_backend():
    keras.utils.set_random_seed(5)
    layer = BandSplit(BANDS, 16)
    layer.build((1, 2, 4, 33, 2))
    np.testing.assert_array_equal(
        ops.convert_to_numpy(layer.kernel)[0, :3], np.float32(FIRST_OF_SEED_5)
    )


def test_dtype():
    values = FanInUniform(4)((3,), dtype="float16")
    assert keras.backend.standardize_dtype(values.dtype) == "float16"


def test_fan_in_below_one():
    with pytest.raises(ValueError, match="fan_in must be at least 1; got 0"):
        FanInUniform(0)
