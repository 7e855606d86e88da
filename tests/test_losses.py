"""Losses: golden values, the formulas, and what they refuse."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_bandit import losses
from keras_bandit.losses import (
    L1,
    L1SNR,
    L2SNR,
    MSE,
    BanditV2L1SNR,
    PaperL1SNR,
)

from .called import compiled

LOSSES = [L1SNR, L2SNR, PaperL1SNR, BanditV2L1SNR, L1, MSE]
# Separators have recurrences, for which TensorFlow does without XLA.
JIT_COMPILE = False if keras.config.backend() == "tensorflow" else "auto"


def noise(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, shape).astype("float32")


def value_of(loss, target, estimate, **kwargs):
    value = compiled(lambda *arrays: loss(*arrays, **kwargs))
    return ops.convert_to_numpy(value(target, estimate))


def spectrogram_of(waveform, n_fft=512, hop_length=128):
    """Periodic Hann, reflected ends, not normalized; pairs in the last axis."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    half = n_fft // 2
    padded = np.pad(waveform, [(0, 0), (0, 0), (half, half)], "reflect")
    starts = range(0, waveform.shape[-1] + 1, hop_length)
    frames = [padded[..., start : start + n_fft] * window for start in starts]
    spectrum = np.fft.rfft(np.stack(frames, axis=2))
    return np.stack([spectrum.real, spectrum.imag], axis=-1)


def domains(**stems):
    return {
        "waveform": stems,
        "spectrogram": {
            stem: spectrogram_of(waveform) for stem, waveform in stems.items()
        },
    }


@pytest.fixture(scope="module")
def sines():
    """Targets and estimates of the golden values, `(2, 1, 8000)`."""
    n = np.arange(8000)

    def pair(*sines):
        return np.stack(
            [[a * np.sin(2 * np.pi * f * n / 8000)] for a, f in sines]
        )

    target = pair((0.1, 100), (0.1, 300))
    estimate = pair((0.08, 100), (0.05, 310))
    return domains(stem=target), domains(stem=estimate)


# Float32 sums of 120,000 values: six digits.
@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (L1SNR(), -6.41421),
        (PaperL1SNR(), -9.59701),
        (BanditV2L1SNR(), 2 * -9.59701),
        (L2SNR(), -9.49587),
        (L1(), 0.0850574),
        (MSE(), 0.310028),
    ],
)
def test_golden_values(loss, expected, sines):
    assert value_of(loss, *sines) == pytest.approx(expected, rel=2e-6)


@pytest.mark.parametrize(("loss", "power"), [(L1SNR, 1), (L2SNR, 2)])
def test_snr_losses_are_the_formula_per_item(loss, power):
    target, estimate = noise(3, 2, 50), noise(3, 2, 50, seed=1)
    error = np.mean(np.abs(estimate - target) ** power, axis=(1, 2)) + 0.01
    scale = np.mean(np.abs(target) ** power, axis=(1, 2)) + 0.01
    expected = 10 * np.log10(error / scale)
    per_item = value_of(loss(epsilon=0.01, reduction="none"), target, estimate)
    np.testing.assert_allclose(per_item, expected, rtol=0, atol=2e-5)
    batch = value_of(loss(epsilon=0.01), target, estimate)
    assert batch == pytest.approx(np.mean(expected), abs=2e-5)


def test_spectrograms_are_pooled_or_split():
    target = {"spectrogram": {"a": noise(2, 1, 3, 5, 2)}}
    estimate = {"spectrogram": {"a": noise(2, 1, 3, 5, 2, seed=1)}}
    parts = [
        (
            target["spectrogram"]["a"][..., i],
            estimate["spectrogram"]["a"][..., i],
        )
        for i in range(2)
    ]
    split = sum(value_of(L1SNR(), *part) for part in parts)
    paper = value_of(PaperL1SNR(), target, estimate)
    assert paper == pytest.approx(split, abs=1e-5)
    v2 = value_of(BanditV2L1SNR(), target, estimate)
    assert v2 == pytest.approx(2 * split, abs=2e-5)
    pooled = value_of(
        L1SNR(), target["spectrogram"]["a"], estimate["spectrogram"]["a"]
    )
    assert value_of(L1SNR(), target, estimate) == pytest.approx(pooled)


