"""BSRNN: an encoder and a decoder per stem.

Luo & Yu 2023, "Music Source Separation with Band-split RNN",
arXiv:2209.15174, Sec. II.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import keras_hub

from keras_bandit.bands import band_layout as make_bands
from keras_bandit.common.checks import check_stem_names
from keras_bandit.layers import BandSplit
from keras_bandit.models.band_split_arguments import (
    PAIR_LAYERS,
    backbone_config,
    check_sizes,
    describe_bands,
)
from keras_bandit.models.bandit.bandit_audio_separator import (
    StopsGradientWhenFrozen,
    stem_decoder,
)
from keras_bandit.models.mask_separator import MaskSeparator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Self

    from keras_bandit.common.types import Config


class StemEncoder(StopsGradientWhenFrozen, keras.Model):
    """One stem's encoder, spectrogram to features."""


@keras.saving.register_keras_serializable(package="keras_bandit")
class BSRNNBackbone(StopsGradientWhenFrozen, keras_hub.models.Backbone):
    """Encodes a spectrogram by an encoder of its own for each stem.

    Band split and residual recurrent pairs (Luo & Yu 2023, arXiv:2209.15174,
    Sec. II), with the band layouts chosen per stem. Channels are kept: the
    bands hold the bins of all of them.

    Example:

    ```python
    backbone = keras_bandit.BSRNNBackbone(
        ["bass"], "bass", embed_dim=8, rnn_dim=8, num_pairs=1
    )
    spectrogram = np.zeros((1, 1, 10, 1025, 2), "float32")
    backbone(spectrogram)["bass"].shape  # (1, 30, 10, 8)
    ```

    Args:
        stems: list of str.
        band_layout: name of a layout or list of bands for all stems, or
            `{stem: layout}`; see `keras_bandit.bands.band_layout`.
        num_channels: int. Channels of the spectrogram.
        encoders: `{stem: keras.Model}` to share, or `None`. Stems without one
            get a new encoder with initial weights.
        num_bands, n_fft, sample_rate, embed_dim: as of `BanditBackbone`.
        rnn_dim, num_pairs, rnn_type, dtype: as there; BSRNN has `"lstm"`.

    Call arguments:
        spectrogram: `(batch, num_channels, frames, bins, 2)` float32.

    Returns:
        `{stem: (batch, bands, frames, embed_dim)}`.

    Raises:
        ValueError: for a size below 1, an unknown layout or `rnn_type`, or a
            stem without layout.
    """

    def __init__(
        self,
        stems: Sequence[str],
        band_layout: str = "vocals_v7",
        num_bands: int | None = None,
        num_channels: int = 1,
        n_fft: int = 2048,
        sample_rate: int = 44100,
        embed_dim: int = 128,
        rnn_dim: int = 256,
        num_pairs: int = 12,
        rnn_type: str = "lstm",
        encoders: Mapping[str, keras.Model] | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        check_sizes(
            rnn_type,
            num_channels=num_channels,
            embed_dim=embed_dim,
            rnn_dim=rnn_dim,
            num_pairs=num_pairs,
        )
        layouts = band_layout
        if not isinstance(band_layout, dict):
            layouts = dict.fromkeys(stems, band_layout)
        if set(layouts) != set(stems):
            raise ValueError(
                f"band_layout must name the stems {list(stems)}; got "
                f"{list(layouts)}"
            )
        bands = {
            stem: make_bands(layouts[stem], num_bands, n_fft, sample_rate)
            for stem in stems
        }
        shape = (num_channels, None, n_fft // 2 + 1, 2)

        def stem_encoder(stem):
            # === Layers ===
            band_split = BandSplit(
                bands[stem], embed_dim, dtype=dtype, name="band_split"
            )
            pairs = [
                PAIR_LAYERS[rnn_type](rnn_dim, dtype=dtype, name=f"pair_{i}")
                for i in range(num_pairs)
            ]
            # === Functional model ===
            spectrogram = keras.Input(shape, name="spectrogram")
            # Paths of their own for the variables; see `stem_decoder`.
            with keras.name_scope(f"{stem}_encoder"):
                x = band_split(spectrogram)  # (batch, bands, frames, embed_dim)
                for pair in pairs:
                    x = pair(x)
            return StemEncoder(spectrogram, x, name=f"{stem}_encoder")

        # === Layers ===
        encoders = {
            stem: (encoders or {}).get(stem) or stem_encoder(stem)
            for stem in stems
        }
        # === Functional model ===
        spectrogram = keras.Input(shape, name="spectrogram")
        features = {stem: encoders[stem](spectrogram) for stem in stems}
        super().__init__(
            inputs=spectrogram, outputs=features, dtype=dtype, **kwargs
        )
        # === Config ===
        self.encoders = encoders
        self.layouts = layouts
        self.bands = bands
        self.stems = list(stems)
        self.band_layout = band_layout
        self.num_bands = num_bands
        self.num_channels = num_channels
        self.n_fft = n_fft
        self.sample_rate = sample_rate
        self.embed_dim = embed_dim
        self.rnn_dim = rnn_dim
        self.num_pairs = num_pairs
        self.rnn_type = rnn_type

    def with_stems(self, stems: Sequence[str]) -> Self:
        """A backbone with the encoders of these stems, shared with this one.

        Frozen if this one is. `ValueError` if a stem has no encoder here.
        """
        for stem in stems:
            self.check_has(stem)
        layouts = {stem: self.layouts[stem] for stem in stems}
        return self._like(layouts, self.encoders)

    def _like(self, layouts, encoders):
        """A backbone with other stems that shares the encoders given.

        Frozen if this one is: made trainable, it would thaw them.
        """
        config = self.get_config() | {
            "stems": list(layouts),
            "band_layout": layouts,
            "encoders": encoders,
        }
        del config["name"]
        return type(self).from_config(config)

    def check_has(self, stem: str) -> None:
        """Raises `ValueError` if a stem has no encoder here."""
        if stem not in self.bands:
            raise ValueError(
                f"BSRNN has one encoder per stem, for {self.stems}; got "
                f"{stem!r}. Make a backbone with that stem."
            )

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            **backbone_config(self),
            "stems": self.stems,
            "num_channels": self.num_channels,
        }


@keras.saving.register_keras_serializable(package="keras_bandit")
class BSRNNAudioSeparator(MaskSeparator):
    """BSRNN: a model of its own for each stem, joined in one separator.

    The input has exactly `backbone.num_channels` channels, and only stems of
    the backbone can have decoders.

    Example:

    ```python
    backbone = keras_bandit.BSRNNBackbone(
        ["vocals", "bass"],
        {"vocals": "vocals_v7", "bass": "bass"},
        num_channels=2,
        embed_dim=8,
        rnn_dim=8,
        num_pairs=1,
    )
    separator = keras_bandit.BSRNNAudioSeparator(
        backbone, ["vocals", "bass"], mlp_dim=16
    )
    mixture = np.zeros((1, 2, 44100), "float32")  # (batch, channels, samples)
    separator(mixture)["bass"].shape  # (1, 2, 44100)
    ```

    Args:
        backbone: `BSRNNBackbone`.
        stems: list of str. Names of the outputs, of the backbone's.
        hop_length, pad_mode, mlp_dim, decoders, **kwargs: as of
            `BanditAudioSeparator`.

    Call arguments, returned values: as `AudioSeparator`.

    Raises:
        ValueError: as `BanditAudioSeparator`, and for a stem without encoder.
    """

    backbone_cls = BSRNNBackbone

    def __init__(
        self,
        backbone: BSRNNBackbone,
        stems: Sequence[str],
        hop_length: int = 512,
        pad_mode: str = "constant",
        mlp_dim: int = 512,
        decoders: Mapping[str, keras.Model] | None = None,
        **kwargs: Any,
    ) -> None:
        check_stem_names(stems)
        # === Layers ===
        for stem in stems:
            backbone.check_has(stem)
        channels = backbone.num_channels
        decoders = {
            stem: (decoders or {}).get(stem)
            or stem_decoder(
                stem, backbone.bands[stem], backbone, mlp_dim, channels
            )
            for stem in stems
        }
        # === Functional model ===
        shape = (channels, None, backbone.n_fft // 2 + 1, 2)
        spectrogram = keras.Input(shape, name="spectrogram")
        # Only the encoders of these stems, (batch, bands, frames, embed_dim).
        features = {s: backbone.encoders[s](spectrogram) for s in stems}
        masks = {s: decoders[s](features[s]) for s in stems}
        super().__init__(
            spectrogram,
            masks,
            decoders=decoders,
            hop_length=hop_length,
            pad_mode=pad_mode,
            sample_rate=backbone.sample_rate,
            backbone=backbone,
            **kwargs,
        )
        # === Config ===
        self.mlp_dim = mlp_dim

    def describe(self) -> dict[str, str]:
        layouts, bands = self.backbone.layouts, self.backbone.bands
        lines = {s: describe_bands(layouts[s], bands[s]) for s in self.stems}
        text = ", ".join(f"{stem}: {line}" for stem, line in lines.items())
        if len(set(lines.values())) == 1:
            text = lines[self.stems[0]]
        return {**super().describe(), "bands": text}

    def get_config(self) -> Config:
        return {**super().get_config(), "mlp_dim": self.mlp_dim}

    def with_stems(self, stems: Sequence[str]) -> Self:
        check_stem_names(stems)
        self.check_has(stems)
        # Encoders of other stems would be weights that nothing uses.
        return self._like(
            {stem: self.decoders[stem] for stem in stems},
            backbone=self.backbone.with_stems(stems),
        )

    @classmethod
    def join(cls, separators: Sequence[BSRNNAudioSeparator]) -> Self:
        """One separator of several that were trained for a stem each.

        Args:
            separators: list of `BSRNNAudioSeparator`, alike but for stems and
                bands. Encoders and decoders are shared with them.

        Returns:
            `BSRNNAudioSeparator` with all of their stems. Its `metadata` are
            `{"stems": {stem: metadata}}`, of those that had any.

        Raises:
            ValueError: if there is none, or if two have a stem in common or
                differ otherwise.
        """
        if not separators:
            raise ValueError(
                f"separators must be a list of one or more; got {separators!r}"
            )
        own = ("name", "stems", "band_layout")
        alike = ("hop_length", "pad_mode")
        alike += ("normalize_recording", "standardize_spectrogram")
        first, *others = (
            {k: v for k, v in s.backbone.get_config().items() if k not in own}
            | {name: getattr(s, name) for name in alike}
            for s in separators
        )
        for other in others:
            differing = [k for k in first if first[k] != other[k]]
            if differing:
                raise ValueError(
                    f"what is joined must have the same {differing}; got "
                    f"{[first[k] for k in differing]} and "
                    f"{[other[k] for k in differing]}"
                )
        stems = [stem for separator in separators for stem in separator.stems]
        if len(set(stems)) < len(stems):
            raise ValueError(
                f"what is joined must have stems of its own; got {stems}"
            )
        layouts, encoders, decoders = {}, {}, {}
        for separator in separators:
            layouts |= separator.backbone.layouts
            encoders |= separator.backbone.encoders
            decoders |= separator.decoders
        backbone = separators[0].backbone._like(layouts, encoders)
        joined = separators[0]._like(decoders, backbone=backbone)
        origins = {
            stem: dict(separator.metadata)
            for separator in separators
            for stem in separator.stems
            if separator.metadata
        }
        joined.metadata = {"stems": origins} if origins else {}
        return joined
