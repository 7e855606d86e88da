"""SNR and SI-SNR, per stem and averaged, in the authors' definitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
from keras import ops

from keras_bandit.losses import check_shapes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from keras_bandit.common.types import Config, Tensor


__all__ = ["SISNR", "SNR", "SeparationMetric", "si_snr", "snr"]

# torchmetrics adds float32's machine epsilon to both energies.
EPSILON = 1.1920929e-07


def snr(target: Tensor, estimate: Tensor) -> Tensor:
    """Signal-to-noise ratio in dB.

    `10 log10((sum s² + ε) / (sum (s - ŝ)² + ε))` with ε = 1.19e-7, without
    removing means (torchmetrics' `SignalNoiseRatio`, which BandIt reports).

    Args:
        target: `(…, samples)`.
        estimate: `(…, samples)`.

    Returns:
        `(…)`.
    """
    signal = ops.sum(ops.square(target), axis=-1)
    noise = ops.sum(ops.square(target - estimate), axis=-1)
    return 10.0 * ops.log10((signal + EPSILON) / (noise + EPSILON))


def si_snr(target: Tensor, estimate: Tensor) -> Tensor:
    """Scale-invariant signal-to-noise ratio in dB.

    The mean of both signals is removed, the target is scaled by
    `α = (sum ŝ s + ε) / (sum s² + ε)`, and the rest is `snr` (Le Roux et al.
    2019). Shapes as in `snr`.
    """
    target = target - ops.mean(target, axis=-1, keepdims=True)
    estimate = estimate - ops.mean(estimate, axis=-1, keepdims=True)
    product = ops.sum(estimate * target, axis=-1, keepdims=True)
    energy = ops.sum(ops.square(target), axis=-1, keepdims=True)
    return snr(target * (product + EPSILON) / (energy + EPSILON), estimate)


class SeparationMetric(keras.metrics.Metric):
    """Mean of a ratio in dB over items and channels, per stem and averaged.

    A subclass defines `ratio(target, estimate)`. `AudioSeparator.compile` tells
    the metric its stems; `fit` then logs `snr` (mean over stems) and
    `snr_<stem>`.

    Args:
        stems: list of str, or `None` for plain tensors.
        name: str. Key of the result.

    Call arguments:
        y_true: waveforms `(batch, channels, samples)`, or `{stem: waveform}`.
        y_pred: as `y_true`.
        sample_weight: `(batch,)` or `None`.

    Returns:
        `result()`: scalar, or `{name: …, name_<stem>: …}` in dB.

    Raises:
        ValueError: if stems are missing, tensors come with `stems` or dicts
            without, or targets and estimates are not of one shape.
    """

    def __init__(
        self, stems: Sequence[str] | None = None, name: str | None = None
    ) -> None:
        super().__init__(name=name, dtype="float32")
        self.stems = list(stems) if stems else None
        count = len(self.stems) if self.stems else 1
        self.total = self.add_variable((count,), "zeros", name="total")
        self.count = self.add_variable((), "zeros", name="count")

    def ratio(self, target: Tensor, estimate: Tensor) -> Tensor:
        raise NotImplementedError

    def _waveforms(self, name, values):
        """List of waveforms, one per stem."""
        is_dict = isinstance(values, dict)
        got = f"got stems {list(values)}" if is_dict else "got a tensor"
        if self.stems is None:
            if is_dict:
                raise ValueError(
                    f"{name} must be a tensor, or give {self.name} its stems "
                    f"at construction; {got}"
                )
            return [values]
        if not is_dict or not set(self.stems) <= set(values):
            raise ValueError(
                f"{name} must hold the metric's stems {self.stems}; {got}"
            )
        return [values[stem] for stem in self.stems]

    def _values(self, y_true, y_pred):
        """Ratios `(stems, batch, channels)`."""
        targets = self._waveforms("y_true", y_true)
        estimates = self._waveforms("y_pred", y_pred)
        ratios = []
        for target, estimate in zip(targets, estimates, strict=True):
            check_shapes(target, estimate)
            ratios.append(self.ratio(target, estimate))
        return ops.stack(ratios)

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Any = None
    ) -> None:
        y_true, y_pred = keras.tree.map_structure(
            lambda x: ops.cast(x, "float32"), (y_true, y_pred)
        )
        values = self._values(y_true, y_pred)
        weights = ops.ones_like(values[0])
        if sample_weight is not None:
            sample_weight = ops.cast(sample_weight, "float32")
            weights = weights * ops.reshape(sample_weight, (-1, 1))
        self.total.assign_add(ops.sum(values * weights, axis=(1, 2)))
        self.count.assign_add(ops.sum(weights))

    def result(self) -> Any:
        means = ops.divide_no_nan(self.total, self.count)
        if self.stems is None:
            return means[0]
        per_stem = {
            f"{self.name}_{stem}": means[i] for i, stem in enumerate(self.stems)
        }
        return {self.name: ops.mean(means), **per_stem}

    def get_config(self) -> Config:
        return {"stems": self.stems, "name": self.name}


@keras.saving.register_keras_serializable(package="keras_bandit")
class SNR(SeparationMetric):
    """Signal-to-noise ratio in dB; see `snr` and `SeparationMetric`.

    Example:

    ```python
    speech = np.ones((1, 1, 100), "float32")
    metric = keras_bandit.SNR(stems=["speech"])
    metric.update_state({"speech": speech}, {"speech": 0.9 * speech})
    assert abs(metric.result()["snr_speech"] - 20) < 0.01
    ```
    """

    def __init__(
        self, stems: Sequence[str] | None = None, name: str = "snr"
    ) -> None:
        super().__init__(stems, name)

    def ratio(self, target: Tensor, estimate: Tensor) -> Tensor:
        return snr(target, estimate)


@keras.saving.register_keras_serializable(package="keras_bandit")
class SISNR(SeparationMetric):
    """Scale-invariant SNR in dB; see `si_snr` and `SeparationMetric`.

    Example:

    ```python
    metric = keras_bandit.SISNR()
    target = np.random.default_rng(0).normal(size=(1, 1, 100))
    metric.update_state(target, 0.9 * target)
    metric.result()
    ```
    """

    def __init__(
        self, stems: Sequence[str] | None = None, name: str = "si_snr"
    ) -> None:
        super().__init__(stems, name)

    def ratio(self, target: Tensor, estimate: Tensor) -> Tensor:
        return si_snr(target, estimate)
