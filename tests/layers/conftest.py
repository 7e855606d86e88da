"""What every public layer must do, and gradients against a NumPy twin."""

import json

import keras
import numpy as np
import pytest
from keras import ops

from ..called import called

# Float16 and bfloat16 hold 11 and 8 bits: a handful of roundings in a row.
MIXED_POLICIES = {"mixed_float16": 0.01, "mixed_bfloat16": 0.08}


@keras.saving.register_keras_serializable(package="tests")
class Bend(keras.layers.Layer):
    """One trainable number: it moves if gradients pass the layer after it.

    A factor would not do, as normalization takes it away again.
    """

    def build(self, inputs_shape):
        self.bend = self.add_weight((), "zeros", name="bend")

    def call(self, inputs):
        return inputs + self.bend * ops.square(inputs)

    def compute_output_shape(self, inputs_shape):
        return inputs_shape


class Offset(keras.layers.Layer):
    """Adds a variable of the inputs' shape: its gradient is the inputs'."""

    def build(self, inputs_shape):
        self.offset = self.add_weight(inputs_shape, "zeros", name="offset")

    def call(self, inputs):
        return inputs + self.offset


def run(layer, inputs):
    return ops.convert_to_numpy(called(layer, *inputs))


def symbolic(inputs, unknown_axes=()):
    """Keras inputs of the arrays' shapes, some axes left open."""
    return [
        keras.Input(
            batch_shape=[
                None if axis in unknown_axes else size
                for axis, size in enumerate(x.shape)
            ],
            dtype=x.dtype.name,
        )
        for x in inputs
    ]


def dtype_of(x):
    return keras.backend.standardize_dtype(x.dtype)


def check_config(layer, inputs):
    config = layer.get_config()
    json.dumps(config)
    copy = type(layer).from_config(config)
    assert copy.get_config() == config
    expected = run(layer, inputs)
    copy(*symbolic(inputs))
    copy.set_weights(layer.get_weights())
    np.testing.assert_array_equal(run(copy, inputs), expected)


def check_symbolic(layer, inputs, unknown_axes):
    output = called(layer, *inputs)
    known = layer(*symbolic(inputs))
    assert known.shape == tuple(output.shape)
    assert dtype_of(known) == dtype_of(output)
    unknown = layer(*symbolic(inputs, unknown_axes))
    assert len(unknown.shape) == len(output.shape)
    assert unknown.shape[0] is None
    for size, actual in zip(unknown.shape, output.shape, strict=True):
        assert size in (None, actual)
    assert dtype_of(unknown) == dtype_of(output)


def check_fit_and_file(layer, inputs, output_shape, unknown_axes, path):
    entrances = symbolic(inputs, unknown_axes)
    bent = Bend()(entrances[0])
    model = keras.Model(entrances, layer(bent, *entrances[1:]))
    model.compile(
        optimizer=keras.optimizers.SGD(0.1),
        loss="mse",
    )
    before = model.get_weights()
    target = np.random.default_rng(1).normal(size=output_shape)
    history = model.fit(
        inputs, target.astype("float32"), batch_size=len(target), verbose=0
    )
    assert np.isfinite(history.history["loss"]).all()
    for variable, old in zip(model.weights, before, strict=True):
        new = ops.convert_to_numpy(variable)
        assert np.isfinite(new).all(), variable.path
        assert not np.array_equal(new, old), variable.path

    model.save(path)
    copy = keras.saving.load_model(path)
    np.testing.assert_array_equal(run(copy, [inputs]), run(model, [inputs]))


