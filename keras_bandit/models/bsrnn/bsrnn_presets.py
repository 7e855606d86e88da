"""Built-in architectures of BSRNN: plain data, no Keras."""

from keras_bandit.models.band_split_sizes import band_split_sizes
from keras_bandit.models.bandit.bandit_presets import (
    BACKBONE_SIZES,
    DNR_STEMS,
    MUSDB_STEMS,
    SEPARATOR_SIZES,
    table_1,
)
from keras_bandit.models.preset import Preset


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
        separator={"stems": stems, **SEPARATOR_SIZES},
        backbone={
            "stems": stems,
            "band_layout": layout,
            "num_bands": None,
            "num_channels": 1,
            **BACKBONE_SIZES,
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
        table_1(
            77.4, 1386.5, (14.2, 6.3, 7.0, 9.2), (14.0, 5.2, 5.9, 8.4), "L1"
        ),
        num_pairs=12,
        rnn_type="lstm",
    ),
    _bsrnn(
        "bsrnn_gru8_vox7",
        "BSRNN with BandIt's recurrences, one for each stem of a film.",
        DNR_STEMS,
        "vocals_v7",
        table_1(
            47.4, 714.5, (14.0, 6.4, 7.2, 9.2), (13.9, 5.2, 6.2, 8.4), "L1"
        ),
        num_pairs=8,
        rnn_type="gru",
    ),
    _bsrnn(
        "bsrnn_musdb18",
        "BSRNN for music, stereo, the published bands of each stem.",
        MUSDB_STEMS,
        {"vocals": "vocals_v7"} | {s: s for s in ("drums", "bass", "other")},
        num_channels=2,
        num_pairs=12,
        rnn_type="lstm",
    ),
]
