"""The table that `keras-bandit presets` prints."""

import tabulate

from keras_bandit.models.fetch import size_text
from keras_bandit.models.presets import (
    PRESETS,
    is_preset_directory,
    weights_directory,
)


def _weights(preset):
    """Where the weights are, and their licence."""
    weights = preset.weights
    if weights is None:
        return "", ""
    if isinstance(weights, str):
        return "bundled", "Apache-2.0"
    if is_preset_directory(weights_directory(preset.name)):
        return "cached", weights.record.licence
    size = f", {size_text(weights.size)}" if weights.size else ""
    return f"to be fetched{size}", weights.record.licence


def _row(preset):
    sizes, paper = preset.sizes(), preset.paper
    weights, licence = _weights(preset)
    return {
        "preset": preset.name,
        "weights": weights,
        "licence": licence,
        "stems": ", ".join(preset.stems),
        "bands": " / ".join(str(n) for n in dict.fromkeys(sizes.bands)),
        "sample rate / Hz": preset.sample_rate,
        "parameters": f"{sizes.parameters:,}",
        "paper's parameters": f"{paper.parameters_m} M" if paper else "",
        "multiply-adds / 6 s": f"{sizes.multiply_adds / 1e9:.1f} G",
        "paper's GFlops": f"{paper.gflops} G" if paper else "",
        "paper's SNR / dB": " / ".join(
            str(paper.snr_db[stem]) for stem in (preset.stems if paper else ())
        ),
        "description": preset.description,
    }


def preset_table():
    """Markdown of architectures and weights, with their computed sizes.

    The columns headed "paper's" are BandIt's Table 1's, SNR on DnR's test set.
    """
    return tabulate.tabulate(
        [_row(preset) for preset in PRESETS.values()],
        headers="keys",
        tablefmt="github",
        disable_numparse=True,
    )
