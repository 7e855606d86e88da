"""Small models of each kind, and how far two estimates are apart."""

import keras
import numpy as np

from keras_bandit.models import (
    BanditAudioSeparator,
    BanditBackbone,
    BSRNNAudioSeparator,
    BSRNNBackbone,
    OpenUnmixAudioSeparator,
)

# 33 bins in bands of unequal width, up to three on a bin.
BANDS = [(0, 3), (1, 9), (8, 13), (8, 30), (12, 33)]
SIZES = {
    "n_fft": 64,
    "sample_rate": 8000,
    "embed_dim": 6,
    "rnn_dim": 5,
    "num_pairs": 2,
}


def randomized(separator, seed=0):
    """Gives every weight a value of its own, gammas and biases too."""
    rng = np.random.default_rng(seed)
    for weight in separator.weights:
        noise = 0.2 * rng.standard_normal(weight.shape)
        weight.assign(keras.ops.convert_to_numpy(weight) + noise)
    return separator


def bandit(
    stems=("speech", "music"),
    rnn_type="gru",
    sample_rate=8000,
    num_pairs=2,
    dtype=None,
    **kwargs,
):
    sizes = {
        **SIZES,
        "sample_rate": sample_rate,
        "rnn_type": rnn_type,
        "num_pairs": num_pairs,
    }
    backbone = BanditBackbone(BANDS, None, dtype=dtype, **sizes)
    return randomized(
        BanditAudioSeparator(
            backbone, list(stems), hop_length=16, mlp_dim=7, **kwargs
        )
    )


def bandit_v2(num_pairs=2):
    return bandit(pad_mode="reflect", sample_rate=48000, num_pairs=num_pairs)


def bsrnn(rnn_type="lstm", num_channels=2, num_pairs=2, **kwargs):
    backbone = BSRNNBackbone(
        ["vocals", "drums"],
        band_layout={"vocals": BANDS, "drums": [(0, 20), (20, 33)]},
        rnn_type=rnn_type,
        num_channels=num_channels,
        **{**SIZES, "num_pairs": num_pairs},
    )
    return randomized(
        BSRNNAudioSeparator(
            backbone, backbone.stems, hop_length=16, mlp_dim=7, **kwargs
        )
    )


def open_unmix(**kwargs):
    return randomized(
        OpenUnmixAudioSeparator(
            ["vocals", "drums"],
            n_fft=64,
            hop_length=16,
            sample_rate=8000,
            hidden_dim=6,
            **{"num_input_bins": 20, **kwargs},
        )
    )


MODELS = {
    "bandit": bandit,
    "bandit_v2": bandit_v2,
    "bsrnn_gru": lambda: bsrnn("gru"),
    "bsrnn_lstm": bsrnn,
    "bandit_standardized": lambda: bandit(standardize_spectrogram=True),
    "bsrnn_standardized": lambda: bsrnn(standardize_spectrogram=True),
    "open_unmix": open_unmix,
    "open_unmix_mono": lambda: open_unmix(
        num_channels=1, bidirectional=False, num_input_bins=33
    ),
}


def noise(*shape):
    return np.random.default_rng(1).standard_normal(shape).astype("float32")


def distances(estimates, references):
    """Level of each estimate's error below the reference, dB."""
    assert set(estimates) == set(references)
    levels = []
    for stem, reference in references.items():
        reference = keras.ops.convert_to_numpy(reference)
        assert estimates[stem].shape == reference.shape
        error = np.sum((estimates[stem] - reference) ** 2)
        levels.append(10 * np.log10(np.sum(reference**2) / max(error, 1e-30)))
    return np.array(levels)
