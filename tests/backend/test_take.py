"""`take`: the elements of `keras.ops.take`, however they are copied."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_bandit.backend import take

# Long runs, single elements, and both: PyTorch copies each in its own way.
RUNS = st.lists(
    st.tuples(st.integers(0, 39), st.integers(1, 40)), min_size=1, max_size=6
)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(runs=RUNS, axis=st.sampled_from([0, -1]))
def test_takes_what_numpy_takes(runs, axis):
    index = np.concatenate(
        [np.arange(start, min(start + n, 40)) for start, n in runs]
    )
    x = np.random.default_rng(0).standard_normal((40, 3, 40)).astype("float32")
    taken = take(ops.convert_to_tensor(x), index, axis)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(taken), np.take(x, index, axis)
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_keeps_the_dtype(dtype):
    x = ops.ones((2, 16), dtype=dtype)
    taken = take(x, np.arange(4, 14), -1)
    assert taken.dtype == x.dtype
    assert tuple(taken.shape) == (2, 10)


@pytest.mark.skipif(keras.config.backend() != "torch", reason="copies of runs")
@pytest.mark.parametrize("axis", [0, -1])
def test_torch_copies_runs(axis):
    from keras_bandit.backend import torch as native

    x = ops.convert_to_tensor(np.eye(60, dtype="float32"))
    runs = np.concatenate([np.arange(50), np.arange(20, 60)])
    expected = np.take(np.eye(60), runs, axis)
    np.testing.assert_array_equal(native.take(x, runs, axis), expected)
    with pytest.raises(NotImplementedError):
        native.take(x, np.arange(0, 60, 2), axis)
