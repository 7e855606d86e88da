"""Built-in architectures of HTDemucs: plain data, no Keras."""

from keras_bandit.models.hybrid_demucs.hybrid_demucs_presets import (
    MUSDB18,
    HybridDemucsPreset,
)
from keras_bandit.models.preset import Sizes


class HTDemucsPreset(HybridDemucsPreset):
    """Layers of two U-Nets and a transformer.

    Counted for `seconds`, though the network computes 7.8 s of each chunk.
    """

    model = "HTDemucsAudioSeparator"

    def sizes(self, seconds=6.0):
        kwargs = self.separator
        count, spectrum, steps, width = self.count_levels(seconds)
        size = kwargs["bottom_channels"] or width
        hidden = int(kwargs["transformer_expansion"] * size)
        for tokens, others in ((spectrum, steps), (steps, spectrum)):
            if kwargs["bottom_channels"]:
                count.convolution(tokens, width, size, 1)
                count.convolution(tokens, size, width, 1)
            count.parameters += 2 * size  # norm
            for i in range(kwargs["transformer_layers"]):
                cross = i % 2 == 1
                seen = others if cross else tokens
                count.convolution(tokens, size, size, 1)  # queries
                count.convolution(seen, size, 2 * size, 1)  # keys and values
                count.convolution(tokens, size, size, 1)
                count.products += 2 * tokens * seen * size
                count.convolution(tokens, size, hidden, 1)
                count.convolution(tokens, hidden, size, 1)
                norms, scales = (4 if cross else 3), 2
                count.parameters += (2 * norms + scales) * size
        return Sizes(count.parameters, count.products)


_HTDEMUCS = {
    **MUSDB18,
    "depth": 4,
    "dconv_mode": 3,
    "dconv_compression": 8,
    "bottom_channels": 512,
    "transformer_layers": 5,
    "transformer_expansion": 4.0,
    "transformer_dropout": 0.02,
    "chunk_seconds": 7.8,
}

HTDEMUCS_PRESETS = [
    HTDemucsPreset("htdemucs", "HTDemucs (Demucs v4) for music.", _HTDEMUCS),
    HTDemucsPreset(
        "htdemucs_6s",
        "HTDemucs for six stems of music.",
        {
            **_HTDEMUCS,
            "stems": [*MUSDB18["stems"], "guitar", "piano"],
            "bottom_channels": 0,
        },
    ),
]
