"""Built-in architectures by name: plain data, no Keras."""

import os
import pathlib

DNR_STEMS = ["speech", "music", "effects"]
MUSDB_STEMS = ["vocals", "drums", "bass", "other"]


# The paper's, of BandIt and BSRNN alike but for the pairs; every entry says all
# of them.
SIZES = {
    "n_fft": 2048,
    "sample_rate": 44100,
    "embed_dim": 128,
    "rnn_dim": 256,
    "num_pairs": 8,
    "rnn_type": "gru",
}
DECODER_SIZES = {"hop_length": 512, "mlp_dim": 512}


def _bandit(layout, num_bands, stems=DNR_STEMS, separator=None, **sizes):
    return {
        "class": "BanditAudioSeparator",
        "backbone": {
            "band_layout": layout,
            "num_bands": num_bands,
            **SIZES,
            **sizes,
        },
        "separator": {"stems": stems, **DECODER_SIZES, **(separator or {})},
        "weights": None,
    }


def _bsrnn(layout, stems, num_channels=1, **sizes):
    return {
        "class": "BSRNNAudioSeparator",
        "backbone": {
            "stems": stems,
            "band_layout": layout,
            "num_bands": None,
            "num_channels": num_channels,
            **SIZES,
            **sizes,
        },
        "separator": {"stems": stems, **DECODER_SIZES},
        "weights": None,
    }


PRESETS = {
    "bandit_vox7": _bandit("vocals_v7", None),
    "bandit_bark48": _bandit("bark", 48),
    "bandit_mel48": _bandit("mel", 48),
    "bandit_tribark48": _bandit("tribark", 48),
    "bandit_erb48": _bandit("erb", 48),
    "bandit_musical48": _bandit("musical", 48),
    "bandit_mel64": _bandit("mel", 64),
    "bandit_tribark64": _bandit("tribark", 64),
    "bandit_erb64": _bandit("erb", 64),
    "bandit_bark64": _bandit("bark", 64),
    "bandit_musical64": _bandit("musical", 64),
    # BandIt v2 (`kwatcharasupat/bandit-v2` at d5563d9): 48 kHz, DnR v3.
    "bandit_v2_musical64": _bandit(
        "musical",
        64,
        ["speech", "music", "sfx"],
        {"pad_mode": "reflect"},
        sample_rate=48000,
    ),
    "bsrnn_lstm12_vox7": _bsrnn(
        "vocals_v7", DNR_STEMS, rnn_type="lstm", num_pairs=12
    ),
    "bsrnn_gru8_vox7": _bsrnn("vocals_v7", DNR_STEMS),
    "bsrnn_musdb18": _bsrnn(
        {
            "vocals": "vocals_v7",
            "drums": "drums",
            "bass": "bass",
            "other": "other",
        },
        MUSDB_STEMS,
        num_channels=2,
        rnn_type="lstm",
        num_pairs=12,
    ),
    # Refined BSRNN (Akbarzadeh), sizes of its Sec. IV and its repository. It
    # shares the encoder, so it is built as BandIt is; masks are gated (GLU) as
    # in the other models here.
    "bsrnn_microtonal": _bandit(
        "microtonal",
        41,
        MUSDB_STEMS,
        {"mlp_dim": 256},
        embed_dim=32,
        rnn_dim=64,
        num_pairs=3,
        rnn_type="lstm",
    ),
    # `recipes/bandit_demo.py`. A demonstration, trained on rendered clips: not
    # for films.
    "bandit_demo": {
        **_bandit(
            "musical",
            24,
            separator={"mlp_dim": 32},
            embed_dim=40,
            rnn_dim=56,
            num_pairs=5,
        ),
        "weights": "bandit_demo",
    },
}

# BandIt's Table 1: parameters in millions, "GFlops" per 6 s chunk, SNR and
# SI-SNR in dB on DnR's test set for speech, music, effects and their average,
# trained with L1SNR (BSRNN: L1).
TABLE_1_MODELS = {
    "bsrnn_lstm12_vox7": (
        (77.4, 1386.5),
        (14.2, 6.3, 7.0, 9.2),
        (14.0, 5.2, 5.9, 8.4),
    ),
    "bsrnn_gru8_vox7": (
        (47.4, 714.5),
        (14.0, 6.4, 7.2, 9.2),
        (13.9, 5.2, 6.2, 8.4),
    ),
    "bandit_vox7": (
        (25.7, 243.2),
        (14.2, 7.2, 8.5, 10.0),
        (14.0, 6.3, 7.8, 9.4),
    ),
    "bandit_bark48": (
        (64.5, 290.6),
        (14.1, 7.3, 8.6, 10.0),
        (14.0, 6.3, 7.8, 9.4),
    ),
    "bandit_mel48": (
        (32.8, 274.3),
        (14.5, 7.5, 8.8, 10.3),
        (14.3, 6.6, 8.1, 9.7),
    ),
    "bandit_tribark48": (
        (32.7, 274.2),
        (14.6, 7.6, 8.9, 10.4),
        (14.5, 6.7, 8.2, 9.8),
    ),
    "bandit_erb48": (
        (32.6, 274.2),
        (14.6, 7.7, 8.9, 10.4),
        (14.4, 6.8, 8.5, 9.8),
    ),
    "bandit_musical48": (
        (33.5, 274.7),
        (14.8, 7.9, 9.2, 10.6),
        (14.6, 7.1, 8.5, 10.1),
    ),
    "bandit_mel64": (
        (36.1, 363.6),
        (14.8, 7.9, 9.1, 10.6),
        (14.7, 7.1, 8.5, 10.1),
    ),
    "bandit_tribark64": (
        (36.0, 363.5),
        (14.8, 7.9, 9.1, 10.6),
        (14.7, 7.1, 8.4, 10.1),
    ),
    "bandit_erb64": (
        (36.0, 363.5),
        (15.0, 8.0, 9.2, 10.8),
        (14.9, 7.2, 8.6, 10.2),
    ),
    # Its stems give an average of 10.8.
    "bandit_bark64": (
        (82.6, 387.6),
        (15.0, 8.1, 9.3, 10.6),
        (14.9, 7.3, 8.6, 10.3),
    ),
    "bandit_musical64": (
        (37.0, 364.1),
        (15.1, 8.2, 9.3, 10.9),
        (14.9, 7.4, 8.7, 10.3),
    ),
}


def weights_directory(name):
    """Where the trained weights of a preset are: a preset directory.

    Args:
        name: str, in `list_presets()`.

    Returns:
        `pathlib.Path`, or `None` for an architecture without weights.
    """
    folder = PRESETS[name]["weights"]
    if folder is None:
        return None
    return pathlib.Path(__file__).parents[1] / "weights" / folder


def is_preset_directory(path):
    """Whether a path is a directory that `save_to_preset` may have written."""
    return os.path.isfile(os.path.join(path, "config.json"))


def means_built_in(preset):
    """Whether a built-in preset is meant, and not a directory of its name.

    A preset directory in the current directory goes before a name: weights
    that somebody converted to `bandit_musical64` are not passed over for
    initial ones.

    Args:
        preset: str, a name, a directory's path or a handle.

    Returns:
        bool.
    """
    return preset in PRESETS and not is_preset_directory(preset)


def list_presets():
    """Names of the built-in architectures.

    Returns:
        list of str for `AudioSeparator.from_preset`.
    """
    return list(PRESETS)
