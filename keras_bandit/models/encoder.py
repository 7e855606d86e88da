"""The layers from spectrogram to features that BandIt and BSRNN share."""

from keras_bandit.bands import as_bands
from keras_bandit.common.checks import check_integer
from keras_bandit.layers import BandSplit, ResidualGRUPair, ResidualLSTMPair

PAIR_LAYERS = {"gru": ResidualGRUPair, "lstm": ResidualLSTMPair}


def check_sizes(rnn_type, **sizes):
    """Raises `ValueError` for a size below 1 or an unknown `rnn_type`."""
    for name, size in sizes.items():
        check_integer(name, size, 1)
    if rnn_type not in PAIR_LAYERS:
        raise ValueError(
            f"rnn_type must be one of {tuple(PAIR_LAYERS)}; got {rnn_type!r}"
        )


def layout_config(band_layout):
    """A layout's name, or the user's own bands as lists, for `get_config`."""
    if isinstance(band_layout, str):
        return band_layout
    return [band.to_list() for band in as_bands(band_layout)]


def encode(
    spectrogram,
    bands,
    embed_dim,
    rnn_dim,
    num_pairs,
    rnn_type,
    dtype,
):
    """Band split, then a stack of residual pairs.

    Args:
        spectrogram: `KerasTensor` `(batch, channels, frames, bins, 2)`.
        bands: list of `Band`.
        embed_dim: int.
        rnn_dim: int.
        num_pairs: int.
        rnn_type: `"gru"` or `"lstm"`.
        dtype: dtype policy of the layers, or `None`.

    Returns:
        `KerasTensor` `(batch, bands, frames, embed_dim)`.
    """
    x = BandSplit(bands, embed_dim, dtype=dtype, name="band_split")(spectrogram)
    pair = PAIR_LAYERS[rnn_type]
    for i in range(num_pairs):
        x = pair(rnn_dim, dtype=dtype, name=f"pair_{i}")(x)
    return x
