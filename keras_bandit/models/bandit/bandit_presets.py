"""Built-in architectures of BandIt: plain data, no Keras."""

from keras_bandit.models.band_split_sizes import band_split_sizes
from keras_bandit.models.preset import PaperFigures, Preset

DNR_STEMS = ["speech", "music", "effects"]
MUSDB_STEMS = ["vocals", "drums", "bass", "other"]

# The paper's; every entry says all of them.
BACKBONE_SIZES = {
    "n_fft": 2048,
    "sample_rate": 44100,
    "embed_dim": 128,
    "rnn_dim": 256,
    "num_pairs": 8,
    "rnn_type": "gru",
}
SEPARATOR_SIZES = {"hop_length": 512, "mlp_dim": 512, "chunk_seconds": 6.0}


class BanditPreset(Preset):
    """A BandIt: one encoder, a decoder per stem."""

    model = "BanditAudioSeparator"

    def sizes(self, seconds=6.0):
        encoders = [(self.backbone["band_layout"], len(self.stems))]
        return band_split_sizes(
            encoders, self.backbone, self.separator, seconds
        )


def _bandit(
    name,
    description,
    layout,
    num_bands,
    stems=DNR_STEMS,
    separator=None,
    weights=None,
    paper=None,
    **sizes,
):
    return BanditPreset(
        name,
        description,
        separator={"stems": stems, **SEPARATOR_SIZES, **(separator or {})},
        backbone={
            "band_layout": layout,
            "num_bands": num_bands,
            **BACKBONE_SIZES,
            **sizes,
        },
        weights=weights,
        paper=paper,
    )


def _paper(parameters_m, gflops, snr_db, si_snr_db):
    """A row of BandIt's Table 1: scores for the stems and their average."""
    stems = [*DNR_STEMS, "average"]
    return PaperFigures(
        parameters_m,
        gflops,
        dict(zip(stems, snr_db, strict=True)),
        dict(zip(stems, si_snr_db, strict=True)),
        loss="L1SNR",
    )


def _table_1(layout, num_bands, *figures, note=""):
    """One of Table 1's models, with the arguments of `_paper`."""
    kind = {"tribark": "triangular bark", "erb": "ERB"}.get(layout, layout)
    return _bandit(
        f"bandit_{layout}{num_bands}",
        f"{num_bands} {kind} bands{note}.",
        layout,
        num_bands,
        paper=_paper(*figures),
    )


BANDIT_PRESETS = [
    _bandit(
        "bandit_vox7",
        "The 43 bands of BSRNN for vocals.",
        "vocals_v7",
        None,
        paper=_paper(
            25.7, 243.2, (14.2, 7.2, 8.5, 10.0), (14.0, 6.3, 7.8, 9.4)
        ),
    ),
    _table_1(
        "bark", 48, 64.5, 290.6, (14.1, 7.3, 8.6, 10.0), (14.0, 6.3, 7.8, 9.4)
    ),
    _table_1(
        "mel", 48, 32.8, 274.3, (14.5, 7.5, 8.8, 10.3), (14.3, 6.6, 8.1, 9.7)
    ),
    _table_1(
        "tribark",
        48,
        32.7,
        274.2,
        (14.6, 7.6, 8.9, 10.4),
        (14.5, 6.7, 8.2, 9.8),
    ),
    _table_1(
        "erb", 48, 32.6, 274.2, (14.6, 7.7, 8.9, 10.4), (14.4, 6.8, 8.5, 9.8)
    ),
    _table_1(
        "musical",
        48,
        33.5,
        274.7,
        (14.8, 7.9, 9.2, 10.6),
        (14.6, 7.1, 8.5, 10.1),
    ),
    _table_1(
        "mel", 64, 36.1, 363.6, (14.8, 7.9, 9.1, 10.6), (14.7, 7.1, 8.5, 10.1)
    ),
    _table_1(
        "tribark",
        64,
        36.0,
        363.5,
        (14.8, 7.9, 9.1, 10.6),
        (14.7, 7.1, 8.4, 10.1),
    ),
    _table_1(
        "erb", 64, 36.0, 363.5, (15.0, 8.0, 9.2, 10.8), (14.9, 7.2, 8.6, 10.2)
    ),
    # The stems of bark64 give an average of 10.8; the paper prints 10.6.
    _table_1(
        "bark", 64, 82.6, 387.6, (15.0, 8.1, 9.3, 10.6), (14.9, 7.3, 8.6, 10.3)
    ),
    _table_1(
        "musical",
        64,
        37.0,
        364.1,
        (15.1, 8.2, 9.3, 10.9),
        (14.9, 7.4, 8.7, 10.3),
        note=": the paper's best",
    ),
    # BandIt v2 (`kwatcharasupat/bandit-v2` at d5563d9).
    _bandit(
        "bandit_v2_musical64",
        "BandIt v2, arXiv:2407.07275: 64 musical bands at 48 kHz, for DnR v3.",
        "musical",
        64,
        ["speech", "music", "sfx"],
        {"pad_mode": "reflect", "chunk_seconds": 8.0},
        sample_rate=48000,
    ),
    # Akbarzadeh's sizes (Sec. IV and repository). It shares the encoder, so it
    # is built as BandIt is; masks are gated (GLU) as in the other models here.
    _bandit(
        "bsrnn_microtonal",
        "Refined BSRNN: 41 microtonal bands, one encoder for four stems.",
        "microtonal",
        41,
        MUSDB_STEMS,
        {"mlp_dim": 256},
        embed_dim=32,
        rnn_dim=64,
        num_pairs=3,
        rnn_type="lstm",
    ),
    # Made by `recipes/bandit_demo.py`.
    _bandit(
        "bandit_demo",
        "A demonstration trained on rendered clips, not for films.",
        "musical",
        24,
        separator={"mlp_dim": 32},
        weights="bandit_demo",
        embed_dim=40,
        rnn_dim=56,
        num_pairs=5,
    ),
]
