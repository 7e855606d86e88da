"""Hybrid Demucs v3: a spectrogram and a waveform U-Net, summed.

Défossez 2021, "Hybrid Spectrogram and Waveform Source Separation",
arXiv:2111.03600, as `facebookresearch/demucs` at e976d93 computes it.
"""

import keras
from keras import ops

from keras_bandit.common.checks import check_integer
from keras_bandit.models.hybrid_demucs.hybrid_network import HybridNetwork
from keras_bandit.models.hybrid_demucs.hybrid_transforms import (
    HybridISTFT,
    HybridSTFT,
    Normalize,
    ToFeatures,
    ToSpectrograms,
)
from keras_bandit.models.separator import AudioSeparator, check_stem_names


@keras.saving.register_keras_serializable(package="keras_bandit")
class HybridDemucsAudioSeparator(AudioSeparator):
    """Hybrid Demucs: spectrogram and waveform branches that share a middle.

    The frequency branch returns spectrograms themselves, not masks; each stem
    is the sum of its waveform and of what its spectrogram resynthesizes to.

    Example:

    ```python
    separator = keras_bandit.HybridDemucsAudioSeparator(
        ["vocals", "other"], n_fft=1024, depth=5, channels=4
    )
    mixture = np.zeros((1, 2, 8000), "float32")  # (batch, channels, samples)
    separator(mixture)["vocals"].shape  # (1, 2, 8000)
    ```

    Args:
        stems: list of str.
        num_channels: int.
        sample_rate: int. Hz.
        n_fft: int. Frame length; hops are a quarter of it.
        channels: int. Of the first layer.
        growth: int. Each next layer has so many times as many.
        depth: int. Layers.
        complex_as_channels: bool. Whether the frequency branch sees and
            returns real and imaginary parts ("cac"); else magnitudes, which
            get the mixture's phase.
        hybrid_old: bool. Whether the transform pads with zeros and comes back
            late, as in some released models.
        norm_starts: int. First layer with group normalization.
        norm_groups: int.
        dconv_mode: int. Residual branches in encoders (1), or decoders too
            (3).
        dconv_depth: int. Branches.
        dconv_compression: int. A layer's channels over a branch's.
        dconv_scale: float. Initial scale of a branch's output.
        dconv_lstm, dconv_attention: int. First layers with them.
        embedding: float. Weight of the bins' embedding.
        chunk_seconds: float. Released models have 44.
        crossfade: `"triangle"` (the authors') or `"hann"` (BandIt's); see
            `AudioSeparator.crossfade`.
        standardize_recording: bool. Whether `separate` takes a recording's
            mean and deviation away first, and gives them back.
        dtype: dtype policy or `None`. Spectra and waveforms stay float32.

    Call arguments, returned values: as `AudioSeparator`.

    Raises:
        ValueError: as `AudioSeparator`, or for sizes outside the above.
    """

    def __init__(
        self,
        stems,
        num_channels=2,
        sample_rate=44100,
        n_fft=4096,
        channels=48,
        growth=2,
        depth=6,
        complex_as_channels=True,
        hybrid_old=False,
        norm_starts=4,
        norm_groups=4,
        dconv_mode=1,
        dconv_depth=2,
        dconv_compression=4,
        dconv_scale=1e-3,
        dconv_lstm=4,
        dconv_attention=4,
        embedding=0.2,
        chunk_seconds=10.0,
        crossfade="triangle",
        standardize_recording=True,
        dtype=None,
        **kwargs,
    ):
        check_stem_names(stems)
        check_integer("num_channels", num_channels, 1)
        # === Layers ===
        stft = HybridSTFT(n_fft, hybrid_old, name="stft")
        parts = 2 if complex_as_channels else 1
        network = HybridNetwork(
            len(stems) * num_channels * parts,
            len(stems) * num_channels,
            n_fft // 2,
            channels,
            growth,
            depth,
            norm_starts,
            norm_groups,
            dconv_mode,
            {
                "depth": dconv_depth,
                "compression": dconv_compression,
                "scale": dconv_scale,
            },
            dconv_lstm,
            dconv_attention,
            embedding,
            dtype=dtype,
            name="network",
        )
        to_spectrograms = ToSpectrograms(
            len(stems), complex_as_channels, name="to_spectrograms"
        )
        # === Functional model ===
        waveform = keras.Input((num_channels, None), name="waveform")
        mixture = stft(waveform)  # (batch, channels, frames, bins, 2)
        x = ToFeatures(complex_as_channels, name="to_features")(mixture)
        x, mean, deviation = Normalize(name="normalize")(x)
        y = ops.transpose(waveform, (0, 2, 1))
        y, time_mean, time_deviation = Normalize(name="time_normalize")(y)
        x, y = network(x, y)
        x = x * deviation + mean
        y = y * time_deviation + time_mean  # (batch, samples, stems * channels)
        spectrograms = to_spectrograms(x, mixture)
        y = ops.transpose(y, (0, 2, 1))
        estimates = {}
        for i, stem in enumerate(stems):
            # Named like the stem: Keras names the output after its layer.
            istft = HybridISTFT(n_fft, hybrid_old, name=f"{stem}_istft")
            add = keras.layers.Add(name=stem)
            own = y[:, i * num_channels : (i + 1) * num_channels]
            estimates[stem] = add([istft(spectrograms[i], waveform), own])
        super().__init__(
            waveform,
            estimates,
            sample_rate=sample_rate,
            chunk_seconds=chunk_seconds,
            min_samples=2,  # a deviation needs two
            **kwargs,
        )
        # === Config ===
        self.crossfade = crossfade
        self.standardize_recording = standardize_recording
        self.n_fft = n_fft
        self.channels = channels
        self.growth = growth
        self.depth = depth
        self.complex_as_channels = complex_as_channels
        self.hybrid_old = hybrid_old
        self.norm_starts = norm_starts
        self.norm_groups = norm_groups
        self.dconv_mode = dconv_mode
        self.dconv_depth = dconv_depth
        self.dconv_compression = dconv_compression
        self.dconv_scale = dconv_scale
        self.dconv_lstm = dconv_lstm
        self.dconv_attention = dconv_attention
        self.embedding = embedding

    def get_config(self):
        names = (
            "num_channels",
            "sample_rate",
            "n_fft",
            "channels",
            "growth",
            "depth",
            "complex_as_channels",
            "hybrid_old",
            "norm_starts",
            "norm_groups",
            "dconv_mode",
            "dconv_depth",
            "dconv_compression",
            "dconv_scale",
            "dconv_lstm",
            "dconv_attention",
            "embedding",
            "crossfade",
            "standardize_recording",
        )
        config = {name: getattr(self, name) for name in names}
        return {**super().get_config(), **config}
