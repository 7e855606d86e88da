"""SNR and SI-SNR: golden values, formulas, accumulation, errors."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_bandit.metrics import SISNR, SNR, si_snr, snr

EPSILON = np.finfo("float32").eps
STEMS = ["speech", "music", "effects"]

few = settings(max_examples=10, deadline=None, derandomize=True)


def noise(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape).astype("float32")


def numpy_snr(target, estimate):
    signal = np.sum(target**2, axis=-1) + EPSILON
    return 10 * np.log10(
        signal / (np.sum((target - estimate) ** 2, axis=-1) + EPSILON)
    )


def numpy_si_snr(target, estimate):
    target = target - target.mean(axis=-1, keepdims=True)
    estimate = estimate - estimate.mean(axis=-1, keepdims=True)
    product = np.sum(target * estimate, axis=-1, keepdims=True) + EPSILON
    energy = np.sum(target**2, axis=-1, keepdims=True) + EPSILON
    return numpy_snr(product / energy * target, estimate)


@pytest.fixture(
    params=[(SNR, snr, numpy_snr), (SISNR, si_snr, numpy_si_snr)],
    ids=["snr", "si_snr"],
)
def definition(request):
    """Metric class, function and NumPy formula."""
    return request.param


@pytest.fixture
def metric_class(definition):
    return definition[0]


def as_number(tensor):
    return float(ops.convert_to_numpy(tensor))


def as_numbers(result):
    return {name: as_number(value) for name, value in result.items()}


@pytest.mark.parametrize("stem", STEMS)
def test_golden_values(definition, stem, golden):
    metric_class, function, _ = definition
    arrays = golden("metrics")
    target, estimate = (
        arrays[f"target/{stem}"],
        arrays[f"metric_estimate/{stem}"],
    )
    expected = arrays[f"{metric_class().name}/{stem}"]
    actual = ops.convert_to_numpy(
        function(ops.convert_to_tensor(target), ops.convert_to_tensor(estimate))
    )
    # torchmetrics in float32; 1e-4 dB is a ratio of 1.00002.
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4)
    metric = metric_class()
    metric.update_state(target, estimate)
    assert as_number(metric.result()) == pytest.approx(
        float(expected.mean()), abs=1e-4
    )


def test_equals_numpy(definition):
    _, function, formula = definition
    target = noise(3, 2, 200)
    # Means and scales differ: SI-SNR has to remove both.
    estimate = 0.3 * target + 0.1 * noise(3, 2, 200, seed=1) + 0.5
    actual = function(
        ops.convert_to_tensor(target), ops.convert_to_tensor(estimate)
    )
    np.testing.assert_allclose(
        ops.convert_to_numpy(actual),
        formula(target.astype("float64"), estimate.astype("float64")),
        rtol=0,
        atol=1e-4,
    )


@few
@given(st.floats(1e-2, 1e3), st.sampled_from([-1, 1]))
def test_si_snr_ignores_the_scale_of_the_estimate(scale, sign):
    target = noise(1, 1, 100)
    estimate = target + 0.2 * noise(1, 1, 100, seed=1)
    scaled = (sign * scale * estimate).astype("float32")
    values = [
        as_number(
            si_snr(ops.convert_to_tensor(target), ops.convert_to_tensor(x))[
                0, 0
            ]
        )
        for x in (estimate, scaled)
    ]
    # Down to 1e-2, the noise's energy of 4e-4 is still 3000 times ε.
    assert values[0] == pytest.approx(values[1], abs=2e-3)


def test_snr_of_a_known_error():
    target = noise(1, 1, 1000)
    ten_decibels = target * (1 + 10**-0.5)
    metric = SNR()
    metric.update_state(target, ten_decibels)
    assert as_number(metric.result()) == pytest.approx(10, abs=1e-4)


def test_batches_accumulate_to_one_pass(metric_class):
    target, estimate = noise(5, 2, 50), noise(5, 2, 50, seed=1)
    whole, parts = metric_class(), metric_class()
    whole.update_state(target, estimate)
    for part in (slice(0, 1), slice(1, 5)):  # of unequal size
        parts.update_state(target[part], estimate[part])
    assert as_number(parts.result()) == pytest.approx(
        as_number(whole.result()), abs=1e-5
    )


def test_stems_have_a_result_each_and_their_mean(definition):
    metric_class, _, formula = definition
    targets = {stem: noise(2, 1, 60, seed=i) for i, stem in enumerate(STEMS)}
    estimates = {
        stem: x + noise(2, 1, 60, seed=9) / (1 + i)
        for i, (stem, x) in enumerate(targets.items())
    }
    metric = metric_class(stems=STEMS, name="ratio")
    # Stems that the metric does not know are left out.
    metric.update_state({**targets, "mne": targets["music"]}, estimates)
    expected = {
        f"ratio_{stem}": formula(targets[stem], estimates[stem]).mean()
        for stem in STEMS
    }
    expected["ratio"] = np.mean(list(expected.values()))
    assert as_numbers(metric.result()) == pytest.approx(expected, abs=1e-4)


def test_sample_weight(definition):
    metric_class, _, formula = definition
    target, estimate = noise(3, 2, 50), noise(3, 2, 50, seed=1)
    weights = np.array([1, 0, 3], "float32")
    metric = metric_class()
    metric.update_state(target, estimate, sample_weight=weights)
    per_item = formula(target, estimate).mean(axis=-1)
    assert as_number(metric.result()) == pytest.approx(
        np.average(per_item, weights=weights), abs=1e-4
    )


def test_reset(metric_class):
    target, estimate = noise(2, 1, 50), noise(2, 1, 50, seed=1)
    metric, fresh = metric_class(), metric_class()
    metric.update_state(target, -estimate)
    metric.reset_state()
    assert as_number(metric.result()) == 0
    for each in (metric, fresh):
        each.update_state(target, estimate)
    assert as_number(metric.result()) == as_number(fresh.result())


def test_silence_is_finite(metric_class):
    silence, sound = np.zeros((1, 1, 50), "float32"), noise(1, 1, 50)
    for target, estimate in (
        (silence, silence),
        (silence, sound),
        (sound, silence),
        (sound, sound),
    ):
        metric = metric_class()
        metric.update_state(target, estimate)
        assert np.isfinite(as_number(metric.result()))


def test_config_round_trip(metric_class):
    metric = metric_class(stems=["a", "b"], name="mine")
    copy = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert type(copy) is metric_class
    assert copy.get_config() == metric.get_config()
    assert metric_class.from_config(metric_class().get_config()).stems is None


def test_metric_in_fit(definition):
    metric_class, _, formula = definition
    inputs = noise(4, 1, 8)
    model = keras.Sequential([keras.layers.Dense(8)])
    model.compile(loss="mse", metrics=[metric_class()])
    results = model.evaluate(inputs, inputs, return_dict=True, verbose=0)
    expected = formula(inputs, ops.convert_to_numpy(model(inputs))).mean()
    assert results[metric_class().name] == pytest.approx(expected, abs=1e-4)


def test_stems_that_are_missing(metric_class):
    x = noise(1, 1, 8)
    both = {"a": x, "b": x}
    metric = metric_class(stems=["a", "b"])
    for name, arguments in (
        ("y_true", ({"a": x}, both)),
        ("y_pred", (both, x)),
    ):
        message = rf"{name} must hold the metric's stems \['a', 'b'\]; got"
        with pytest.raises(ValueError, match=message):
            metric.update_state(*arguments)


def test_stems_that_were_not_announced(metric_class):
    x = noise(1, 1, 8)
    with pytest.raises(
        ValueError, match=r"must be a tensor.*got stems \['a'\]"
    ):
        metric_class().update_state({"a": x}, {"a": x})


def test_target_of_another_shape(metric_class):
    with pytest.raises(ValueError, match=r"shape \(3, 1, 8\); got \(3, 2, 8\)"):
        metric_class().update_state(noise(3, 2, 8), noise(3, 1, 8))
