"""BandIt: one encoder that all stems share, a decoder per stem.

Watcharasupat et al. 2023, "A Generalized Bandsplit Neural Network for
Cinematic Audio Source Separation", arXiv:2309.02539, Sec. III.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import keras_hub
from keras import ops

from keras_bandit.bands import band_layout as make_bands
from keras_bandit.common.checks import check_stem_names
from keras_bandit.layers import BandSplit, MaskDecoder, OverlapRecombine
from keras_bandit.models.band_split_arguments import (
    PAIR_LAYERS,
    backbone_config,
    check_sizes,
    describe_bands,
)
from keras_bandit.models.bandit.bandit_layers import (
    FoldChannels,
    UnfoldChannels,
)
from keras_bandit.models.mask_separator import MaskSeparator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from keras_bandit.common.types import Config, Tensor


class StopsGradientWhenFrozen:
    """Mixin for a functional model: frozen, it is a constant to the loss.

    Without it TensorFlow would still walk back through a frozen encoder.
    """

    def __init__(
        self, *args: Any, trainable: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        # Given to Keras's constructor it would reach no layer: they are
        # attached only after it is set (Keras 3.15).
        self.trainable = trainable

    def call(
        self, inputs: Tensor, training: bool | None = None, mask: Any = None
    ) -> Tensor:
        outputs = super().call(inputs, training=training, mask=mask)
        if self.trainable:
            return outputs
        return keras.tree.map_structure(ops.stop_gradient, outputs)


@keras.saving.register_keras_serializable(package="keras_bandit")
class BanditBackbone(StopsGradientWhenFrozen, keras_hub.models.Backbone):
    """Encodes a spectrogram into features that every decoder shares.

    Band split and a stack of residual recurrent pairs (BandIt, Sec. III-A to
    III-D). Channels are independent: they fold into the batch.

    Example:

    ```python
    backbone = keras_bandit.BanditBackbone(
        "musical", num_bands=12, embed_dim=8, rnn_dim=8, num_pairs=1
    )
    backbone(np.zeros((1, 2, 10, 1025, 2), "float32")).shape  # (2, 12, 10, 8)
    ```

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

    def __init__(
        self,
        band_layout: str = "musical",
        num_bands: int = 64,
        n_fft: int = 2048,
        sample_rate: int = 44100,
        embed_dim: int = 128,
        rnn_dim: int = 256,
        num_pairs: int = 8,
        rnn_type: str = "gru",
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        check_sizes(
            rnn_type, embed_dim=embed_dim, rnn_dim=rnn_dim, num_pairs=num_pairs
        )
        bands = make_bands(band_layout, num_bands, n_fft, sample_rate)
        num_bins = n_fft // 2 + 1
        # === Layers ===
        fold_channels = FoldChannels(name="fold_channels")
        band_split = BandSplit(bands, embed_dim, dtype=dtype, name="band_split")
        pairs = [
            PAIR_LAYERS[rnn_type](rnn_dim, dtype=dtype, name=f"pair_{i}")
            for i in range(num_pairs)
        ]
        # === Functional model ===
        spectrogram = keras.Input((None, None, num_bins, 2), name="spectrogram")
        x = fold_channels(spectrogram)  # (items, 1, frames, bins, 2)
        x = band_split(x)  # (items, bands, frames, embed_dim)
        for pair in pairs:
            x = pair(x)
        super().__init__(inputs=spectrogram, outputs=x, dtype=dtype, **kwargs)
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

    def get_config(self) -> Config:
        return {**super().get_config(), **backbone_config(self)}


def stem_decoder(stem, bands, backbone, mlp_dim, num_channels=1):
    """One stem's decoder with initial weights (BandIt, Sec. III-E).

    `(items, bands, frames, embed_dim)`, the features of a `BanditBackbone` or
    `BSRNNBackbone`, to a mask `(items, num_channels, frames, bins, 2)`.
    """
    # === Layers ===
    # Their names are the same for every stem, so that weights saved for one
    # can be loaded for another.
    mask_decoder = MaskDecoder(
        bands,
        mlp_dim,
        num_channels,
        dtype=backbone.dtype_policy,
        name="mask_decoder",
    )
    num_bins = backbone.n_fft // 2 + 1
    recombine = OverlapRecombine(
        bands, num_bins, num_channels, name="overlap_recombine"
    )
    # === Functional model ===
    shape = (len(bands), None, backbone.embed_dim)
    features = keras.Input(shape, name="features")
    # Variables need paths of their own: the torch backend finds them by path,
    # and would zero the gradients of one stem only.
    with keras.name_scope(f"{stem}_decoder"):
        masks = mask_decoder(features)  # (items, frames, values of all bands)
    mask = recombine(masks)  # (items, num_channels, frames, bins, 2)
    return keras.Model(features, mask, name=f"{stem}_decoder")


@keras.saving.register_keras_serializable(package="keras_bandit")
class BanditAudioSeparator(MaskSeparator):
    """BandIt: one encoder that all stems share, a decoder per stem.

    Channels are independent: stereo is separated as two mono signals. New
    decoders can be trained on a frozen encoder (Sec. III-A).

    Example:

    ```python
    backbone = keras_bandit.BanditBackbone(
        "musical", num_bands=12, embed_dim=8, rnn_dim=8, num_pairs=1
    )
    separator = keras_bandit.BanditAudioSeparator(
        backbone, ["speech", "music"], mlp_dim=16
    )
    mixture = np.zeros((1, 2, 44100), "float32")  # (batch, channels, samples)
    separator(mixture)["speech"].shape  # (1, 2, 44100)
    separator = separator.add_decoder("effects")
    ```

    Args:
        backbone: `BanditBackbone`.
        stems: list of str. Names of the outputs.
        hop_length: int. Samples between frames of the STFT.
        pad_mode: `"constant"` (BandIt) or `"reflect"` (BandIt v2); see `STFT`.
        mlp_dim: int. Units of the hidden layer of decoders made here.
        decoders: `{stem: keras.Model}` to share, or `None`. Stems without
            one get a new decoder with initial weights.
        **kwargs: `chunk_seconds`, `preprocessor`, `name`: of
            `AudioSeparator`; `normalize_recording`,
            `standardize_spectrogram`: of `MaskSeparator`.

    Call arguments, returned values: as `AudioSeparator`.

    Raises:
        ValueError: if stems are not distinct names, or `hop_length`,
            `pad_mode` or `mlp_dim` are not as `STFT` and decoders take them.
    """

    backbone_cls = BanditBackbone

    def __init__(
        self,
        backbone: BanditBackbone,
        stems: Sequence[str],
        hop_length: int = 512,
        pad_mode: str = "constant",
        mlp_dim: int = 512,
        decoders: Mapping[str, keras.Model] | None = None,
        **kwargs: Any,
    ) -> None:
        check_stem_names(stems)
        # === Layers ===
        decoders = {
            stem: (decoders or {}).get(stem)
            or stem_decoder(stem, backbone.bands, backbone, mlp_dim)
            for stem in stems
        }
        unfold_channels = UnfoldChannels(name="unfold_channels")
        # === Functional model ===
        shape = (None, None, backbone.n_fft // 2 + 1, 2)
        spectrogram = keras.Input(shape, name="spectrogram")
        features = backbone(spectrogram)  # (items, bands, frames, embed_dim)
        masks = {
            stem: unfold_channels(decoder(features), spectrogram)
            for stem, decoder in decoders.items()
        }
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
        bands = describe_bands(self.backbone.band_layout, self.backbone.bands)
        return {**super().describe(), "bands": bands}

    def get_config(self) -> Config:
        return {**super().get_config(), "mlp_dim": self.mlp_dim}
