"""Parameters and multiply-adds of an architecture, in closed form.

The products of the layers are counted, as BandIt's Table 1 does ("GFlops"
there are multiply-adds); the authors' counter adds gates, normalization and
biases, about 1 % more.
"""

from keras_bandit.bands import band_layout

GATES = {"gru": 3, "lstm": 4}


def _widths(layout, network):
    bands = band_layout(
        layout, network["num_bands"], network["n_fft"], network["sample_rate"]
    )
    # BandIt takes channels as items.
    channels = network.get("num_channels", 1)
    return [channels * band.width for band in bands]


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


def preset_sizes(entry, seconds=6.0):
    """Sizes of a built-in architecture.

    Args:
        entry: a value of `keras_bandit.models.presets.PRESETS`.
        seconds: float. Length of the input the multiply-adds are for, one
            item with as many channels as the model takes (BandIt: one).

    Returns:
        dict with `bands` (list of int, one for each encoder), `parameters`
        and `multiply_adds`.
    """
    network, separator = entry["backbone"], entry["separator"]
    mlp_dim = separator["mlp_dim"]
    stems = separator["stems"]
    shape = [
        network[key]
        for key in ("embed_dim", "rnn_dim", "rnn_type", "num_pairs")
    ]
    layout = network["band_layout"]
    if entry["class"] == "BSRNNAudioSeparator":
        layouts = (
            layout if isinstance(layout, dict) else dict.fromkeys(stems, layout)
        )
        encoders = [(_widths(layouts[stem], network), 1) for stem in stems]
    else:
        encoders = [(_widths(layout, network), len(stems))]
    samples = int(seconds * network["sample_rate"])
    frames = 1 + samples // separator["hop_length"]
    parameters = multiply_adds = 0
    for widths, decoders in encoders:
        decoder = (widths, network["embed_dim"], mlp_dim)
        parameters += encoder_parameters(widths, *shape)
        parameters += decoders * decoder_parameters(*decoder)
        multiply_adds += frames * (
            encoder_multiply_adds(widths, *shape)
            + decoders * decoder_multiply_adds(*decoder)
        )
    return {
        "bands": [len(widths) for widths, _ in encoders],
        "parameters": parameters,
        "multiply_adds": multiply_adds,
    }
