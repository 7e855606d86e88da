"""The paper's optimizer, with and without accumulated gradients."""

import keras
import numpy as np
import pytest
import tiny

from keras_bandit.losses import L1SNR
from keras_bandit.training import paper_optimizer, paper_schedule


def test_settings_of_the_paper():
    config = paper_optimizer().get_config()
    assert config["learning_rate"] == pytest.approx(1e-3)
    assert config["epsilon"] == 1e-8
    assert (config["beta_1"], config["beta_2"]) == (0.9, 0.999)
    assert config["global_clipnorm"] == 5.0
    assert config["weight_decay"] is None


def test_schedule_falls_every_two_epochs():
    schedule = paper_schedule(1e-3).schedule
    rates = [schedule(epoch) for epoch in range(6)]
    steps = [1, 1, 0.98, 0.98, 0.98**2, 0.98**2]
    np.testing.assert_allclose(rates, 1e-3 * np.array(steps))


# SGD, since the size of the gradient hardly changes the step of Adam.
@pytest.mark.parametrize("clipnorm", [None, 0.01])
def test_accumulated_batches_equal_one_large_batch(clipnorm):
    def sgd(accumulation_steps):
        return keras.optimizers.SGD(
            0.1,
            global_clipnorm=clipnorm,
            gradient_accumulation_steps=accumulation_steps,
        )

    mixture, targets = tiny.batch(0, size=4)
    whole = tiny.build(sgd(None), run_eagerly=tiny.EAGERLY)
    before = [w.numpy().copy() for w in whole.trainable_weights]
    whole.train_on_batch(mixture, targets)
    parts = tiny.build(sgd(2), run_eagerly=tiny.EAGERLY)
    for part in (slice(0, 2), slice(2, 4)):
        parts.train_on_batch(
            mixture[part], {stem: x[part] for stem, x in targets.items()}
        )
    moved = 0.0
    for a, b, start in zip(
        whole.trainable_weights, parts.trainable_weights, before, strict=True
    ):
        # float32, with the batch summed in another order.
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-5)
        moved += float(np.sum((a.numpy() - start) ** 2))
    if clipnorm:
        # Clipped once, as a mean: the step is as long as the clipped norm.
        assert np.sqrt(moved) == pytest.approx(0.1 * clipnorm, rel=1e-3)


def test_accumulation_of_one_batch_is_none():
    assert paper_optimizer().gradient_accumulation_steps is None
    assert (
        paper_optimizer(accumulation_steps=4).gradient_accumulation_steps == 4
    )
    with pytest.raises(ValueError, match="at least 1; got 0"):
        paper_optimizer(accumulation_steps=0)


def test_mixed_precision_keeps_weights_in_float32():
    separator = tiny.build(dtype="mixed_bfloat16")
    mixture, targets = tiny.batch(0)
    first = separator.train_on_batch(mixture, targets)[0]
    for _ in range(10):
        last = separator.train_on_batch(mixture, targets)[0]
    assert last < first
    assert {w.dtype for w in separator.trainable_weights} == {"float32"}
    assert separator.compute_dtype == "bfloat16"
    assert isinstance(separator.loss, L1SNR)
