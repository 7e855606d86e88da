"""From PyTorch tensors to the flat variables of our layers.

ours                      PyTorch, per band, block or direction
gamma, beta               LayerNorm weight, bias
kernel                    Linear weight, transposed
recurrent (2, in, gates)  weight_ih and weight_hh, transposed; the gate
                          order is PyTorch's
"""

import numpy as np

DIRECTIONS = ("", "_reverse")


def band_split_weights(model, num_bands):
    """Variables of `BandSplit`, `{name: array}`."""
    prefix = "band_split.norm_fc_modules"

    def each(name):
        return [model[f"{prefix}.{band}.{name}"] for band in range(num_bands)]

    return {
        "gamma": np.concatenate(each("norm.weight")),
        "beta": np.concatenate(each("norm.bias")),
        "kernel": np.concatenate([w.T for w in each("fc.weight")]),
        "bias": np.stack(each("fc.bias")),
    }


def block_weights(model, block):
    """Variables of one residual block, `{sublayer: {name: array}}`."""
    prefix = f"tf_model.seqband.{block}"

    def both(name, transpose=False):
        arrays = [model[f"{prefix}.rnn.{name}_l0{end}"] for end in DIRECTIONS]
        return np.stack([a.T if transpose else a for a in arrays])

    return {
        "norm": {
            "gamma": model[f"{prefix}.norm.weight"],
            "beta": model[f"{prefix}.norm.bias"],
        },
        "recurrent": {
            "kernel": both("weight_ih", transpose=True),
            "recurrent_kernel": both("weight_hh", transpose=True),
            "bias": both("bias_ih"),
            "recurrent_bias": both("bias_hh"),
        },
        "projection": {
            "kernel": model[f"{prefix}.fc.weight"].T,
            "bias": model[f"{prefix}.fc.bias"],
        },
    }


def mask_decoder_weights(model, stem, num_bands):
    """Variables of `MaskDecoder`, `{name: array}`."""
    prefix = f"mask_estim.{stem}.norm_mlp"

    def each(name):
        return [model[f"{prefix}.{band}.{name}"] for band in range(num_bands)]

    return {
        "gamma": np.stack(each("norm.weight")),
        "beta": np.stack(each("norm.bias")),
        "hidden_kernel": np.stack([w.T for w in each("hidden.0.weight")]),
        "hidden_bias": np.stack(each("hidden.0.bias")),
        "output_kernel": np.concatenate(each("output.0.weight")),
        "output_bias": np.concatenate(each("output.0.bias")),
    }


def assign(layer, arrays):
    """Assigns arrays to a layer's variables of the same names."""
    for name, array in arrays.items():
        getattr(layer, name).assign(array)


def assign_encoder(encoder, model, sizes):
    """Fills an encoder (a `BanditBackbone` or one of BSRNN's)."""
    assign(
        encoder.get_layer("band_split"),
        band_split_weights(model, len(sizes.widths)),
    )
    for block in range(sizes.num_blocks):
        pair = encoder.get_layer(f"pair_{block // 2}")
        residual = pair.over_bands if block % 2 else pair.over_frames
        for name, arrays in block_weights(model, block).items():
            assign(getattr(residual, name), arrays)


def assign_decoder(decoder, model, stem, sizes):
    """Fills a stem's decoder."""
    assign(
        decoder.get_layer("mask_decoder"),
        mask_decoder_weights(model, stem, len(sizes.widths)),
    )