@pytest.mark.parametrize("loss_class", LOSSES)
def test_stems_and_domains_add_up(loss_class):
    targets = {"a": noise(2, 1, 700), "b": noise(2, 1, 700, seed=1)}
    estimates = {"a": noise(2, 1, 700, seed=2), "b": noise(2, 1, 700, seed=3)}
    loss = loss_class(waveform_weight=0.5, spectrogram_weight=3.0)
    total = value_of(loss, domains(**targets), domains(**estimates))
    expected = 0
    for stem in targets:
        target = domains(stem=targets[stem])["spectrogram"]
        estimate = domains(stem=estimates[stem])["spectrogram"]
        expected += 0.5 * value_of(
            loss_class(), targets[stem], estimates[stem]
        ) + 3 * value_of(
            loss_class(), {"spectrogram": target}, {"spectrogram": estimate}
        )
    assert total == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss_class", LOSSES)
def test_dict_of_one_stem_is_the_plain_tensor(loss_class):
    target, estimate = noise(2, 1, 50), noise(2, 1, 50, seed=1)
    plain = value_of(loss_class(), target, estimate)
    assert plain.shape == ()
    as_stem = value_of(loss_class(), {"a": target}, {"a": estimate})
    np.testing.assert_array_equal(as_stem, plain)


def test_targets_that_are_not_estimated_are_left_out():
    target, estimate = noise(2, 1, 50), noise(2, 1, 50, seed=1)
    np.testing.assert_array_equal(
        value_of(L1SNR(), {"a": target, "b": estimate}, {"a": estimate}),
        value_of(L1SNR(), target, estimate),
    )


@pytest.mark.parametrize("loss_class", LOSSES)
def test_sample_weight(loss_class):
    target, estimate = noise(3, 1, 50), noise(3, 1, 50, seed=1)
    weights = np.array([1, 0, 2.5], "float32")
    per_item = value_of(loss_class(reduction="none"), target, estimate)
    assert per_item.shape == (3,)
    weighted = value_of(loss_class(), target, estimate, sample_weight=weights)
    assert weighted == pytest.approx(np.mean(per_item * weights), rel=1e-5)


@pytest.mark.parametrize("epsilon", [1e-3, 1e-6])
def test_epsilon_bounds_l1snr_from_below(epsilon):
    target = noise(2, 1, 50)
    scale = np.mean(np.abs(target), axis=(1, 2)) + epsilon
    bound = np.mean(10 * np.log10(epsilon / scale))
    perfect = value_of(L1SNR(epsilon=epsilon), target, target)
    assert perfect == pytest.approx(bound, abs=1e-4)
    near = value_of(L1SNR(epsilon=epsilon), target, 1.001 * target)
    assert near > bound


@pytest.mark.parametrize("loss_class", LOSSES)
def test_silence_has_finite_values_and_gradients(loss_class):
    silence = np.zeros((2, 1, 4), "float32")
    assert np.isfinite(value_of(loss_class(), silence, noise(2, 1, 4)))
    assert value_of(loss_class(), silence, silence) == 0
    model = keras.Sequential([keras.layers.Dense(4, kernel_initializer="ones")])
    model.compile(
        optimizer=keras.optimizers.SGD(0.1),
        loss=loss_class(),
        jit_compile=JIT_COMPILE,
    )
    # Silent targets, for loud and for silent estimates.
    for inputs in (noise(2, 1, 4), silence):
        model.fit(inputs, silence, verbose=0)
        for variable in model.weights:
            assert np.isfinite(ops.convert_to_numpy(variable)).all()


@pytest.mark.parametrize("loss_class", LOSSES)
def test_fit_lowers_the_loss(loss_class):
    inputs = noise(8, 1, 4)
    model = keras.Sequential([keras.layers.Dense(4)])
    model.compile(
        optimizer=keras.optimizers.Adam(0.02),
        loss=loss_class(),
        jit_compile=JIT_COMPILE,
    )
    history = model.fit(inputs, 0.5 * inputs, epochs=6, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]