def check_mixed(make_layer, layer, inputs, policy, always_float32):
    mixed = make_layer(dtype=policy)
    mixed(*symbolic(inputs))
    mixed.set_weights(layer.get_weights())
    output = called(mixed, *inputs)
    half = policy.removeprefix("mixed_")
    assert dtype_of(output) == ("float32" if always_float32 else half)
    assert dtype_of(mixed(*symbolic(inputs))) == dtype_of(output)
    assert {v.dtype for v in mixed.weights} <= {"float32"}
    expected = run(layer, inputs)
    np.testing.assert_allclose(
        ops.convert_to_numpy(ops.cast(output, "float32")),
        expected,
        rtol=0,
        atol=MIXED_POLICIES[policy] * np.abs(expected).max(),
    )


@pytest.fixture
def check_layer(tmp_path):
    """The function `check(make_layer, *inputs, unknown_axes, …)`.

    It checks that the layer comes back from its config, has the same shape
    and dtype with symbolic as with eager inputs, learns in `fit` and lets
    gradients through, comes back from a `.keras` file, and agrees with itself
    under mixed precision.

    Args of the function:
        make_layer: function of `dtype` and other base arguments to a new
            layer.
        inputs: float32 arrays.
        unknown_axes: axes that may be unknown in all inputs, the first one
            among them.
        always_float32: whether the output is float32 under every policy, as
            spectra and waveforms are.
    """

    def check(make_layer, *inputs, unknown_axes, always_float32=False):
        inputs = list(inputs)
        layer = make_layer()
        check_config(layer, inputs)
        check_symbolic(layer, inputs, unknown_axes)
        for policy in MIXED_POLICIES:
            check_mixed(make_layer, layer, inputs, policy, always_float32)
        path = tmp_path / "model.keras"
        shape = tuple(called(layer, *inputs).shape)
        check_fit_and_file(make_layer(), inputs, shape, unknown_axes, path)

    return check


def product_with_outputs(outputs_times, outputs):
    return ops.sum(outputs_times * outputs)


def gradients(layer, inputs, cotangent):
    """Gradients of `sum(cotangent * layer(inputs))`: inputs', then weights'.

    One step of gradient descent at rate 1 shows them on every backend.
    """
    entrance = keras.Input(batch_shape=inputs.shape)
    model = keras.Model(entrance, layer(Offset()(entrance)))
    model.compile(
        optimizer=keras.optimizers.SGD(1.0),
        loss=product_with_outputs,
    )
    before = model.get_weights()
    model.fit(inputs, cotangent, batch_size=len(inputs), verbose=0)
    after = model.get_weights()
    layer.set_weights(before[1:])
    return [old - new for old, new in zip(before, after, strict=True)]


def directional_derivative(function, point, direction, step=1e-3):
    ahead, behind = (
        function([p + sign * d for p, d in zip(point, direction, strict=True)])
        for sign in (step, -step)
    )
    return (ahead - behind) / (2 * step)


@pytest.fixture
def check_gradients():
    """The function `check(layer, numpy_layer, inputs)`.

    It compares the gradients by the inputs and by every variable with
    finite differences of `numpy_layer(layer, inputs)`, which reads the
    layer's variables and computes in float64. A random direction sees every
    element of a gradient.
    """

    def check(layer, numpy_layer, inputs):
        rng = np.random.default_rng(0)
        cotangent = rng.normal(size=numpy_layer(layer, inputs).shape)
        weights = layer.get_weights()

        def product(point):
            layer.set_weights(point[1:])
            return np.sum(cotangent * numpy_layer(layer, point[0]))

        actual = gradients(layer, inputs, cotangent.astype("float32"))
        point = [inputs.astype("float64"), *weights]
        for i, gradient in enumerate(actual):
            direction = [np.zeros_like(p) for p in point]
            direction[i] = rng.normal(size=point[i].shape)
            expected = directional_derivative(product, point, direction)
            # Float32 weights and the step's square leave 1e-4.
            scale = np.linalg.norm(gradient) * np.linalg.norm(direction[i])
            error = abs(np.sum(gradient * direction[i]) - expected)
            assert error <= 1e-3 * scale, layer.weights[i - 1].path
        layer.set_weights(weights)

    return check
