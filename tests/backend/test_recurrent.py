"""Bidirectional GRU and LSTM: one answer from every path and backend."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_bandit import backend
from keras_bandit.backend import generic

from ..called import compiled

NUM_GATES = {"gru": 3, "lstm": 4}
FEW_ITEMS = (6, 2, 64, 5)
# (steps, batch, features, units): odd, one step, batch 1, one of each, few items
# for their features.
SIZES = [(7, 3, 5, 11), (1, 2, 3, 4), (10, 1, 6, 8), (1, 1, 1, 1), FEW_ITEMS]


def make_arguments(kind, steps, batch, features, units, seed=0):
    """Inputs and weights of the functions under test, float32 arrays.

    Weights have PyTorch's scale, U(-1, 1) / sqrt(units).
    """
    rng = np.random.default_rng(seed)
    width = NUM_GATES[kind] * units
    scale = units**-0.5
    shapes = [(2, features, width), (2, units, width), (2, width), (2, width)]
    inputs = rng.standard_normal((steps, batch, features))
    weights = [rng.uniform(-scale, scale, shape) for shape in shapes]
    return [array.astype("float32") for array in (inputs, *weights)]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def numpy_cell(kind, x, h, c, kernel, recurrent_kernel, bias, recurrent_bias):
    """One step of torch.nn.GRU's and torch.nn.LSTM's documented equations."""
    w = np.split(x @ kernel + bias, NUM_GATES[kind], -1)
    u = np.split(h @ recurrent_kernel + recurrent_bias, NUM_GATES[kind], -1)
    if kind == "gru":
        r, z = sigmoid(w[0] + u[0]), sigmoid(w[1] + u[1])
        n = np.tanh(w[2] + r * u[2])
        return (1 - z) * n + z * h, c
    i, f, o = (sigmoid(w[k] + u[k]) for k in (0, 1, 3))
    c = f * c + i * np.tanh(w[2] + u[2])
    return o * np.tanh(c), c


def numpy_reference(kind, inputs, *weights):
    """Both directions, step by step, in float64."""
    inputs, *weights = (a.astype("float64") for a in (inputs, *weights))
    steps, batch, _ = inputs.shape
    units = weights[1].shape[1]
    outputs = np.zeros((steps, batch, 2, units))
    for direction, times in enumerate([range(steps), range(steps)[::-1]]):
        h = c = np.zeros((batch, units))
        for time in times:
            h, c = numpy_cell(
                kind, inputs[time], h, c, *(w[direction] for w in weights)
            )
            outputs[time, :, direction] = h
    return outputs.reshape(steps, batch, 2 * units)


def function_of(module, kind):
    return getattr(module, f"bidirectional_{kind}")


def run(module, kind, arguments, dtype="float32"):
    function = function_of(module, kind)
    tensors = [ops.convert_to_tensor(a, dtype=dtype) for a in arguments]
    outputs = compiled(function)(*tensors)
    assert keras.backend.standardize_dtype(outputs.dtype) == dtype
    return ops.convert_to_numpy(ops.cast(outputs, "float32"))


@pytest.fixture(params=["gru", "lstm"])
def kind(request):
    return request.param


@pytest.mark.parametrize("module", [backend, generic])
@pytest.mark.parametrize("sizes", SIZES)
def test_matches_numpy(kind, sizes, module):
    arguments = make_arguments(kind, *sizes)
    # States lie in (-1, 1); a dozen float32 steps err by a few 1e-7.
    np.testing.assert_allclose(
        run(module, kind, arguments),
        numpy_reference(kind, *arguments),
        rtol=0,
        atol=5e-6,
    )


@pytest.mark.parametrize("sizes", SIZES)
def test_gradients_match_generic(kind, sizes, gradients):
    steps, batch, _, units = sizes
    arguments = make_arguments(kind, *sizes, seed=1)
    rng = np.random.default_rng(2)
    cotangent = rng.standard_normal((steps, batch, 2 * units)).astype("float32")
    names = ("inputs", "kernel", "recurrent_kernel", "bias", "recurrent_bias")
    fast, slow = (
        gradients(function_of(module, kind), arguments, cotangent)
        for module in (backend, generic)
    )
    for name, ours, theirs in zip(names, fast, slow, strict=True):
        error = np.abs(ours - theirs).max()
        assert error <= 1e-4 * np.abs(theirs).max() + 1e-7, name


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="XLA")
def test_few_items_in_a_graph_match_generic(kind):
    """In graphs TensorFlow has XLA compile them, unless they are exported."""
    import tensorflow as tf

    from keras_bandit.backend.tensorflow import without_xla

    arguments = [tf.constant(x) for x in make_arguments(kind, *FEW_ITEMS)]

    def loss_gradients(module):
        @tf.function(autograph=False)
        def gradients(*arguments):
            with tf.GradientTape() as tape:
                tape.watch(arguments)
                outputs = function_of(module, kind)(*arguments)
                loss = tf.reduce_sum(tf.square(outputs))
            return outputs, tape.gradient(loss, arguments)

        found = gradients.get_concrete_function(*arguments)
        compiled = "_compiled" in str(found.graph.as_graph_def().library)
        return keras.tree.flatten(gradients(*arguments)), compiled

    expected, _ = loss_gradients(generic)
    found, compiled = loss_gradients(backend)
    assert compiled
    for x, y in zip(expected, found, strict=True):
        scale = np.abs(x).max()
        np.testing.assert_allclose(y, x, rtol=0, atol=1e-4 * scale)
    with without_xla():
        _, compiled = loss_gradients(backend)
    assert not compiled


HALF_SIZES = [(16, 3, 12, 20), *SIZES]


# Rounding by 2**-8 or 2**-11 in each of 16 steps, which the gates damp.
@pytest.mark.parametrize("sizes", HALF_SIZES)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("bfloat16", 0.03), ("float16", 0.004)]
)
def test_half_precision_is_near_float32(kind, dtype, tolerance, sizes):
    arguments = make_arguments(kind, *sizes)
    np.testing.assert_allclose(
        run(backend, kind, arguments, dtype),
        run(backend, kind, arguments),
        rtol=0,
        atol=tolerance,
    )


@pytest.mark.parametrize("sizes", HALF_SIZES)
def test_bfloat16_gradients_are_near_float32(kind, sizes, gradients):
    """Of float32 variables that are cast, as mixed precision has them."""
    steps, batch, _, units = sizes
    arguments = make_arguments(kind, *sizes, seed=1)
    rng = np.random.default_rng(2)
    cotangent = rng.standard_normal((steps, batch, 2 * units)).astype("float32")
    function = function_of(backend, kind)

    def cast(*tensors):
        outputs = function(*(ops.cast(x, "bfloat16") for x in tensors))
        return ops.cast(outputs, "float32")

    names = ("inputs", "kernel", "recurrent_kernel", "bias", "recurrent_bias")
    half = gradients(cast, arguments, cotangent)
    full = gradients(function, arguments, cotangent)
    for name, ours, expected in zip(names, half, full, strict=True):
        assert ours.dtype == np.float32
        # States, gates and what is summed are rounded by 2**-9 at each of 16
        # steps, and 1 - n**2 loses a few bits more; a wrong gate errs by all.
        error = np.linalg.norm(ours - expected)
        assert error <= 0.05 * np.linalg.norm(expected), name


@pytest.mark.gpu
def test_gpu_equals_generic(kind, gpu, gradients):
    sizes = steps, batch, _, units = 51, 7, 32, 48
    arguments = make_arguments(kind, *sizes, seed=1)
    rng = np.random.default_rng(2)
    cotangent = rng.standard_normal((steps, batch, 2 * units)).astype("float32")
    outputs = function_of(backend, kind)(*map(ops.convert_to_tensor, arguments))
    assert gpu in str(outputs.device).lower()
    # Products may be of TF32, rounded by 2**-11, in either path.
    np.testing.assert_allclose(
        ops.convert_to_numpy(outputs),
        run(generic, kind, arguments),
        rtol=0,
        atol=0.005,
    )
    fast, slow = (
        gradients(function_of(module, kind), arguments, cotangent)
        for module in (backend, generic)
    )
    for ours, theirs in zip(fast, slow, strict=True):
        assert np.abs(ours - theirs).max() <= 0.01 * np.abs(theirs).max()


@settings(max_examples=4, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(["gru", "lstm"]),
    sizes=st.tuples(*[st.integers(1, 9)] * 4),
    seed=st.integers(0, 1000),
)
def test_reversed_time_exchanges_directions(kind, sizes, seed):
    inputs, *weights = make_arguments(kind, *sizes, seed=seed)
    outputs = run(backend, kind, [inputs, *weights])
    mirrored = run(backend, kind, [a[::-1].copy() for a in (inputs, *weights)])
    forward, backward = np.split(outputs[::-1], 2, axis=-1)
    # The same sums; a backend may still order them by direction.
    np.testing.assert_allclose(
        mirrored, np.concatenate([backward, forward], -1), rtol=0, atol=1e-6
    )


def test_each_half_sees_its_own_side_of_time(kind):
    inputs, *weights = make_arguments(kind, 6, 2, 3, 4)
    before = run(backend, kind, [inputs, *weights])
    inputs[2] += 1
    changed = run(backend, kind, [inputs, *weights]) != before
    steps = np.arange(6)
    np.testing.assert_array_equal(changed[..., :4].any((1, 2)), steps >= 2)
    np.testing.assert_array_equal(changed[..., 4:].any((1, 2)), steps <= 2)


def test_falls_back_to_the_generic_path(kind, monkeypatch):
    def refuse(*_):
        raise NotImplementedError

    arguments = make_arguments(kind, 3, 2, 3, 4)
    expected = run(backend, kind, arguments)
    monkeypatch.setattr(backend._native(), f"bidirectional_{kind}", refuse)
    np.testing.assert_allclose(
        run(backend, kind, arguments), expected, rtol=0, atol=1e-6
    )


@pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="traces with unknown axes"
)
def test_tensorflow_traces_unknown_lengths(kind, gradients):
    import tensorflow as tf

    function = getattr(backend, f"bidirectional_{kind}")
    weights = [tf.constant(a) for a in make_arguments(kind, 1, 1, 3, 4)[1:]]

    @tf.function(
        autograph=False, input_signature=[tf.TensorSpec((None, None, 3))]
    )
    def traced(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = function(inputs, *weights)
        assert outputs.shape.as_list() == [None, None, 8]
        return outputs, tape.gradient(outputs, inputs)

    for steps, batch in [(1, 2), (6, 1), (11, 5)]:
        inputs = make_arguments(kind, steps, batch, 3, 4)[0]
        outputs, gradient = traced(inputs)
        arrays = [inputs, *(w.numpy() for w in weights)]
        ones = np.ones_like(outputs)
        np.testing.assert_allclose(
            outputs, numpy_reference(kind, *arrays), rtol=0, atol=5e-6
        )
        np.testing.assert_allclose(
            gradient,
            gradients(function_of(generic, kind), arrays, ones)[0],
            rtol=1e-4,
            atol=1e-6,
        )


@pytest.mark.skipif(keras.config.backend() != "jax", reason="jax.jit, vmap")
def test_jax_transforms_compose(kind):
    import jax

    function = getattr(backend, f"bidirectional_{kind}")
    arguments = make_arguments(kind, 5, 3, 4, 6)
    expected = numpy_reference(kind, *arguments)
    np.testing.assert_allclose(
        jax.jit(function)(*arguments), expected, rtol=0, atol=5e-6
    )
    # One example at a time, as per-example gradients map over the batch.
    one = jax.vmap(
        lambda x: function(x[:, None], *arguments[1:])[:, 0],
        in_axes=1,
        out_axes=1,
    )
    np.testing.assert_allclose(one(arguments[0]), expected, rtol=0, atol=5e-6)


@pytest.mark.skipif(keras.config.backend() != "torch", reason="torch.func")
def test_torch_transforms_compose(kind, gradients):
    import torch

    function = getattr(backend, f"bidirectional_{kind}")
    arguments = make_arguments(kind, 5, 3, 4, 6)
    tensors = [torch.from_numpy(a) for a in arguments]
    of_inputs = torch.func.grad(lambda *a: function(*a).sum())(*tensors)
    cotangent = np.ones((5, 3, 12), "float32")
    np.testing.assert_allclose(
        of_inputs,
        gradients(function_of(generic, kind), arguments, cotangent)[0],
        rtol=1e-4,
        atol=1e-6,
    )


@pytest.mark.skipif(keras.config.backend() != "torch", reason="torch.autograd")
def test_torch_gradient_of_some_arguments(gradients):
    """A frozen encoder's weights get none, and cost no error."""
    import torch

    arguments = make_arguments("gru", 5, 3, 4, 6)
    tensors = [torch.from_numpy(a) for a in arguments]
    tensors[0].requires_grad_()
    backend.bidirectional_gru(*tensors).sum().backward()
    expected = gradients(
        generic.bidirectional_gru, arguments, np.ones((5, 3, 12), "float32")
    )
    np.testing.assert_allclose(
        tensors[0].grad, expected[0], rtol=1e-4, atol=1e-6
    )
    assert all(tensor.grad is None for tensor in tensors[1:])
