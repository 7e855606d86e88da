"""The optimizer and the learning rate of the paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras

from keras_bandit.common.checks import check_whole

if TYPE_CHECKING:
    from typing import Any


LEARNING_RATE = 1e-3


def paper_optimizer(
    learning_rate: Any = LEARNING_RATE,
    global_clipnorm: float | None = 5.0,
    accumulation_steps: int = 1,
) -> keras.optimizers.Adam:
    """Adam as the authors of BandIt train.

    As `configs/optimizer/bsrnn.yaml` and `configs/trainer/bsrnn-noaccum.yaml`
    of `karnwatcharasupat/bandit` (735a57c): PyTorch's ε of 1e-8 in place of
    Keras's 1e-7, and gradients clipped by their global norm.

    Args:
        learning_rate: float. See `paper_schedule`.
        global_clipnorm: float, or `None`: not clipped.
        accumulation_steps: int. Batches to one step of the optimizer. Their
            gradients are averaged, then clipped: the step of one batch as
            large as all of them.

    Returns:
        `keras.optimizers.Adam`.

    Raises:
        ValueError: for fewer than one accumulation step.
    """
    steps = check_whole("accumulation_steps", accumulation_steps, 1)
    return keras.optimizers.Adam(
        learning_rate,
        epsilon=1e-8,
        global_clipnorm=global_clipnorm,
        # Keras takes 2 or more, or None.
        gradient_accumulation_steps=steps if steps > 1 else None,
    )


def paper_schedule(
    learning_rate: float = LEARNING_RATE,
    decay: float = 0.98,
    epochs_per_decay: int = 2,
) -> keras.callbacks.LearningRateScheduler:
    """A callback: `learning_rate * decay ** (epoch // epochs_per_decay)`.

    A `keras.callbacks.LearningRateScheduler`. The rate is a function of the
    epoch alone, so that a run that goes on has the rate it would have had.
    """
    return keras.callbacks.LearningRateScheduler(
        lambda epoch: learning_rate * decay ** (epoch // epochs_per_decay)
    )
