"""Built-in architectures of BSRNN: plain data, no Keras."""

from keras_bandit.models.band_split_sizes import band_split_sizes
from keras_bandit.models.preset import PaperFigures, Preset

DNR_STEMS = ["speech", "music", "effects"]


class BSRNNPreset(Preset):
    """A BSRNN: an encoder and a decoder per stem."""

    model = "BSRNNAudioSeparator"

    def sizes(self, seconds=6.0):
        layout = self.backbone["band_layout"]
        if not isinstance(layout, dict):
            layout = dict.fromkeys(self.stems, layout)
        encoders = [(layout[stem], 1) for stem in self.stems]
        return band_split_sizes(
            encoders, self.backbone, self.separator, seconds
        )


def _bsrnn(name, description, stems, layout, paper=None, **sizes):
    return BSRNNPreset(
        name,
        description,
        separator={
            "stems": stems,
            "hop_length": 512,
            "mlp_dim": 512,
            "chunk_seconds": 6.0,
        },
        backbone={
            "stems": stems,
            "band_layout": layout,
            "num_bands": None,
            "num_channels": 1,
            "n_fft": 2048,
            "sample_rate": 44100,
            "embed_dim": 128,
            "rnn_dim": 256,
            **sizes,
        },
        paper=paper,
    )


BSRNN_PRESETS = [
    _bsrnn(
        "bsrnn_lstm12_vox7",
        "BSRNN as published, one for each stem of a film.",
        DNR_STEMS,
        "vocals_v7",
        PaperFigures(
            77.4,
            1386.5,
            {"speech": 14.2, "music": 6.3, "effects": 7.0, "average": 9.2},
            {"speech": 14.0, "music": 5.2, "effects": 5.9, "average": 8.4},
            loss="L1",
        ),
        num_pairs=12,
        rnn_type="lstm",
    ),
    _bsrnn(
        "bsrnn_gru8_vox7",
        "BSRNN with BandIt's recurrences, one for each stem of a film.",
        DNR_STEMS,
        "vocals_v7",
        PaperFigures(
            47.4,
            714.5,
            {"speech": 14.0, "music": 6.4, "effects": 7.2, "average": 9.2},
            {"speech": 13.9, "music": 5.2, "effects": 6.2, "average": 8.4},
            loss="L1",
        ),
        num_pairs=8,
        rnn_type="gru",
    ),
    _bsrnn(
        "bsrnn_musdb18",
        "BSRNN for music, stereo, the published bands of each stem.",
        ["vocals", "drums", "bass", "other"],
        {"vocals": "vocals_v7"} | {s: s for s in ("drums", "bass", "other")},
        num_channels=2,
        num_pairs=12,
        rnn_type="lstm",
    ),
]
