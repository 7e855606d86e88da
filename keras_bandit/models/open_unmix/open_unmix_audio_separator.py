"""Open-Unmix: a network per stem masks magnitudes; a Wiener filter sharpens.

Stöter, Uhlich, Liutkus & Mitsufuji 2019, "Open-Unmix - A Reference
Implementation for Music Source Separation" (JOSS 4:41), as
`sigsep/open-unmix-pytorch` at fb672c9 computes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras

from keras_bandit.common.checks import check_integer, check_stem_names
from keras_bandit.common.numpy_spectral import stft_scale
from keras_bandit.layers import BatchNorm, LSTMStack, Magnitude
from keras_bandit.layers.initializers import FanInUniform
from keras_bandit.losses import MAGNITUDE
from keras_bandit.models.mask_separator import MaskSeparator
from keras_bandit.models.open_unmix.numpy_transforms import RESIDUAL
from keras_bandit.models.open_unmix.open_unmix_layers import (
    InnerFrames,
    InputScaling,
    OuterFrames,
    OutputScaling,
    RealMask,
)
from keras_bandit.models.open_unmix.wiener import WienerFilter
from keras_bandit.models.separator import AudioSeparator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from keras_bandit.common.types import Config


WINDOWS_PER_CHUNK = 6


def open_unmix_network(
    stem,
    num_channels,
    num_bins,
    num_input_bins,
    hidden_dim,
    bidirectional,
    dropout,
    dtype,
):
    """One stem's network with initial weights.

    Args:
        stem: str.
        num_channels, num_input_bins, hidden_dim, bidirectional, dropout,
            dtype: as in `OpenUnmixAudioSeparator`.
        num_bins: int. Bins of the spectrogram and of the mask.

    Returns:
        `keras.Model`, magnitudes `(batch, channels, frames, bins)` to a mask
        of that shape, zero or more.
    """
    inputs = num_channels * num_input_bins
    outputs = num_channels * num_bins

    def dense(units, fan_in, name):
        initializer = FanInUniform(fan_in)
        return keras.layers.Dense(
            units,
            use_bias=False,
            kernel_initializer=initializer,
            dtype=dtype,
            name=name,
        )

    # === Layers ===
    # Their names are the same for every stem, so that weights saved for one
    # can be loaded for another.
    input_scaling = InputScaling(num_input_bins, name="input_scaling")
    fc1, bn1 = dense(hidden_dim, inputs, "fc1"), BatchNorm(name="bn1")
    lstm = LSTMStack(
        hidden_dim, 3, bidirectional, dropout, dtype=dtype, name="lstm"
    )
    fc2, bn2 = dense(hidden_dim, 2 * hidden_dim, "fc2"), BatchNorm(name="bn2")
    fc3, bn3 = dense(outputs, hidden_dim, "fc3"), BatchNorm(name="bn3")
    output_scaling = OutputScaling(num_channels, name="output_scaling")
    # === Functional model ===
    magnitude = keras.Input((num_channels, None, num_bins), name="magnitude")
    with keras.name_scope(f"{stem}_decoder"):
        x = input_scaling(magnitude)  # (batch, frames, channels * input bins)
        x = keras.layers.Activation("tanh", name="tanh")(bn1(fc1(x)))
        y = lstm(x)  # (batch, frames, hidden_dim)
        x = keras.layers.Concatenate(name="skip")([x, y])
        x = keras.layers.Activation("relu", name="relu")(bn2(fc2(x)))
        x = bn3(fc3(x))  # (batch, frames, channels * bins)
        mask = output_scaling(x)  # (batch, channels, frames, bins)
    return keras.Model(magnitude, mask, name=f"{stem}_decoder")


def _check(stems, num_channels, num_bins, num_input_bins, niter, residual):
    if num_channels not in (1, 2):
        raise ValueError(f"num_channels must be 1 or 2; got {num_channels!r}")
    check_integer("niter", niter, 0)
    if check_integer("num_input_bins", num_input_bins, 1) > num_bins:
        raise ValueError(
            f"num_input_bins must be at most {num_bins}; got {num_input_bins}"
        )
    if residual and RESIDUAL in stems:
        raise ValueError(f"stems must not hold {RESIDUAL!r} with residual")
    if niter and len(stems) + residual < 2:
        raise ValueError(
            "niter needs two stems or residual=True: one source alone would "
            f"be the mixture; got niter={niter}, stems={list(stems)}"
        )


@keras.saving.register_keras_serializable(package="keras_bandit")
class OpenUnmixAudioSeparator(MaskSeparator):
    """Open-Unmix: magnitude masks from a network per stem.

    With `niter`, `softmask` or `residual` a Wiener filter works on all stems
    together, so that `with_stems` computes all of them too. Losses see
    magnitudes as the domain `"magnitude"`, before that filter; see
    `keras_bandit.losses.MagnitudeMSE`.

    Example:

    ```python
    separator = keras_bandit.OpenUnmixAudioSeparator(
        ["vocals", "other"], n_fft=256, hop_length=64, hidden_dim=8, niter=1
    )
    mixture = np.zeros((1, 2, 4000), "float32")  # (batch, channels, samples)
    separator(mixture)["vocals"].shape  # (1, 2, 4000)
    ```

    Args:
        stems: list of str. Each has a network, `decoders[stem]`.
        num_channels: int. 1: any number of channels; their mean magnitude is
            masked and gets each channel's phase. 2: stereo.
        n_fft: int. Frame length in samples.
        hop_length: int.
        sample_rate: int. Hz.
        num_input_bins: int. The lowest bins, which the networks read; `None`:
            all. Masks have all.
        hidden_dim: int. Units of the dense layers and of the LSTMs, whose
            directions have half of them each.
        bidirectional: bool. `False`: LSTMs run forwards alone.
        dropout: float. Between LSTM layers, in training.
        niter: int. Steps of expectation maximization of the Wiener filter.
        softmask: bool. Whether stems begin as shares of the mixture.
        residual: bool. Whether what the stems leave is a stem too, named
            `"residual"`.
        window_frames: int. Frames that are filtered at a time; `None`: all.
        centred_training: bool. `False`: training and the magnitudes of losses
            leave out the frames that reach over the waveform's ends, as the
            published training does. BandIt's authors keep them.
        chunk_seconds: float. `None`: six windows.
        crossfade: `"middle"` (the authors separate whole recordings) or
            `"hann"`; see `AudioSeparator.crossfade`.
        decoders: `{stem: keras.Model}`; stems that are not there get a new
            network.
        dtype: dtype policy or `None`. Spectra and masks stay float32.

    Call arguments, returned values: as `AudioSeparator`.

    Raises:
        ValueError: as `MaskSeparator`; for sizes outside the above; for
            `niter` with one source alone.
    """

    linked_channels = True

    def __init__(
        self,
        stems: Sequence[str],
        num_channels: int = 2,
        n_fft: int = 4096,
        hop_length: int = 1024,
        sample_rate: int = 44100,
        num_input_bins: int | None = None,
        hidden_dim: int = 512,
        bidirectional: bool = True,
        dropout: float = 0.4,
        niter: int = 0,
        softmask: bool = False,
        residual: bool = False,
        window_frames: int = 300,
        centred_training: bool = False,
        chunk_seconds: float | None = None,
        crossfade: str = "middle",
        decoders: Mapping[str, keras.Model] | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        check_stem_names(stems)
        num_bins = n_fft // 2 + 1
        num_input_bins = num_input_bins or num_bins
        _check(stems, num_channels, num_bins, num_input_bins, niter, residual)
        margin = 0 if centred_training else n_fft // 2 // hop_length
        if not centred_training and n_fft % (2 * hop_length):
            raise ValueError(
                "hop_length must divide n_fft / 2 unless centred_training; "
                f"got hop_length={hop_length}, n_fft={n_fft}"
            )
        if chunk_seconds is None:
            frames = WINDOWS_PER_CHUNK * (window_frames or 300)
            chunk_seconds = frames * hop_length / sample_rate
        # === Layers ===
        scale = stft_scale(n_fft)
        magnitude = Magnitude(scale, num_channels, name="magnitude")
        inner = InnerFrames(margin, only_in_training=True, name="inner_frames")
        outer = OuterFrames(margin, name="outer_frames")
        wiener = WienerFilter(
            niter, softmask, residual, window_frames, scale, name="wiener"
        )
        compared = InnerFrames(margin, name="compared_frames")
        sizes = num_channels, num_bins, num_input_bins, hidden_dim
        decoders = {
            stem: (decoders or {}).get(stem)
            or open_unmix_network(stem, *sizes, bidirectional, dropout, dtype)
            for stem in stems
        }
        # === Functional model ===
        channels = None if num_channels == 1 else num_channels
        spectrogram = keras.Input((channels, None, num_bins, 2))
        x = inner(magnitude(spectrogram))  # (batch, channels, frames, bins)
        masks = {
            stem: RealMask(num_channels == 1, name=f"{stem}_mask")(
                outer(decoder(x)), spectrogram
            )
            for stem, decoder in decoders.items()
        }

        def filter_all(mixture, masks):
            names = [*masks, RESIDUAL] if residual else list(masks)
            sources = wiener(mixture, list(masks.values()))
            return dict(zip(names, sources, strict=True))

        def magnitudes(spectrograms):
            found = {s: magnitude(x) for s, x in spectrograms.items()}
            return {MAGNITUDE: {s: compared(x) for s, x in found.items()}}

        filtered = niter or softmask or residual
        super().__init__(
            spectrogram,
            masks,
            decoders=decoders,
            hop_length=hop_length,
            pad_mode="reflect",
            extra_frame=False,
            sample_rate=sample_rate,
            chunk_seconds=chunk_seconds,
            post_filter=filter_all if filtered else None,
            more_domains=magnitudes,
            **kwargs,
        )
        # === Config ===
        self.crossfade = crossfade
        self.model_channels = num_channels
        self.num_input_bins = num_input_bins
        self.hidden_dim = hidden_dim
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.niter = niter
        self.softmask = softmask
        self.residual = residual
        self.window_frames = window_frames
        self.centred_training = centred_training

    def core_transforms(self) -> dict[str, Config]:
        transforms = super().core_transforms()
        if not (self.niter or self.softmask or self.residual):
            return transforms
        return {
            "wiener": {
                "sources": list(self.decoders),
                **transforms,
                "niter": self.niter,
                "softmask": self.softmask,
                "residual": self.residual,
                "window_frames": self.window_frames,
            }
        }

    def with_stems(self, stems: Sequence[str]) -> AudioSeparator:
        """A separator that computes these stems only, sharing weights.

        With a Wiener filter it computes all of them and returns these.
        """
        if self.niter or self.softmask or self.residual:
            return AudioSeparator.with_stems(self, stems)
        return super().with_stems(stems)

    def describe(self) -> dict[str, str]:
        channels = "any number, linked" if self.model_channels == 1 else "2"
        return {
            **super().describe(),
            "channels": channels,
            "STFT": f"n_fft {self.n_fft}, hop {self.hop_length}",
            "filter": f"{self.niter} steps of expectation maximization",
        }

    def get_config(self) -> Config:
        config = super().get_config()
        del config["pad_mode"]
        return {
            **config,
            "stems": list(self.decoders),
            "num_channels": self.model_channels,
            "n_fft": self.n_fft,
            "sample_rate": self.sample_rate,
            "num_input_bins": self.num_input_bins,
            "hidden_dim": self.hidden_dim,
            "bidirectional": self.bidirectional,
            "dropout": self.dropout,
            "niter": self.niter,
            "softmask": self.softmask,
            "residual": self.residual,
            "window_frames": self.window_frames,
            "centred_training": self.centred_training,
            "crossfade": self.crossfade,
        }
