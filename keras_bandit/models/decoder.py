"""A decoder, features to mask, as a model of its own with a file of its own."""

import os
import warnings

import keras

from keras_bandit.layers import MaskDecoder, OverlapRecombine


def build_decoder(backbone, stem, mlp_dim):
    """One stem's decoder, features to mask, as a model of its own.

    Args:
        backbone: the encoder whose features it reads.
        stem: str.
        mlp_dim: int. Units of the hidden layer.

    Returns:
        `keras.Model`, `(batch, bands, frames, embed_dim)` to `(batch,
        channels, frames, bins, 2)`.
    """
    bands = backbone.decoder_bands(stem)
    channels = backbone.num_channels or 1
    # Layer names are the same for every stem, so that weights saved for one
    # can be loaded for another.
    features = keras.Input(
        (len(bands), None, backbone.embed_dim), name="features"
    )
    # Variables need paths of their own: the torch backend finds them by path,
    # and would zero the gradients of one stem only.
    with keras.name_scope(f"{stem}_decoder"):
        masks = MaskDecoder(
            bands,
            mlp_dim,
            num_channels=channels,
            dtype=backbone.dtype_policy,
            name="mask_decoder",
        )(features)
    mask = OverlapRecombine(
        bands,
        backbone.n_fft // 2 + 1,
        num_channels=channels,
        name="overlap_recombine",
    )(masks)
    return keras.Model(features, mask, name=f"{stem}_decoder")


def decoder_file(stem):
    """Name of a stem's weights file in a preset directory."""
    return f"decoder_{stem}.weights.h5"


def load_decoder_weights(decoder, path):
    """Reads a decoder's weights file, all of it or nothing.

    Raises:
        ValueError: if the file does not fit; the decoder is as it was.
    """
    former = decoder.get_weights()
    try:
        with warnings.catch_warnings():
            # On a mismatch Keras warns of layers it skips, then raises.
            warnings.simplefilter("ignore", UserWarning)
            decoder.load_weights(os.fspath(path))
    except ValueError as error:
        decoder.set_weights(former)
        shapes = [tuple(weight.shape) for weight in decoder.weights]
        raise ValueError(
            f"{os.fspath(path)!r} does not fit {decoder.name}, whose weights "
            f"have shapes {shapes}: {error}"
        ) from error
