"""BSRNN: an encoder and a decoder per stem."""

import keras

from keras_bandit.models.audio_separator import AudioSeparator
from keras_bandit.models.bsrnn.bsrnn_backbone import BSRNNBackbone


@keras.saving.register_keras_serializable(package="keras_bandit")
class BSRNNAudioSeparator(AudioSeparator):
    """BSRNN (Luo & Yu 2023, arXiv:2209.15174): separate models per stem.

    Arguments, inputs, outputs and errors as in `AudioSeparator`, except that
    the input has exactly `backbone.num_channels` channels, and that only
    stems of the backbone can have decoders: others are a `ValueError`.
    """

    backbone_cls = BSRNNBackbone

    @classmethod
    def join(cls, separators):
        """One separator of several that were trained for a stem each.

        Args:
            separators: list of `BSRNNAudioSeparator`, alike but for stems and
                bands. Encoders and decoders are shared with them.

        Returns:
            `BSRNNAudioSeparator` with all of their stems. Its `metadata` are
            `{"stems": {stem: metadata}}`, of those that had any.

        Raises:
            ValueError: if two have a stem in common, or differ otherwise.
        """
        backbone = BSRNNBackbone.join([s.backbone for s in separators])
        settings = {(s.hop_length, s.pad_mode) for s in separators}
        if len(settings) > 1:
            raise ValueError(
                "what is joined must have the same hop_length and pad_mode; "
                f"got {sorted(settings)}"
            )
        decoders = {}
        for separator in separators:
            decoders |= separator.decoders
        joined = cls(
            **{
                **separators[0]._arguments(),
                "backbone": backbone,
                "stems": list(decoders),
                "decoders": decoders,
            }
        )
        origins = {
            stem: dict(separator.metadata)
            for separator in separators
            for stem in separator.stems
            if separator.metadata
        }
        joined.metadata = {"stems": origins} if origins else {}
        return joined

    def _arguments_for(self, stems):
        # Encoders of other stems would be weights that nothing uses.
        return {
            **super()._arguments_for(stems),
            "backbone": self.backbone.with_stems(stems),
        }
