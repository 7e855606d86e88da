"""Decoders that learn from features, without their encoder."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import keras
from keras import ops

from keras_bandit.losses import WAVEFORM
from keras_bandit.models.bandit.bandit_layers import UnfoldChannels
from keras_bandit.models.mask_separator import apply_masks
from keras_bandit.models.separation_training import SeparationTraining

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keras_bandit.common.types import AnyPath
    from keras_bandit.models.mask_separator import MaskSeparator


@keras.saving.register_keras_serializable(package="keras_bandit")
class FoldFeatureChannels(keras.layers.Layer):
    """`(batch, channels, …)` to `(batch * channels, …)`, features."""

    def call(self, features):
        return ops.reshape(features, (-1, *ops.shape(features)[2:]))

    def compute_output_shape(self, features_shape):
        return (None, *features_shape[2:])


class FeatureLearner(SeparationTraining, keras.Model):
    """Decoders of a separator, trained on features from a `FeatureCache`.

    They learn what they would learn behind the frozen encoder, without
    computing it again. The decoders are those of the separator, not copies.
    Compile it with the same losses and metrics; separate with the separator.

    Example:

    ```python
    from keras_bandit.training import FeatureLearner

    backbone = keras_bandit.BanditBackbone(
        "musical", num_bands=12, embed_dim=8, rnn_dim=8, num_pairs=1
    )
    separator = keras_bandit.BanditAudioSeparator(
        backbone, ["speech"], mlp_dim=16
    )
    backbone.trainable = False
    learner = FeatureLearner(separator)
    learner.compile("adam", loss=keras_bandit.L1SNR())
    # learner.fit(cache.batches(16), …)
    ```

    Args:
        separator: `MaskSeparator` with one encoder for all stems.
        stems: list of str. Stems to train, `None`: all.

    Call arguments:
        inputs: `{"features": (batch, channels, bands, frames, embed_dim),
            "waveform": (batch, channels, samples)}`, the mixture's.

    Returns:
        `{stem: (batch, channels, samples)}`.
    """

    def __init__(
        self, separator: MaskSeparator, stems: Sequence[str] | None = None
    ) -> None:
        stems = list(stems or separator.stems)
        separator.check_has(stems)
        decoders = {stem: separator.decoders[stem] for stem in stems}
        channels = separator.num_channels
        size = decoders[stems[0]].input.shape[1:]
        inputs = {
            "features": keras.Input((channels, *size), name="features"),
            "waveform": keras.Input((channels, None), name="waveform"),
        }
        spectrogram = separator.stft(inputs["waveform"])
        features = FoldFeatureChannels(name="fold_channels")(inputs["features"])
        unfold_channels = UnfoldChannels(name="unfold_channels")
        masks = {
            stem: unfold_channels(decoder(features), spectrogram)
            for stem, decoder in decoders.items()
        }
        waveforms, domains = apply_masks(
            separator.stft, spectrogram, masks, inputs["waveform"]
        )
        super().__init__(inputs, {WAVEFORM: waveforms, **domains})
        self.stems = stems
        self.decoders = decoders
        self.sample_rate = separator.sample_rate
        self.domains = separator.domains
        # In a closure, so that its encoder is not among our variables.
        self._separator = functools.partial(lambda x: x, separator)

    def get_separator(self) -> MaskSeparator:
        """The separator whose decoders are trained.

        Not a property: Keras would save what it returns, encoder, optimizer
        and all, as a part of the learner.
        """
        return self._separator()

    def save_decoder(self, stem: str, path: AnyPath) -> None:
        """The separator's: as `MaskSeparator.save_decoder`."""
        self.get_separator().save_decoder(stem, path)

    def save_to_preset(self, preset_dir: AnyPath) -> None:
        """The separator's: encoder and all of its decoders."""
        self.get_separator().save_to_preset(preset_dir)


def separator_of(model):
    """The separator that a `FeatureLearner` is a part of; others themselves."""
    if isinstance(model, FeatureLearner):
        return model.get_separator()
    return model
