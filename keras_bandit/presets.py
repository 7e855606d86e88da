"""Built-in architectures by name: plain data, no Keras."""

import pathlib

DNR_STEMS = ["speech", "music", "effects"]
MUSDB_STEMS = ["vocals", "drums", "bass", "other"]


def _bandit(layout, num_bands, parameters, gflops, **paper):
    """An entry for a row of BandIt's Table 1."""
    return {
        "class": "BanditAudioSeparator",
        "backbone": {"band_layout": layout, "num_bands": num_bands},
        "separator": {"stems": DNR_STEMS},
        "paper": {"parameters": parameters, "gflops": gflops, **paper},
        "weights": None,
    }


def _bsrnn(layout, stems, rnn_type, num_pairs, num_channels=1, paper=None):
    return {
        "class": "BSRNNAudioSeparator",
        "backbone": {
            "stems": stems,
            "band_layout": layout,
            "num_channels": num_channels,
            "rnn_type": rnn_type,
            "num_pairs": num_pairs,
        },
        "separator": {"stems": stems},
        "paper": paper,
        "weights": None,
    }


def _bandit_v2():
    """BandIt v2 (`kwatcharasupat/bandit-v2` at d5563d9): 48 kHz, DnR v3."""
    return {
        "class": "BanditAudioSeparator",
        "backbone": {
            "band_layout": "musical",
            "num_bands": 64,
            "sample_rate": 48000,
        },
        "separator": {
            "stems": ["speech", "music", "sfx"],
            "pad_mode": "reflect",
        },
        "paper": None,
        "weights": None,
    }


def _microtonal():
    """Refined BSRNN (Akbarzadeh): microtonal bands, one shared encoder.

    Sizes of the paper's experiments (Sec. IV and its repository). It shares
    the encoder, so it is built as BandIt is; masks are gated (GLU) as in the
    other models here.
    """
    return {
        "class": "BanditAudioSeparator",
        "backbone": {
            "band_layout": "microtonal",
            "num_bands": 41,
            "embed_dim": 32,
            "rnn_dim": 64,
            "num_pairs": 3,
            "rnn_type": "lstm",
        },
        "separator": {"stems": MUSDB_STEMS, "mlp_dim": 256},
        "paper": None,
        "weights": None,
    }


def _bandit_demo():
    """The small BandIt that ships with the package; `recipes/bandit_demo.py`.

    A demonstration, trained on rendered clips: not for films.
    """
    return {
        "class": "BanditAudioSeparator",
        "backbone": {
            "band_layout": "musical",
            "num_bands": 24,
            "embed_dim": 40,
            "rnn_dim": 56,
            "num_pairs": 3,
        },
        "separator": {"stems": DNR_STEMS, "mlp_dim": 32},
        "paper": None,
        "weights": "bandit_demo",
    }


# "paper": Table 1 of BandIt; parameters in millions, gflops per 6 s chunk,
# SNR in dB on DnR's test set for (speech, music, effects), trained with L1SNR
# (BSRNN: L1).
PRESETS = {
    "bandit_vox7": _bandit(
        "vocals_v7", None, 25.7, 243.2, snr=(14.2, 7.2, 8.5)
    ),
    "bandit_bark48": _bandit("bark", 48, 64.5, 290.6, snr=(14.1, 7.3, 8.6)),
    "bandit_mel48": _bandit("mel", 48, 32.8, 274.3, snr=(14.5, 7.5, 8.8)),
    "bandit_tribark48": _bandit(
        "tribark", 48, 32.7, 274.2, snr=(14.6, 7.6, 8.9)
    ),
    "bandit_erb48": _bandit("erb", 48, 32.6, 274.2, snr=(14.6, 7.7, 8.9)),
    "bandit_musical48": _bandit(
        "musical", 48, 33.5, 274.7, snr=(14.8, 7.9, 9.2)
    ),
    "bandit_mel64": _bandit("mel", 64, 36.1, 363.6, snr=(14.8, 7.9, 9.1)),
    "bandit_tribark64": _bandit(
        "tribark", 64, 36.0, 363.5, snr=(14.8, 7.9, 9.1)
    ),
    "bandit_erb64": _bandit("erb", 64, 36.0, 363.5, snr=(15.0, 8.0, 9.2)),
    "bandit_bark64": _bandit("bark", 64, 82.6, 387.6, snr=(15.0, 8.1, 9.3)),
    "bandit_musical64": _bandit(
        "musical", 64, 37.0, 364.1, snr=(15.1, 8.2, 9.3)
    ),
    "bandit_v2_musical64": _bandit_v2(),
    "bsrnn_lstm12_vox7": _bsrnn(
        "vocals_v7",
        DNR_STEMS,
        "lstm",
        12,
        paper={"parameters": 77.4, "gflops": 1386.5, "snr": (14.2, 6.3, 7.0)},
    ),
    "bsrnn_gru8_vox7": _bsrnn(
        "vocals_v7",
        DNR_STEMS,
        "gru",
        8,
        paper={"parameters": 47.4, "gflops": 714.5, "snr": (14.0, 6.4, 7.2)},
    ),
    "bsrnn_musdb18": _bsrnn(
        {
            "vocals": "vocals_v7",
            "drums": "drums",
            "bass": "bass",
            "other": "other",
        },
        MUSDB_STEMS,
        "lstm",
        12,
        num_channels=2,
    ),
    "bsrnn_microtonal": _microtonal(),
    "bandit_demo": _bandit_demo(),
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
    return pathlib.Path(__file__).parent / "weights" / folder


def list_presets():
    """Names of the built-in architectures.

    Returns:
        list of str for `AudioSeparator.from_preset`.
    """
    return list(PRESETS)
