"""Parameters and multiply-adds of band-split models, in closed form.

The products of the layers are counted, as BandIt's Table 1 does ("GFlops"
there are multiply-adds); the authors' counter adds gates, normalization and
biases, about 1 % more.
"""

from keras_bandit.bands import band_layout
from keras_bandit.models.preset import Sizes

GATES = {"gru": 3, "lstm": 4}


def encoder_parameters(widths, embed_dim, rnn_dim, rnn_type, num_pairs):
    """Parameters of band split and residual pairs.

    Args:
        widths: list of int, `channels * bins` of each band.
        embed_dim: int.
        rnn_dim: int.
        rnn_type: `"gru"` or `"lstm"`.
        num_pairs: int.

    Returns:
        int.
    """
    values = 2 * sum(widths)
    split = 2 * values + values * embed_dim + len(widths) * embed_dim
    recurrent = 2 * GATES[rnn_type] * rnn_dim * (embed_dim + rnn_dim + 2)
    projection = (2 * rnn_dim + 1) * embed_dim
    return split + 2 * num_pairs * (2 * embed_dim + recurrent + projection)


def decoder_parameters(widths, embed_dim, mlp_dim):
    """Parameters of one stem's decoder; arguments as in the encoder's."""
    hidden = len(widths) * (2 * embed_dim + (embed_dim + 1) * mlp_dim)
    return hidden + 4 * sum(widths) * (mlp_dim + 1)


def encoder_multiply_adds(widths, embed_dim, rnn_dim, rnn_type, num_pairs):
    """Multiply-adds of the encoder for one frame of one item, int."""
    split = 2 * sum(widths) * embed_dim
    recurrent = 2 * GATES[rnn_type] * rnn_dim * (embed_dim + rnn_dim)
    projection = 2 * rnn_dim * embed_dim
    return split + 2 * num_pairs * len(widths) * (recurrent + projection)


def decoder_multiply_adds(widths, embed_dim, mlp_dim):
    """Multiply-adds of one decoder for one frame of one item, int."""
    return len(widths) * embed_dim * mlp_dim + 4 * sum(widths) * mlp_dim


def band_split_sizes(encoders, backbone, separator, seconds):
    """Sizes of a separator.

    Args:
        encoders: list of `(band layout, number of decoders behind it)`.
        backbone: dict, arguments of the backbone.
        separator: dict, arguments of the separator.
        seconds: float. Length of the input.

    Returns:
        `Sizes`.
    """
    embed_dim, mlp_dim = backbone["embed_dim"], separator["mlp_dim"]
    shape = [
        backbone[key]
        for key in ("embed_dim", "rnn_dim", "rnn_type", "num_pairs")
    ]
    samples = int(seconds * backbone["sample_rate"])
    frames = 1 + samples // separator["hop_length"]
    parameters = multiply_adds = 0
    numbers = []
    for layout, decoders in encoders:
        bands = band_layout(
            layout,
            backbone["num_bands"],
            backbone["n_fft"],
            backbone["sample_rate"],
        )
        # BandIt takes channels as items.
        channels = backbone.get("num_channels", 1)
        widths = [channels * band.width for band in bands]
        parameters += encoder_parameters(widths, *shape)
        parameters += decoders * decoder_parameters(widths, embed_dim, mlp_dim)
        multiply_adds += frames * (
            encoder_multiply_adds(widths, *shape)
            + decoders * decoder_multiply_adds(widths, embed_dim, mlp_dim)
        )
        numbers.append(len(bands))
    return Sizes(parameters, multiply_adds, numbers)
