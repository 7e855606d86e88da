"""The quickest separator to trace and compile, for tests of any model."""

import keras
from keras import ops

from keras_bandit.models import AudioSeparator


@keras.saving.register_keras_serializable(package="tests")
class ConvSeparator(AudioSeparator):
    """No STFT, no mask, no encoder: one convolution, waveform to stems.

    Its bias makes sound of silence.
    """

    def __init__(self, stems, kernel_size=9, sample_rate=8000, **kwargs):
        # === Layers ===
        convolution = keras.layers.Conv1D(
            len(stems), kernel_size, padding="same", bias_initializer="ones"
        )
        # === Functional model ===
        waveform = keras.Input((1, None), name="waveform")
        x = convolution(ops.transpose(waveform, (0, 2, 1)))
        x = ops.transpose(x, (0, 2, 1))  # (batch, stems, samples)
        estimates = {
            stem: keras.layers.Identity(name=stem)(x[:, i : i + 1])
            for i, stem in enumerate(stems)
        }
        super().__init__(
            waveform,
            estimates,
            sample_rate=sample_rate,
            min_samples=kernel_size,
            **{"chunk_seconds": 0.5, **kwargs},
        )
        # === Config ===
        self.kernel_size = kernel_size

    def get_config(self):
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "sample_rate": self.sample_rate,
        }
