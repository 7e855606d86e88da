"""BandIt's encoder, shared by all stems."""

import keras
import keras_hub
from keras import ops

from keras_bandit.bands import band_layout as make_bands
from keras_bandit.models.encoder import check_sizes, encode, layout_config
from keras_bandit.models.freezing import StopsGradientWhenFrozen


@keras.saving.register_keras_serializable(package="keras_bandit")
class FoldChannels(keras.layers.Layer):
    """Makes every channel an item of its own.

    Call arguments:
        spectrogram: `(batch, channels, frames, bins, 2)`.

    Returns:
        `(batch * channels, 1, frames, bins, 2)`.
    """

    def __init__(self, **kwargs):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)

    def call(self, spectrogram):
        return ops.reshape(spectrogram, (-1, 1, *ops.shape(spectrogram)[2:]))

    def compute_output_shape(self, spectrogram_shape):
        batch, channels = spectrogram_shape[:2]
        known = batch is not None and channels is not None
        items = batch * channels if known else None
        return (items, 1, *spectrogram_shape[2:])


@keras.saving.register_keras_serializable(package="keras_bandit")
class BanditBackbone(StopsGradientWhenFrozen, keras_hub.models.Backbone):
    """Encodes a spectrogram into features that every decoder shares.

    Band split and a stack of residual recurrent pairs (BandIt,
    arXiv:2309.02539, Sec. III-A to III-D). Channels are independent: they fold into the batch.

    Args:
        band_layout: name of a layout, or a list of bands; see
            `keras_bandit.bands.band_layout`.
        num_bands: int, or `None` where the layout has a fixed number.
        n_fft: int. Frame length in samples; the spectrogram has
            `n_fft // 2 + 1` bins.
        sample_rate: int. Hz.
        embed_dim: int. Size of each band's embedding.
        rnn_dim: int. Units of each direction of a recurrent layer.
        num_pairs: int. Residual pairs, each over frames and over bands.
        rnn_type: `"gru"` (BandIt) or `"lstm"`.
        dtype: dtype policy or `None`. Spectra stay float32.

    Call arguments:
        spectrogram: `(batch, channels, frames, bins, 2)` float32.

    Returns:
        `(batch * channels, bands, frames, embed_dim)`. While `trainable` is
        `False` no gradient passes.

    Raises:
        ValueError: for a size below 1, an unknown layout or `rnn_type`.
    """

    num_channels = None

    def __init__(
        self,
        band_layout="musical",
        num_bands=64,
        n_fft=2048,
        sample_rate=44100,
        embed_dim=128,
        rnn_dim=256,
        num_pairs=8,
        rnn_type="gru",
        dtype=None,
        **kwargs,
    ):
        check_sizes(
            rnn_type, embed_dim=embed_dim, rnn_dim=rnn_dim, num_pairs=num_pairs
        )
        bands = make_bands(band_layout, num_bands, n_fft, sample_rate)
        # === Functional model ===
        spectrogram = keras.Input(
            (None, None, n_fft // 2 + 1, 2), name="spectrogram"
        )
        features = encode(
            FoldChannels(name="fold_channels")(spectrogram),
            bands,
            embed_dim,
            rnn_dim,
            num_pairs,
            rnn_type,
            dtype,
        )
        super().__init__(
            inputs=spectrogram, outputs=features, dtype=dtype, **kwargs
        )
        # === Config ===
        self.bands = bands
        self.band_layout = band_layout
        self.num_bands = num_bands
        self.n_fft = n_fft
        self.sample_rate = sample_rate
        self.embed_dim = embed_dim
        self.rnn_dim = rnn_dim
        self.num_pairs = num_pairs
        self.rnn_type = rnn_type

    def decoder_bands(self, stem):
        """Bands of every stem's decoder: the encoder's."""
        return self.bands

    def encode(self, spectrogram, stems):
        """Features for each stem, `{stem: KerasTensor}`: the same for all."""
        features = self(spectrogram)
        return dict.fromkeys(stems, features)

    def get_config(self):
        return {
            **super().get_config(),
            "band_layout": layout_config(self.band_layout),
            "num_bands": self.num_bands,
            "n_fft": self.n_fft,
            "sample_rate": self.sample_rate,
            "embed_dim": self.embed_dim,
            "rnn_dim": self.rnn_dim,
            "num_pairs": self.num_pairs,
            "rnn_type": self.rnn_type,
        }