@pytest.mark.parametrize("loss_class", LOSSES)
def test_config_round_trip(loss_class):
    loss = loss_class(
        waveform_weight=0.25,
        spectrogram_weight=2.0,
        reduction="sum",
        name="mine",
    )
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(copy) is loss_class
    assert copy.get_config() == loss.get_config()
    inputs = domains(a=noise(2, 1, 600)), domains(a=noise(2, 1, 600, seed=1))
    np.testing.assert_array_equal(
        value_of(copy, *inputs), value_of(loss, *inputs)
    )


def test_epsilon_is_in_the_config():
    copy = L1SNR.from_config(L1SNR(epsilon=1e-6).get_config())
    assert copy.epsilon == 1e-6


@pytest.mark.parametrize("loss_class", LOSSES)
def test_get(loss_class):
    assert type(losses.get(loss_class.__name__)) is loss_class


def test_get_of_a_name_that_is_none():
    with pytest.raises(ValueError, match=r"one of \['L1SNR', .*; got 'L3'"):
        losses.get("L3")


def test_missing_target():
    x = noise(1, 1, 8)
    message = r"every estimated stem \['a', 'b'\]; got \['a'\], without \['b'\]"
    with pytest.raises(ValueError, match=message):
        L1SNR()({"a": x}, {"a": x, "b": x})


def test_missing_domain():
    x = noise(1, 1, 600)
    with pytest.raises(ValueError, match=r"got \[\], without \['a'\]"):
        L1SNR()({"a": x}, domains(a=x))


@pytest.mark.parametrize("shape", [(4, 50), (4, 2, 50), (4, 1, 49), (1, 1, 50)])
def test_target_of_another_shape(shape):
    # Broadcast, these would compare all pairs of items or channels.
    with pytest.raises(ValueError, match=r"estimate's shape \(4, 1, 50\); got"):
        L1SNR()(noise(*shape), noise(4, 1, 50))


@pytest.mark.parametrize("epsilon", [0, -1e-3])
def test_epsilon_not_positive(epsilon):
    with pytest.raises(ValueError, match=f"must be positive; got {epsilon}"):
        L1SNR(epsilon=epsilon)


def test_magnitude_mse_compares_magnitudes_alone():
    target, estimate = noise(2, 1, 5, 9), noise(2, 1, 5, 9, seed=1)
    waveforms = {"waveform": {"a": noise(2, 1, 50), "b": noise(2, 1, 50)}}
    value = value_of(
        losses.MagnitudeMSE(),
        {**waveforms, "magnitude": {"a": target, "b": target}},
        {**waveforms, "magnitude": {"a": estimate, "b": target}},
    )
    expected = np.mean((target - estimate).astype("float64") ** 2)
    assert value == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="must offer the domain 'magnitude'"):
        losses.MagnitudeMSE()(waveforms, waveforms)


def test_negative_ratios_are_means_over_stems():
    target, estimate = noise(2, 2, 500), noise(2, 2, 500, seed=1)
    targets, estimates = (
        {"a": target, "b": target},
        {"a": estimate, "b": -target},
    )
    y, x = target.astype("float64"), estimate.astype("float64")
    a = 10 * np.log10(np.sum(y**2, -1) / np.sum((x - y) ** 2, -1)).mean()
    expected = -(a + 10 * np.log10(1 / 4)) / 2
    value = value_of(losses.NegativeSNR(), targets, estimates)
    assert value == pytest.approx(expected, rel=1e-5)
    loss = losses.NegativeSISNR()
    first = value_of(loss, {"a": target}, {"a": estimate})
    again = value_of(loss, {"a": target}, {"a": 3 * estimate + 0.5})
    assert again == pytest.approx(first, abs=1e-3)


@pytest.mark.parametrize(
    "name", ["MagnitudeMSE", "NegativeSNR", "NegativeSISNR"]
)
def test_other_losses_come_back_by_name_and_config(name):
    loss = losses.get(name)
    assert type(loss).__name__ == name
    copy = type(loss).from_config(loss.get_config())
    assert copy.get_config() == loss.get_config()
