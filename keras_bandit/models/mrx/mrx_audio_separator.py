"""MRX: magnitudes at several resolutions, masks for each, one sum.

Petermann, Wichern, Wang & Le Roux 2022, "The Cocktail Fork Problem",
arXiv:2110.09958, Sec. 3, as `merlresearch/cocktail-fork-separation` at
19b3de8 computes it. MRX-C is MRX with mixture consistency.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras

from keras_bandit.common.checks import check_integer, check_stem_names
from keras_bandit.common.numpy_spectral import stft_scale
from keras_bandit.layers import ISTFT, STFT, BatchNorm, LSTMStack, Magnitude
from keras_bandit.layers.initializers import FanInUniform
from keras_bandit.models.mrx.mrx_layers import (
    ApplyRealMask,
    MixtureConsistency,
    SameFrames,
)
from keras_bandit.models.separator import AudioSeparator

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from keras_bandit.common.types import Config


def _dense(units, fan_in, dtype, name):
    return keras.layers.Dense(
        units,
        use_bias=False,
        kernel_initializer=FanInUniform(fan_in),
        dtype=dtype,
        name=name,
    )


def mrx_encoder(num_bins, hidden_dim, dtype, name):
    """One resolution's magnitudes to features, with initial weights.

    Normalization takes the place of the training data's statistics.

    Returns:
        `keras.Sequential`, `(batch, channels, frames, num_bins)` to `(batch,
        channels, frames, hidden_dim)`.
    """
    return keras.Sequential(
        [
            BatchNorm(name="input_norm"),
            _dense(hidden_dim, num_bins, dtype, "dense"),
            BatchNorm(name="norm"),
            keras.layers.Activation("tanh", name="tanh"),
        ],
        name=name,
    )


def mrx_decoder(num_bins, hidden_dim, dtype, name):
    """Features to one stem's mask at one resolution, with initial weights.

    Returns:
        `keras.Sequential`, `(batch, channels, frames, 2 * hidden_dim)` to
        `(batch, channels, frames, num_bins)`, zero or more.
    """
    return keras.Sequential(
        [
            _dense(hidden_dim, 2 * hidden_dim, dtype, "hidden"),
            BatchNorm(name="hidden_norm"),
            keras.layers.Activation("relu", name="hidden_relu"),
            _dense(num_bins, hidden_dim, dtype, "mask"),
            BatchNorm(name="mask_norm"),
            keras.layers.Activation("relu", dtype="float32", name="mask_relu"),
        ],
        name=name,
    )


@keras.saving.register_keras_serializable(package="keras_bandit")
class MRXAudioSeparator(AudioSeparator):
    """MRX, or MRX-C: a spectrogram network at several resolutions at once.

    Every resolution has an encoder; their mean goes through as many LSTMs as
    there are stems, which are averaged too, so that no part but the decoders
    is one stem's. A stem is the sum of its masked spectrograms' waveforms.
    Channels are independent. Trained on mixtures of one loudness, to which
    `separate` brings a recording first.

    Example:

    ```python
    separator = keras_bandit.MRXAudioSeparator(
        ["music", "speech", "sfx"], [256, 512], hop_length=128, hidden_dim=8
    )
    mixture = np.zeros((1, 2, 4000), "float32")  # (batch, channels, samples)
    separator(mixture)["music"].shape  # (1, 2, 4000)
    ```

    Args:
        stems: list of str.
        window_lengths: list of int, even. Samples of each resolution's frame.
        hop_length: int. Samples between frames, at most half of each window.
        hidden_dim: int, even. Size of features; LSTM directions have half.
        num_layers: int. Layers of each LSTM.
        dropout: float. Between LSTM layers, in training.
        mixture_consistency: `None` (MRX), `"all"` or `"music_sfx"` (MRX-C);
            see `MixtureConsistency`.
        target_lufs: float. Loudness that `separate` brings a recording to;
            `None`: it stays as it is.
        sample_rate: int. Hz.
        dtype: dtype policy or `None`. Spectra and masks stay float32.

    Call arguments, returned values: as `AudioSeparator`, of at least the
        longest window's samples.

    Raises:
        ValueError: as `AudioSeparator`, for sizes outside the above, or
            another `mixture_consistency`.
    """

    silent_in_silent_out = True
    crossfade = "middle"

    def __init__(
        self,
        stems: Sequence[str] = ("music", "speech", "sfx"),
        window_lengths: Sequence[int] = (1024, 2048, 8192),
        hop_length: int = 256,
        hidden_dim: int = 512,
        num_layers: int = 3,
        dropout: float = 0.4,
        mixture_consistency: str | None = None,
        target_lufs: float | None = -27.0,
        sample_rate: int = 44100,
        chunk_seconds: float = 30.0,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        stems = list(stems)
        check_stem_names(stems)
        check_integer("hidden_dim", hidden_dim, 2)
        if not len(window_lengths):
            raise ValueError("window_lengths must hold one length or more")
        # === Layers ===
        resolutions = range(len(window_lengths))
        stfts = [
            STFT(n_fft, hop_length, "reflect", name=f"stft_{r}")
            for r, n_fft in enumerate(window_lengths)
        ]
        magnitudes = [
            Magnitude(stft_scale(n_fft) / n_fft**0.5, name=f"magnitude_{r}")
            for r, n_fft in enumerate(window_lengths)
        ]
        num_bins = [n_fft // 2 + 1 for n_fft in window_lengths]
        encoders = [
            mrx_encoder(num_bins[r], hidden_dim, dtype, f"encoder_{r}")
            for r in resolutions
        ]
        lstms = [
            LSTMStack(
                hidden_dim,
                num_layers,
                dropout=dropout,
                dtype=dtype,
                name=f"lstm_{i}",
            )
            for i in range(len(stems))
        ]
        decoders = {
            stem: [
                mrx_decoder(num_bins[r], hidden_dim, dtype, f"{stem}_mask_{r}")
                for r in resolutions
            ]
            for stem in stems
        }
        # === Functional model ===
        waveform = keras.Input((None, None), name="waveform")
        spectrograms = [stft(waveform) for stft in stfts]
        longest = spectrograms[window_lengths.index(max(window_lengths))]
        encoded = []
        for r in resolutions:
            x = magnitudes[r](spectrograms[r])
            x = SameFrames(name=f"common_frames_{r}")(x, longest)
            encoded.append(encoders[r](x))  # (batch, channels, frames, hidden)
        average = keras.layers.Average(dtype="float32", name="shared")
        shared = average(encoded)
        average = keras.layers.Average(dtype="float32", name="across")
        across = average([lstm(shared) for lstm in lstms])
        features = keras.layers.Concatenate(dtype="float32", name="features")(
            [shared, across]
        )
        estimates = []
        for stem in stems:
            parts = []
            for r, n_fft in enumerate(window_lengths):
                mask = decoders[stem][r](features)
                name = f"{stem}_own_frames_{r}"
                mask = SameFrames(name=name)(mask, spectrograms[r])
                masked = ApplyRealMask(name=f"{stem}_masking_{r}")(
                    spectrograms[r], mask
                )
                istft = ISTFT(n_fft, hop_length, name=f"{stem}_istft_{r}")
                parts.append(istft(masked, waveform))
            estimates.append(sum(parts))
        if mixture_consistency is not None:
            consistency = MixtureConsistency(mixture_consistency, stems)
            estimates = consistency(estimates, waveform)
        # Named like the stem: Keras names the output after its layer.
        estimates = {
            stem: keras.layers.Identity(name=stem)(x)
            for stem, x in zip(stems, estimates, strict=True)
        }
        super().__init__(
            waveform,
            estimates,
            sample_rate=sample_rate,
            chunk_seconds=chunk_seconds,
            min_samples=max(window_lengths),
            **kwargs,
        )
        # === Config ===
        self.window_lengths = list(window_lengths)
        self.hop_length = hop_length
        self.hidden_dim = hidden_dim
        self.num_layers = num_layers
        self.dropout = dropout
        self.mixture_consistency = mixture_consistency
        self.target_lufs = target_lufs

    def core_model(self) -> keras.Model:
        """`spectrogram_<r>` of each window to `mask_<stem>_<r>`, real masks."""
        resolutions = range(len(self.window_lengths))
        return keras.Model(
            [self.get_layer(f"stft_{r}").output for r in resolutions],
            {
                f"mask_{stem}_{r}": self.get_layer(
                    f"{stem}_own_frames_{r}"
                ).output
                for stem in self.stems
                for r in resolutions
            },
            name="core",
        )

    def core_transforms(self) -> dict[str, Config]:
        return {
            "mrx": {
                "sources": self.stems,
                "window_lengths": self.window_lengths,
                "hop_length": self.hop_length,
                "mixture_consistency": self.mixture_consistency,
            }
        }

    def describe(self) -> dict[str, str]:
        windows = ", ".join(map(str, self.window_lengths))
        return {
            **super().describe(),
            "windows": f"{windows}, hop {self.hop_length}",
            "consistency": self.mixture_consistency or "none",
        }

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "window_lengths": self.window_lengths,
            "hop_length": self.hop_length,
            "hidden_dim": self.hidden_dim,
            "num_layers": self.num_layers,
            "dropout": self.dropout,
            "mixture_consistency": self.mixture_consistency,
            "target_lufs": self.target_lufs,
            "sample_rate": self.sample_rate,
        }
