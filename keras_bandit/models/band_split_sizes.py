"""Parameters and multiply-adds of band-split models, in closed form.

The products of the layers are counted, as BandIt's Table 1 does ("GFlops"
there are multiply-adds); the authors' counter adds gates, normalization and
biases, about 1 % more.
"""

from keras_bandit.bands import band_layout
from keras_bandit.models.preset import Sizes

GATES = {"gru": 3, "lstm": 4}


def encoder_sizes(widths, embed_dim, rnn_dim, rnn_type, num_pairs):
    """An encoder's parameters, and multiply-adds for a frame of one item.

    `widths` are `channels * bins` of each band.
    """
    values = 2 * sum(widths)
    split = values * embed_dim
    recurrent = 2 * GATES[rnn_type] * rnn_dim * (embed_dim + rnn_dim)
    projection = 2 * rnn_dim * embed_dim
    biases = 4 * GATES[rnn_type] * rnn_dim + embed_dim
    block = recurrent + projection + biases + 2 * embed_dim
    return (
        split + 2 * values + len(widths) * embed_dim + 2 * num_pairs * block,
        split + 2 * num_pairs * len(widths) * (recurrent + projection),
    )


def decoder_sizes(widths, embed_dim, mlp_dim):
    """The same of one stem's decoder."""
    hidden = len(widths) * embed_dim * mlp_dim
    output = 4 * sum(widths) * mlp_dim
    biases = len(widths) * (2 * embed_dim + mlp_dim) + 4 * sum(widths)
    return hidden + output + biases, hidden + output


def band_split_sizes(encoders, backbone, separator, seconds):
    """`Sizes` of a separator for an input of some seconds.

    `encoders` are `(band layout, number of decoders behind it)`; `backbone`
    and `separator` the arguments of both.
    """
    n_fft, sample_rate = backbone["n_fft"], backbone["sample_rate"]
    embed_dim, mlp_dim = backbone["embed_dim"], separator["mlp_dim"]
    network = ("embed_dim", "rnn_dim", "rnn_type", "num_pairs")
    network = [backbone[key] for key in network]
    # BandIt takes channels as items.
    channels = backbone.get("num_channels", 1)
    parameters = multiply_adds = 0
    numbers = []
    for layout, decoders in encoders:
        bands = band_layout(layout, backbone["num_bands"], n_fft, sample_rate)
        widths = [channels * band.width for band in bands]
        encoder = encoder_sizes(widths, *network)
        decoder = decoder_sizes(widths, embed_dim, mlp_dim)
        parameters += encoder[0] + decoders * decoder[0]
        multiply_adds += encoder[1] + decoders * decoder[1]
        numbers.append(len(bands))
    frames = 1 + int(seconds * sample_rate) // separator["hop_length"]
    return Sizes(parameters, frames * multiply_adds, numbers)
