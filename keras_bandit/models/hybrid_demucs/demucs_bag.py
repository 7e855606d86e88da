"""Several models of the same stems as one, as Demucs's bags are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import ops

from keras_bandit.models.hybrid_demucs.hybrid_transforms import split_stems
from keras_bandit.models.preset_files import describe_object
from keras_bandit.models.separator import AudioSeparator

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Self

    from keras_bandit.common.types import Config


class WeightedMean(keras.layers.Layer):
    """Estimates of several separators, averaged.

    Args:
        members: list of `AudioSeparator`.
        weights: float32 `(members, stems)`; those of a stem sum to 1.

    Call arguments:
        waveform: `(batch, channels, samples)`.

    Returns:
        `(batch, stems * channels, samples)`.
    """

    def __init__(self, members, weights, **kwargs):
        super().__init__(**kwargs, dtype="float32")
        self.members = members
        self.shares = weights.tolist()

    def call(self, waveform):
        total = 0.0
        for member, shares in zip(self.members, self.shares, strict=True):
            estimates = member(waveform).values()
            parts = [
                share * estimate
                for share, estimate in zip(shares, estimates, strict=True)
            ]
            total = total + ops.concatenate(parts, axis=1)
        return total

    def compute_output_shape(self, waveform_shape):
        batch, channels, samples = waveform_shape
        return (batch, len(self.shares[0]) * channels, samples)


@keras.saving.register_keras_serializable(package="keras_bandit")
class DemucsBag(AudioSeparator):
    """A bag: separators whose estimates are averaged, weighted for each stem.

    Members may be of any kind. They are trained alone, then bagged.

    Example:

    ```python
    member = keras_bandit.HybridDemucsAudioSeparator(
        ["vocals", "other"], n_fft=1024, depth=5, channels=4
    )
    bag = keras_bandit.DemucsBag([member], stem_weights=[[1.0, 0.5]])
    ```

    Args:
        members: list of `AudioSeparator`, of the same stems in the same
            order, rate and channels. How recordings are cut and joined is as
            for the first.
        stem_weights: list for each member of non-negative numbers for each stem;
            `None`: the plain mean.
        chunk_seconds: float; `None`: the first member's. At most what all
            members take.

    Call arguments, returned values: as `AudioSeparator`.

    Raises:
        ValueError: if there is no member, members differ, or weights are not
            as said or nothing for a stem.
    """

    def __init__(
        self,
        members: Sequence[AudioSeparator],
        stem_weights: Any = None,
        chunk_seconds: float | None = None,
        **kwargs: Any,
    ) -> None:
        if not members:
            raise ValueError("members must be one separator or more; got none")
        first = members[0]
        for member in members:
            for name in ("stems", "sample_rate", "num_channels"):
                value, other = getattr(first, name), getattr(member, name)
                if value is None or value != other:
                    raise ValueError(
                        f"members must have the same {name}; got {value} and "
                        f"{other}"
                    )
        stems, channels = first.stems, first.num_channels
        shares = np.ones((len(members), len(stems)))
        if stem_weights is not None:
            given = np.asarray(stem_weights, "float64")
            if given.shape != shares.shape or not (
                (given >= 0).all() and given.any(axis=0).all()
            ):
                raise ValueError(
                    f"stem_weights must be {len(members)} lists of "
                    f"{len(stems)} numbers, something for each stem; got "
                    f"{stem_weights}"
                )
            shares = given
        limits = [m.max_samples for m in members if m.max_samples]
        chunk_seconds = chunk_seconds or first.chunk_seconds
        if limits:
            chunk_seconds = min(chunk_seconds, min(limits) / first.sample_rate)
        waveform = keras.Input((channels, None), name="waveform")
        mean = WeightedMean(members, shares / shares.sum(axis=0), name="mean")
        x = mean(waveform)
        super().__init__(
            waveform,
            split_stems(x, stems),
            sample_rate=first.sample_rate,
            chunk_seconds=chunk_seconds,
            min_samples=max(member.min_samples for member in members),
            **kwargs,
        )
        self.stem_weights = stem_weights
        self.crossfade = first.crossfade
        self.standardize_recording = first.standardize_recording
        self.transition_power = first.transition_power
        self.max_samples = min(limits, default=None)
        silent = all(member.silent_in_silent_out for member in members)
        self.silent_in_silent_out = silent

    def core_model(self) -> keras.Model:
        """The members' cores side by side; names begin with their number."""
        inputs, outputs = [], {}
        for i, member in enumerate(self.get_layer("mean").members):
            core = member.core_model()
            # Parts of a model need names of their own.
            core = keras.Model(core.input, core.output, name=f"member_{i}")
            own = [
                keras.Input(x.shape[1:], name=f"{i}_{x.name}")
                for x in core.inputs
            ]
            inputs += own
            outputs |= {f"{i}_{name}": x for name, x in core(own).items()}
        return keras.Model(inputs, outputs, name="core")

    def core_transforms(self) -> dict[str, Config]:
        mean = self.get_layer("mean")
        return {
            "bag": {
                "sources": self.stems,
                "members": [m.core_transforms() for m in mean.members],
                "shares": mean.shares,
            }
        }

    def get_config(self) -> Config:
        config = super().get_config()
        del config["stems"]
        members = self.get_layer("mean").members
        return {
            **config,
            "members": [describe_object(member) for member in members],
            "stem_weights": self.stem_weights,
        }

    @classmethod
    def from_config(cls, config: Config) -> Self:
        members = []
        for i, member in enumerate(config["members"]):
            # Variables of two members need paths of their own.
            with keras.name_scope(f"member_{i}"):
                members.append(keras.saving.deserialize_keras_object(member))
        return cls(**{**config, "members": members})
