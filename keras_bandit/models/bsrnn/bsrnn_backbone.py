"""BSRNN's encoders, one for each stem."""

import keras
import keras_hub

from keras_bandit.bands import band_layout as make_bands
from keras_bandit.models.encoder import check_sizes, encode, layout_config
from keras_bandit.models.freezing import StopsGradientWhenFrozen


class Encoder(StopsGradientWhenFrozen, keras.Model):
    """One stem's encoder, spectrogram to features."""


@keras.saving.register_keras_serializable(package="keras_bandit")
class BSRNNBackbone(StopsGradientWhenFrozen, keras_hub.models.Backbone):
    """Encodes a spectrogram by an encoder of its own for each stem.

    Band split and residual recurrent pairs (Luo & Yu 2023, arXiv:2209.15174,
    Sec. II), with the band layouts chosen per stem. Channels are kept: the
    bands hold the bins of all of them.

    Args:
        stems: list of str.
        band_layout: name of a layout or list of bands for all stems, or
            `{stem: layout}`; see `keras_bandit.bands.band_layout`.
        num_bands: int, or `None` where the layout has a fixed number.
        num_channels: int. Channels of the spectrogram.
        n_fft: int. Frame length in samples.
        sample_rate: int. Hz.
        embed_dim: int. Size of each band's embedding.
        rnn_dim: int. Units of each direction of a recurrent layer.
        num_pairs: int. Residual pairs, each over frames and over bands.
        rnn_type: `"lstm"` or `"gru"`.
        encoders: `{stem: keras.Model}` to share, or `None`. Stems without one
            get a new encoder with initial weights.
        dtype: dtype policy or `None`. Spectra stay float32.

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
        stems,
        band_layout="vocals_v7",
        num_bands=None,
        num_channels=1,
        n_fft=2048,
        sample_rate=44100,
        embed_dim=128,
        rnn_dim=256,
        num_pairs=12,
        rnn_type="lstm",
        encoders=None,
        dtype=None,
        **kwargs,
    ):
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
        # === Functional model ===
        shape = (num_channels, None, n_fft // 2 + 1, 2)
        encoders = {s: e for s, e in (encoders or {}).items() if s in stems}
        for stem in stems:
            if stem in encoders:
                continue
            inputs = keras.Input(shape, name="spectrogram")
            # Paths of their own for the variables; see `build_decoder`.
            with keras.name_scope(f"{stem}_encoder"):
                features = encode(
                    inputs,
                    bands[stem],
                    embed_dim,
                    rnn_dim,
                    num_pairs,
                    rnn_type,
                    dtype,
                )
            encoders[stem] = Encoder(inputs, features, name=f"{stem}_encoder")
        spectrogram = keras.Input(shape, name="spectrogram")
        features = {s: encoders[s](spectrogram) for s in stems}
        super().__init__(
            inputs=spectrogram, outputs=features, dtype=dtype, **kwargs
        )
        # === Config ===
        self.encoders = encoders
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

    def with_stems(self, stems):
        """A backbone with the encoders of these stems, shared with this one.

        Args:
            stems: list of str.

        Returns:
            `BSRNNBackbone`, frozen if this one is.

        Raises:
            ValueError: if a stem has no encoder here.
        """
        for stem in stems:
            self._check_has(stem)
        layouts = self.band_layout
        if isinstance(layouts, dict):
            layouts = {stem: layouts[stem] for stem in stems}
        return self._like(list(stems), layouts, self.encoders)

    @classmethod
    def join(cls, backbones):
        """One backbone with the encoders of several, shared with them.

        Args:
            backbones: list of `BSRNNBackbone`, alike but for stems and bands.

        Returns:
            `BSRNNBackbone`.

        Raises:
            ValueError: if two have a stem in common, or differ otherwise.
        """
        own = ("name", "stems", "band_layout")
        first, *others = (
            {k: v for k, v in backbone.get_config().items() if k not in own}
            for backbone in backbones
        )
        for other in others:
            if other != first:
                differing = [k for k in first if first[k] != other[k]]
                raise ValueError(
                    f"what is joined must have the same {differing}; got "
                    f"{[first[k] for k in differing]} and "
                    f"{[other[k] for k in differing]}"
                )
        stems = [stem for backbone in backbones for stem in backbone.stems]
        if len(set(stems)) < len(stems):
            raise ValueError(
                f"what is joined must have stems of its own; got {stems}"
            )
        layouts, encoders = {}, {}
        for backbone in backbones:
            layout = backbone.band_layout
            if not isinstance(layout, dict):
                layout = dict.fromkeys(backbone.stems, layout)
            layouts |= layout
            encoders |= backbone.encoders
        return backbones[0]._like(stems, layouts, encoders)

    def _like(self, stems, band_layout, encoders):
        """A backbone with other stems, that shares the encoders given."""
        return type(self)(
            stems,
            band_layout=band_layout,
            num_bands=self.num_bands,
            num_channels=self.num_channels,
            n_fft=self.n_fft,
            sample_rate=self.sample_rate,
            embed_dim=self.embed_dim,
            rnn_dim=self.rnn_dim,
            num_pairs=self.num_pairs,
            rnn_type=self.rnn_type,
            encoders=encoders,
            dtype=self.dtype_policy,
            # Made trainable, it would thaw the encoders it shares.
            trainable=self.trainable,
        )

    def decoder_bands(self, stem):
        """Bands of a stem's decoder: those of its encoder."""
        self._check_has(stem)
        return self.bands[stem]

    def encode(self, spectrogram, stems):
        """Features for each stem, `{stem: KerasTensor}`, and no others."""
        for stem in stems:
            self._check_has(stem)
        return {stem: self.encoders[stem](spectrogram) for stem in stems}

    def _check_has(self, stem):
        if stem not in self.bands:
            raise ValueError(
                f"BSRNN has one encoder per stem, for {self.stems}; got "
                f"{stem!r}. Make a backbone with that stem."
            )

    def get_config(self):
        layouts = self.band_layout
        if isinstance(layouts, dict):
            layouts = {s: layout_config(v) for s, v in layouts.items()}
        else:
            layouts = layout_config(layouts)
        return {
            **super().get_config(),
            "stems": self.stems,
            "band_layout": layouts,
            "num_bands": self.num_bands,
            "num_channels": self.num_channels,
            "n_fft": self.n_fft,
            "sample_rate": self.sample_rate,
            "embed_dim": self.embed_dim,
            "rnn_dim": self.rnn_dim,
            "num_pairs": self.num_pairs,
            "rnn_type": self.rnn_type,
        }
