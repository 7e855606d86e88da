"""BandIt: one encoder, a decoder per stem."""

import keras

from keras_bandit.models.audio_separator import AudioSeparator
from keras_bandit.models.bandit.bandit_backbone import BanditBackbone


@keras.saving.register_keras_serializable(package="keras_bandit")
class BanditAudioSeparator(AudioSeparator):
    """BandIt: one encoder that all stems share.

    Source: Watcharasupat et al. 2023, arXiv:2309.02539, Sec. III. Arguments,
    inputs, outputs and errors as in `AudioSeparator`. Channels are
    independent: stereo is separated as two mono signals.
    """

    backbone_cls = BanditBackbone
