"""Hybrid Transformer Demucs, "v4": Hybrid Demucs around a transformer.

Rouard, Massa & Défossez 2023, "Hybrid Transformers for Music Source
Separation", arXiv:2211.08553, as `facebookresearch/demucs` at e976d93 computes
it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras

from keras_bandit.common.checks import check_chunk, check_integer
from keras_bandit.models.htdemucs.htdemucs_layers import CrossTransformer
from keras_bandit.models.hybrid_demucs.hybrid_demucs_audio_separator import (
    HybridDemucsAudioSeparator,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from keras_bandit.common.types import Config


@keras.saving.register_keras_serializable(package="keras_bandit")
class HTDemucsAudioSeparator(HybridDemucsAudioSeparator):
    """HTDemucs: Hybrid Demucs whose branches meet in a transformer alone.

    Encoders stop while rows of bins are left; a transformer takes the place of
    Hybrid Demucs's shared layers, recurrences and local attention.

    The network always computes the length that it was trained at: outside
    training, shorter waveforms are followed by zeros, and longer ones are
    refused. `separate` extends a recording's last chunk by what lies before it,
    as its authors do.

    Example:

    ```python
    separator = keras_bandit.HTDemucsAudioSeparator(
        ["vocals", "other"], n_fft=512, channels=8, depth=3,
        bottom_channels=16, transformer_heads=2, chunk_seconds=0.5,
    )
    mixture = np.zeros((1, 2, 8000), "float32")  # (batch, channels, samples)
    separator(mixture)["vocals"].shape  # (1, 2, 8000)
    ```

    Args:
        stems: list of str.
        num_channels: int.
        sample_rate: int. Hz.
        bottom_channels: int. Size of the transformer's tokens; 0: the last
            encoder layer's channels.
        transformer_layers, transformer_heads: see `CrossTransformer`.
        transformer_expansion, transformer_dropout, cross_first: see it, too.
        depth, dconv_mode, dconv_compression: see `HybridNetwork`.
        chunk_seconds: float. The length that the network is trained at, 7.8
            in released models, and computes.
        **kwargs: other arguments of `HybridDemucsAudioSeparator`.

    Call arguments, returned values: as `AudioSeparator`.

    Raises:
        ValueError: as `HybridDemucsAudioSeparator`, if no rows of bins are
            left after `depth` layers, or heads do not divide tokens.
    """

    def __init__(
        self,
        stems: Sequence[str],
        num_channels: int = 2,
        sample_rate: int = 44100,
        bottom_channels: int = 512,
        transformer_layers: int = 5,
        transformer_heads: int = 8,
        transformer_expansion: float = 4.0,
        transformer_dropout: float = 0.0,
        cross_first: bool = False,
        depth: int = 4,
        dconv_mode: int = 3,
        dconv_compression: int = 8,
        chunk_seconds: float = 7.8,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        check_integer("bottom_channels", bottom_channels, 0)
        check_integer("transformer_layers", transformer_layers, 1)
        check_integer("transformer_heads", transformer_heads, 1)
        transformer = CrossTransformer(
            bottom_channels,
            transformer_layers,
            transformer_heads,
            transformer_expansion,
            transformer_dropout,
            cross_first,
            dtype=dtype,
            name="transformer",
        )
        super().__init__(
            stems,
            num_channels,
            sample_rate,
            depth=depth,
            dconv_mode=dconv_mode,
            dconv_compression=dconv_compression,
            chunk_seconds=chunk_seconds,
            max_samples=check_chunk(chunk_seconds, sample_rate, 2),
            middle=transformer,
            dtype=dtype,
            **kwargs,
        )
        # === Config ===
        self.transformer_sizes = {
            "bottom_channels": bottom_channels,
            "transformer_layers": transformer_layers,
            "transformer_heads": transformer_heads,
            "transformer_expansion": transformer_expansion,
            "transformer_dropout": transformer_dropout,
            "cross_first": cross_first,
        }

    def core_model(self) -> keras.Model:
        """`ValueError`: the engines' formats have no form of it yet."""
        raise ValueError(
            "HTDemucs has no core that can be exported: its transformer has "
            "no form in ONNX here; engine must be keras"
        )

    def get_config(self) -> Config:
        return {**super().get_config(), **self.transformer_sizes}
