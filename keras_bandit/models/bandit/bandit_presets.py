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


def table_1(parameters_m, gflops, snr_db, si_snr_db, loss="L1SNR"):
    """A row of BandIt's Table 1: scores for the stems and their average."""
    stems = [*DNR_STEMS, "average"]
    return PaperFigures(
        parameters_m,
        gflops,
        dict(zip(stems, snr_db, strict=True)),
        dict(zip(stems, si_snr_db, strict=True)),
        loss,
    )


def _ablation(num_bands, best=None, **figures):
    """Table 1's models of so many bands, `{layout: arguments of table_1}`."""
    kinds = {"tribark": "triangular bark", "erb": "ERB"}
    return [
        _bandit(
            f"bandit_{layout}{num_bands}",
            f"{num_bands} {kinds.get(layout, layout)} bands"
            + (": the paper's best." if layout == best else "."),
            layout,
            num_bands,
            paper=table_1(*row),
        )
        for layout, row in figures.items()
    ]


BANDIT_PRESETS = [
    _bandit(
        "bandit_vox7",
        "The 43 bands of BSRNN for vocals.",
        "vocals_v7",
        None,
        paper=table_1(
            25.7, 243.2, (14.2, 7.2, 8.5, 10.0), (14.0, 6.3, 7.8, 9.4)
        ),
    ),
    # parameters / M, GFlops, SNR / dB and SI-SNR / dB
    *_ablation(
        48,
        bark=(64.5, 290.6, (14.1, 7.3, 8.6, 10.0), (14.0, 6.3, 7.8, 9.4)),
        mel=(32.8, 274.3, (14.5, 7.5, 8.8, 10.3), (14.3, 6.6, 8.1, 9.7)),
        tribark=(32.7, 274.2, (14.6, 7.6, 8.9, 10.4), (14.5, 6.7, 8.2, 9.8)),
        erb=(32.6, 274.2, (14.6, 7.7, 8.9, 10.4), (14.4, 6.8, 8.5, 9.8)),
        musical=(33.5, 274.7, (14.8, 7.9, 9.2, 10.6), (14.6, 7.1, 8.5, 10.1)),
    ),
    *_ablation(
        64,
        best="musical",
        mel=(36.1, 363.6, (14.8, 7.9, 9.1, 10.6), (14.7, 7.1, 8.5, 10.1)),
        tribark=(36.0, 363.5, (14.8, 7.9, 9.1, 10.6), (14.7, 7.1, 8.4, 10.1)),
        erb=(36.0, 363.5, (15.0, 8.0, 9.2, 10.8), (14.9, 7.2, 8.6, 10.2)),
        # Its stems give an average of 10.8; the paper prints 10.6.
        bark=(82.6, 387.6, (15.0, 8.1, 9.3, 10.6), (14.9, 7.3, 8.6, 10.3)),
        musical=(37.0, 364.1, (15.1, 8.2, 9.3, 10.9), (14.9, 7.4, 8.7, 10.3)),
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
        "A demonstration trained on natural sounds, not for films.",
        "musical",
        24,
        separator={"mlp_dim": 32, "normalize_recording": "rms"},
        weights="bandit_demo",
        embed_dim=40,
        rnn_dim=56,
        num_pairs=5,
    ),
]
