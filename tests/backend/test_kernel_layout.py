"""Kernels of convolutions in the backend's order: the same numbers."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_bandit.backend import lay_out_kernel


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("kernel", [(3,), (3, 2)])
def test_layout_changes_no_number(kernel, transpose):
    keras.utils.set_random_seed(0)
    kind = f"Conv{len(kernel)}D" + ("Transpose" if transpose else "")
    layer = getattr(keras.layers, kind)(5, kernel)
    x = keras.random.normal((2, *[7] * len(kernel), 4))
    before = ops.convert_to_numpy(layer(x))
    values = ops.convert_to_numpy(layer.kernel)
    lay_out_kernel(layer.kernel, transpose)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.kernel), values)
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer(x)), before, rtol=0, atol=1e-6
    )
    layer.kernel.assign(2 * values)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(layer.kernel), 2 * values
    )
    if keras.config.backend() == "torch":
        # As PyTorch's own layers hold them: nothing is copied at a call.
        order = (-1, -2, *range(len(kernel)))
        value = layer.kernel.value.permute(order)
        flat = len(kernel) == 1 or transpose
        assert value.is_contiguous() == flat
