"""Training losses on waveforms and masked spectrograms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
from keras import ops

if TYPE_CHECKING:
    from typing import Any

    from keras_bandit.common.types import Config, Tensor


__all__ = [
    "L1",
    "L1SNR",
    "L2SNR",
    "MSE",
    "BanditV2L1SNR",
    "MagnitudeMSE",
    "NegativeSISNR",
    "NegativeSNR",
    "PaperL1SNR",
    "SeparationLoss",
    "get",
]

WAVEFORM = "waveform"
SPECTROGRAM = "spectrogram"
MAGNITUDE = "magnitude"


def as_domains(values):
    """Sorts what a loss is given into `{domain: {stem: tensor}}`."""
    if not isinstance(values, dict):
        return {WAVEFORM: {None: values}}
    if all(isinstance(value, dict) for value in values.values()):
        return values
    return {WAVEFORM: values}


def check_stems(targets, estimates):
    """Raises `ValueError` if an estimated stem has no target."""
    missing = [stem for stem in estimates if stem not in targets]
    if missing:
        raise ValueError(
            f"targets must hold every estimated stem {list(estimates)}; "
            f"got {list(targets)}, without {missing}"
        )


def check_shapes(target, estimate):
    """Raises `ValueError` where a difference would broadcast.

    Targets `(batch, samples)` and estimates `(batch, 1, samples)` would give
    the errors of all pairs of items.
    """
    target, estimate = tuple(target.shape), tuple(estimate.shape)
    if len(target) != len(estimate) or any(
        t != e and None not in (t, e)
        for t, e in zip(target, estimate, strict=True)
    ):
        raise ValueError(
            f"target must have the estimate's shape {estimate}; got {target}"
        )


class SeparationLoss(keras.losses.Loss):
    """Sums a distance over stems, on waveforms and on spectrograms.

    `AudioSeparator.fit` hands the loss the waveforms and the *masked
    spectrograms* of all stems: the authors compare those, not the transform
    of the resynthesized waveform. Called by hand it takes tensors, `{stem:
    waveform}` or `{"waveform": {stem: …}, "spectrogram": {stem: …}}`.

    A subclass defines `distance(target, estimate)` → `(batch,)`.

    Example:

    ```python
    target = {"speech": np.ones((1, 1, 100), "float32")}
    estimate = {"speech": np.full((1, 1, 100), 0.9, "float32")}
    keras_bandit.L1SNR()(target, estimate)  # about -10 dB
    ```

    Args:
        waveform_weight: float. Weight of the distance between waveforms.
        spectrogram_weight: float. Weight of that between spectrograms.
        reduction: Keras's reduction over the batch.
        name: str.

    Call arguments:
        y_true: waveforms `(batch, channels, samples)` and spectrograms
            `(batch, channels, frames, bins, 2)` of the targets; stems that
            are not estimated are left out.
        y_pred: those of the estimates.

    Returns:
        scalar, mean over the batch of the sum over stems and domains.

    Raises:
        ValueError: if an estimated stem has no target, or one of another
            shape.
    """

    def __init__(
        self,
        waveform_weight: float = 1.0,
        spectrogram_weight: float = 1.0,
        reduction: str = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype="float32")
        self.waveform_weight = waveform_weight
        self.spectrogram_weight = spectrogram_weight

    def distance(self, target: Tensor, estimate: Tensor) -> Tensor:
        raise NotImplementedError

    def spectrogram_distance(self, target: Tensor, estimate: Tensor) -> Tensor:
        """Distance of spectrograms, real and imaginary parts pooled."""
        return self.distance(target, estimate)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        targets, estimates = as_domains(y_true), as_domains(y_pred)
        terms = {
            WAVEFORM: (self.waveform_weight, self.distance),
            SPECTROGRAM: (self.spectrogram_weight, self.spectrogram_distance),
        }
        used = [name for name in terms if name in estimates and terms[name][0]]
        if not used:
            raise ValueError(
                f"the model must offer one of the domains {list(terms)} with "
                f"a weight that is not zero; it has {list(estimates)}"
            )
        total = 0.0
        for domain in used:
            weight, distance = terms[domain]
            distances = self._distances(
                distance, targets.get(domain, {}), estimates[domain]
            )
            total = total + weight * sum(distances)
        return total

    @staticmethod
    def _distances(distance, targets, estimates):
        """Distance of each stem, a list."""
        check_stems(targets, estimates)
        for stem, estimate in estimates.items():
            check_shapes(targets[stem], estimate)
        return [distance(targets[s], x) for s, x in estimates.items()]

    def get_config(self) -> Config:
        return {
            "waveform_weight": self.waveform_weight,
            "spectrogram_weight": self.spectrogram_weight,
            "reduction": self.reduction,
            "name": self.name,
        }


def mean_per_item(x):
    """Mean over all axes but the first, `(batch,)`."""
    return ops.mean(x, axis=tuple(range(1, len(x.shape))))


class _NormRatio(SeparationLoss):
    """Error over target in dB, by the mean of the p-th powers."""

    power = None

    def __init__(self, epsilon: float = 1e-3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if epsilon <= 0:
            raise ValueError(f"epsilon must be positive; got {epsilon}")
        self.epsilon = epsilon

    def _norm(self, x):
        return mean_per_item(ops.abs(x) if self.power == 1 else ops.square(x))

    def distance(self, target: Tensor, estimate: Tensor) -> Tensor:
        error = self._norm(estimate - target) + self.epsilon
        return 10.0 * ops.log10(error / (self._norm(target) + self.epsilon))

    def get_config(self) -> Config:
        return {**super().get_config(), "epsilon": self.epsilon}


@keras.saving.register_keras_serializable(package="keras_bandit")
class L1SNR(_NormRatio):
    """L1SNR as the authors train it: two terms per stem.

    `D(ŷ, y) = 10 log10((mean|ŷ - y| + ε) / (mean|y| + ε))` per item, on the
    waveform, and on the masked spectrogram with real and imaginary parts
    pooled in one mean. Where eq. 16 and 20 of BandIt (arXiv:2309.02539) have
    sums and three terms, the authors' code has means and two; see
    `PaperL1SNR`. Inputs and errors as in `SeparationLoss`; the result is in
    dB.

    Example:

    ```python
    loss = keras_bandit.L1SNR()
    loss(np.ones((1, 1, 100)), np.full((1, 1, 100), 0.9))  # about -10 dB
    ```

    Args:
        epsilon: float, positive. ε of eq. 16; bounds the loss from below.
        **kwargs: of `SeparationLoss`.

    Raises:
        ValueError: if `epsilon` is not positive.
    """

    power = 1


@keras.saving.register_keras_serializable(package="keras_bandit")
class L2SNR(_NormRatio):
    """The 2-norm ablation of `L1SNR` (BandIt, Sec. V-C), a negative SNR.

    `D(ŷ, y) = 10 log10((mean (ŷ - y)² + ε) / (mean y² + ε))`. Arguments as
    in `L1SNR`.

    Example:

    ```python
    loss = keras_bandit.L2SNR()
    loss(np.ones((1, 1, 100)), np.full((1, 1, 100), 0.9))  # about -20 dB
    ```
    """

    power = 2


@keras.saving.register_keras_serializable(package="keras_bandit")
class PaperL1SNR(L1SNR):
    """L1SNR in the paper's form: three terms per stem (BandIt, eq. 20).

    Real and imaginary parts of the spectrogram have a term each. Norms are
    means as in `L1SNR`, where eq. 16 has sums: that changes only which ε is
    meant. Arguments as in `L1SNR`.
    """

    def spectrogram_distance(self, target: Tensor, estimate: Tensor) -> Tensor:
        parts = zip(
            ops.unstack(target, 2, axis=-1),
            ops.unstack(estimate, 2, axis=-1),
            strict=True,
        )
        return sum(self.distance(*pair) for pair in parts)


@keras.saving.register_keras_serializable(package="keras_bandit")
class BanditV2L1SNR(PaperL1SNR):
    """L1SNR as BandIt v2 trains it: three terms with twice the dB factor.

    `D(ŷ, y) = 20 log10((mean|ŷ - y| + ε) / (mean|y| + ε))` on the waveform,
    the real and the imaginary part (`kwatcharasupat/bandit-v2` at d5563d9).
    There, targets that are NaN are skipped; here they are not. Arguments as
    in `L1SNR`.
    """

    def distance(self, target: Tensor, estimate: Tensor) -> Tensor:
        return 2.0 * super().distance(target, estimate)


@keras.saving.register_keras_serializable(package="keras_bandit")
class L1(SeparationLoss):
    """Mean absolute error of waveform plus masked spectrogram.

    BSRNN's loss as the authors train it ("T+RITF L1" of BandIt's Table 1).
    Real and imaginary parts are pooled in one mean, half of eq. 13's sum.
    Arguments as in `SeparationLoss`.

    Example:

    ```python
    loss = keras_bandit.L1()
    loss(np.ones((1, 1, 100)), np.full((1, 1, 100), 0.9))  # about 0.1
    ```
    """

    def distance(self, target: Tensor, estimate: Tensor) -> Tensor:
        return mean_per_item(ops.abs(estimate - target))


@keras.saving.register_keras_serializable(package="keras_bandit")
class MSE(SeparationLoss):
    """Mean squared error of waveform plus masked spectrogram.

    "T+RITF MSE" of BandIt's Table 1. Arguments as in `SeparationLoss`.

    Example:

    ```python
    loss = keras_bandit.MSE()
    loss(np.ones((1, 1, 100)), np.full((1, 1, 100), 0.9))  # about 0.01
    ```
    """

    def distance(self, target: Tensor, estimate: Tensor) -> Tensor:
        return mean_per_item(ops.square(estimate - target))


@keras.saving.register_keras_serializable(package="keras_bandit")
class MagnitudeMSE(SeparationLoss):
    """Mean squared error of magnitudes, Open-Unmix's loss.

    For models with the domain `"magnitude"`; waveforms are not compared.

    Example:

    ```python
    separator = keras_bandit.OpenUnmixAudioSeparator(
        ["speech"], n_fft=128, hop_length=32, hidden_dim=4
    )
    separator.compile("adam", loss=keras_bandit.MagnitudeMSE())
    ```

    Call arguments:
        y_true: `{"magnitude": {stem: (batch, channels, frames, bins)}, …}`.
        y_pred: that of the estimates.

    Returns:
        scalar, mean over the batch of the sum over stems.

    Raises:
        ValueError: if the model has no such domain; as `SeparationLoss`.
    """

    def __init__(
        self, reduction: str = "sum_over_batch_size", name: str | None = None
    ) -> None:
        super().__init__(reduction=reduction, name=name)

    def distance(self, target: Tensor, estimate: Tensor) -> Tensor:
        return mean_per_item(ops.square(estimate - target))

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        targets, estimates = as_domains(y_true), as_domains(y_pred)
        if MAGNITUDE not in estimates:
            raise ValueError(
                f"the model must offer the domain {MAGNITUDE!r}; it has "
                f"{list(estimates)}"
            )
        return sum(
            self._distances(
                self.distance, targets.get(MAGNITUDE, {}), estimates[MAGNITUDE]
            )
        )

    def get_config(self) -> Config:
        return {"reduction": self.reduction, "name": self.name}


class _WaveformRatio(SeparationLoss):
    """Negative ratio in dB of waveforms, mean over stems and channels.

    In the form of `merlresearch/cocktail-fork-separation` (19b3de8).
    """

    def __init__(
        self, reduction: str = "sum_over_batch_size", name: str | None = None
    ) -> None:
        super().__init__(reduction=reduction, name=name)

    @staticmethod
    def _ratio(target, estimate):
        """Of a target and an estimate that has its scale, `(batch,)`."""
        energy = ops.sum(ops.square(target), axis=-1)
        error = ops.sum(ops.square(estimate - target), axis=-1)
        ratio = energy / (error + 1e-8)
        return mean_per_item(-10.0 * ops.log10(ratio + 1e-8))

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        targets, estimates = as_domains(y_true), as_domains(y_pred)
        distances = self._distances(
            self.distance, targets.get(WAVEFORM, {}), estimates[WAVEFORM]
        )
        return sum(distances) / len(distances)

    def get_config(self) -> Config:
        return {"reduction": self.reduction, "name": self.name}


@keras.saving.register_keras_serializable(package="keras_bandit")
class NegativeSNR(_WaveformRatio):
    """Negative signal-to-noise ratio in dB, mean over stems and channels.

    `-10 log10(|y|² / (|ŷ - y|² + 1e-8) + 1e-8)`, with sums over samples: one
    of MRX's losses.

    Example:

    ```python
    loss = keras_bandit.losses.NegativeSNR()
    loss(np.ones((1, 1, 100)), np.full((1, 1, 100), 0.9))  # about -20 dB
    ```
    """

    def distance(self, target: Tensor, estimate: Tensor) -> Tensor:
        return self._ratio(target, estimate)


@keras.saving.register_keras_serializable(package="keras_bandit")
class NegativeSISNR(_WaveformRatio):
    """Negative scale-invariant SNR in dB, mean over stems and channels.

    As `NegativeSNR`, of signals without their mean, the target scaled to
    `<ŷ, y> / (|y|² + 1e-12) y`. The level of what is trained with it is
    arbitrary (Le Roux et al. 2019, "SDR - half-baked or well done?").
    """

    def distance(self, target: Tensor, estimate: Tensor) -> Tensor:
        target = target - ops.mean(target, axis=-1, keepdims=True)
        estimate = estimate - ops.mean(estimate, axis=-1, keepdims=True)
        product = ops.sum(target * estimate, axis=-1, keepdims=True)
        energy = ops.sum(ops.square(target), axis=-1, keepdims=True)
        return self._ratio(product / (energy + 1e-12) * target, estimate)


_BY_NAME = {
    loss.__name__: loss
    for loss in (
        L1SNR,
        L2SNR,
        PaperL1SNR,
        BanditV2L1SNR,
        L1,
        MSE,
        MagnitudeMSE,
        NegativeSNR,
        NegativeSISNR,
    )
}


def get(name: str) -> SeparationLoss:
    """A loss of this module with its defaults, by the name of its class.

    Raises `ValueError` if there is no such loss.
    """
    if name not in _BY_NAME:
        raise ValueError(f"loss must be one of {list(_BY_NAME)}; got {name!r}")
    return _BY_NAME[name]()
