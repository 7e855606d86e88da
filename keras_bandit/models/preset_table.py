"""The table that `keras-bandit presets` prints."""

from keras_bandit.models.preset_sizes import preset_sizes
from keras_bandit.models.presets import PRESETS, TABLE_1_MODELS

COLUMNS = [
    "preset",
    "stems",
    "bands",
    "sample rate / Hz",
    "parameters",
    "paper's parameters",
    "multiply-adds / 6 s",
    "paper's GFlops",
    "paper's SNR / dB",
]


def _row(name, entry):
    sizes = preset_sizes(entry)
    (parameters, gflops), (*snr, _), _ = TABLE_1_MODELS.get(
        name, ((None, None), (None,), None)
    )
    return [
        name,
        ", ".join(entry["separator"]["stems"]),
        " / ".join(str(n) for n in dict.fromkeys(sizes["bands"])),
        str(entry["backbone"]["sample_rate"]),
        f"{sizes['parameters']:,}",
        f"{parameters} M" if parameters else "",
        f"{sizes['multiply_adds'] / 1e9:.1f} G",
        f"{gflops} G" if gflops else "",
        " / ".join(str(value) for value in snr),
    ]


def preset_table():
    """Built-in architectures with their sizes, beside BandIt's Table 1.

    Parameters and multiply-adds (of one 6 s chunk) are computed from the
    layers; the columns headed "paper's" are Table 1's, SNR on DnR's test set
    for speech, music and effects.

    Returns:
        str, a Markdown table.
    """
    rows = [COLUMNS, *(_row(name, entry) for name, entry in PRESETS.items())]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    lines = [
        "| "
        + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True))
        + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])
