"""Arguments that the band-split models have in common."""

from keras_bandit.bands import as_bands
from keras_bandit.common.checks import check_choice, check_integer
from keras_bandit.layers import ResidualGRUPair, ResidualLSTMPair

PAIR_LAYERS = {"gru": ResidualGRUPair, "lstm": ResidualLSTMPair}


def check_sizes(rnn_type, **sizes):
    """Raises `ValueError` for a size below 1 or an unknown `rnn_type`."""
    for name, size in sizes.items():
        check_integer(name, size, 1)
    check_choice("rnn_type", rnn_type, PAIR_LAYERS)


def describe_bands(band_layout, bands):
    """Number and layout of bands, such as "64 musical"."""
    name = band_layout if isinstance(band_layout, str) else "own"
    return f"{len(bands)} {name}"


def backbone_config(backbone):
    """What the configurations of both backbones have in common."""

    def plain(layout):
        if isinstance(layout, str):
            return layout
        if isinstance(layout, dict):
            return {stem: plain(value) for stem, value in layout.items()}
        return [band.to_list() for band in as_bands(layout)]

    return {
        "band_layout": plain(backbone.band_layout),
        "num_bands": backbone.num_bands,
        "n_fft": backbone.n_fft,
        "sample_rate": backbone.sample_rate,
        "embed_dim": backbone.embed_dim,
        "rnn_dim": backbone.rnn_dim,
        "num_pairs": backbone.num_pairs,
        "rnn_type": backbone.rnn_type,
    }
