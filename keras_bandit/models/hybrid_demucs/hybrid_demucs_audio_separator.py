"""Hybrid Demucs v3: a spectrogram and a waveform U-Net, summed.

Défossez 2021, "Hybrid Spectrogram and Waveform Source Separation",
arXiv:2111.03600, as `facebookresearch/demucs` at e976d93 computes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
from keras import ops

from keras_bandit.common.checks import check_integer, check_stem_names
from keras_bandit.models.hybrid_demucs.hybrid_network import HybridNetwork
from keras_bandit.models.hybrid_demucs.hybrid_transforms import (
    CutTo,
    HybridISTFT,
    HybridSTFT,
    Normalize,
    PadTo,
    split_stems,
    to_features,
    to_spectrograms,
)
from keras_bandit.models.separator import AudioSeparator

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from keras_bandit.common.types import Config


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
        n_fft: int, power of two. Frame length; hops are a quarter of it.
        channels, growth, depth, norm_starts, norm_groups: see `HybridNetwork`.
        dconv_mode, dconv_depth, dconv_compression, dconv_scale: see it, too.
        dconv_lstm, dconv_attention, embedding: see it, too.
        band_ratios, banded_depth, torchaudio_norm: see it, too.
        complex_as_channels: bool. Whether the frequency branch sees and
            returns real and imaginary parts ("cac"); else magnitudes, which
            get the mixture's phase.
        hybrid_old: bool. Whether the transform pads with zeros and comes back
            late, as in some released models.
        chunk_seconds: float. Released models have 44.
        crossfade: `"triangle"` (the authors') or `"hann"` (BandIt's); see
            `AudioSeparator.crossfade`.
        standardize_recording: bool. Whether `separate` takes a recording's
            mean and deviation away first, and gives them back.
        transition_power: float. Exponent of the triangle.
        max_samples: int or `None`. See `AudioSeparator.max_samples`; given by
            `HTDemucsAudioSeparator`, as is `middle`.
        middle: see `HybridNetwork`.
        dtype: dtype policy or `None`. Spectra and waveforms stay float32.

    Call arguments, returned values: as `AudioSeparator`.

    Raises:
        ValueError: as `AudioSeparator`, or for sizes outside the above.
    """

    silent_in_silent_out = True

    def __init__(
        self,
        stems: Sequence[str],
        num_channels: int = 2,
        sample_rate: int = 44100,
        n_fft: int = 4096,
        channels: int = 48,
        growth: int = 2,
        depth: int = 6,
        complex_as_channels: bool = True,
        hybrid_old: bool = False,
        norm_starts: int = 4,
        norm_groups: int = 4,
        dconv_mode: int = 1,
        dconv_depth: int = 2,
        dconv_compression: int = 4,
        dconv_scale: float = 1e-3,
        dconv_lstm: int = 4,
        dconv_attention: int = 4,
        embedding: float = 0.2,
        band_ratios: Sequence[float] = (),
        banded_depth: int = 0,
        torchaudio_norm: bool = False,
        chunk_seconds: float = 10.0,
        crossfade: str = "triangle",
        standardize_recording: bool = True,
        transition_power: float = 1.0,
        max_samples: int | None = None,
        middle: int | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        check_stem_names(stems)
        check_integer("num_channels", num_channels, 1)
        check_integer("n_fft", n_fft, 16)
        if n_fft & (n_fft - 1):
            raise ValueError(f"n_fft must be a power of two; got {n_fft}")
        outputs = len(stems) * num_channels
        sizes = {
            "channels": channels,
            "growth": growth,
            "depth": depth,
            "norm_starts": norm_starts,
            "norm_groups": norm_groups,
            "dconv_mode": dconv_mode,
            "dconv_depth": dconv_depth,
            "dconv_compression": dconv_compression,
            "dconv_scale": dconv_scale,
            "dconv_lstm": dconv_lstm,
            "dconv_attention": dconv_attention,
            "embedding": embedding,
            "band_ratios": list(band_ratios),
            "banded_depth": banded_depth,
            "torchaudio_norm": torchaudio_norm,
        }
        network = HybridNetwork(
            2 * outputs if complex_as_channels else outputs,
            outputs,
            n_fft // 2,
            **sizes,
            middle=middle,
            dtype=dtype,
            name="network",
        )
        stft = HybridSTFT(n_fft, hybrid_old, name="stft")
        istft = HybridISTFT(n_fft, hybrid_old, name="istft")
        # === Functional model ===
        waveform = keras.Input((num_channels, None), name="waveform")
        padded = waveform
        if max_samples is not None:
            padded = PadTo(max_samples, name="pad")(waveform)
        mixture = stft(padded)  # (batch, channels, frames, bins, 2)
        x = to_features(mixture, complex_as_channels)
        x, mean, deviation = Normalize(name="normalize")(x)
        y = ops.transpose(padded, (0, 2, 1))
        y, time_mean, time_deviation = Normalize(name="time_normalize")(y)
        x, y = network(x, y)
        x = x * deviation + mean  # (batch, bins, frames, features)
        y = y * time_deviation + time_mean  # (batch, samples, all channels)
        x = istft(to_spectrograms(x, mixture, complex_as_channels), padded)
        x = x + ops.transpose(y, (0, 2, 1))
        if max_samples is not None:
            x = CutTo(name="cut")(x, waveform)
        super().__init__(
            waveform,
            split_stems(x, stems),
            sample_rate=sample_rate,
            chunk_seconds=chunk_seconds,
            min_samples=2,  # a deviation needs two
            **kwargs,
        )
        self.max_samples = max_samples
        # === Config ===
        self.crossfade = crossfade
        self.standardize_recording = standardize_recording
        self.transition_power = transition_power
        self.n_fft = n_fft
        self.complex_as_channels = complex_as_channels
        self.hybrid_old = hybrid_old
        self.sizes = sizes

    def core_model(self) -> keras.Model:
        """The network of both branches.

        `spectrogram (batch, channels, frames, bins, parts)` and `waveform
        (batch, channels, samples)`, normalized, to `spectrograms` and
        `waveforms` of all stems, their channels in one axis.
        """
        network, bins = self.get_layer("network"), self.n_fft // 2
        parts = 2 if self.complex_as_channels else 1
        channels = self.num_channels
        outputs = len(self.stems) * channels
        spectrogram = keras.Input((channels, None, bins, parts))
        waveform = keras.Input((channels, None))
        x = keras.layers.Permute((3, 2, 1, 4))(spectrogram)
        x = keras.layers.Reshape((bins, -1, channels * parts))(x)
        x, y = network(x, keras.layers.Permute((2, 1))(waveform))
        x = keras.layers.Reshape((bins, -1, outputs, parts))(x)
        return keras.Model(
            [spectrogram, waveform],
            {
                "spectrograms": keras.layers.Permute((3, 2, 1, 4))(x),
                "waveforms": keras.layers.Permute((2, 1))(y),
            },
            name="core",
        )

    def core_transforms(self) -> dict[str, Config]:
        return {
            "hybrid_demucs": {
                "sources": self.stems,
                "n_fft": self.n_fft,
                "complex_as_channels": self.complex_as_channels,
                "hybrid_old": self.hybrid_old,
            }
        }

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            **self.sizes,
            "num_channels": self.num_channels,
            "sample_rate": self.sample_rate,
            "n_fft": self.n_fft,
            "complex_as_channels": self.complex_as_channels,
            "hybrid_old": self.hybrid_old,
            "crossfade": self.crossfade,
            "standardize_recording": self.standardize_recording,
            "transition_power": self.transition_power,
        }
