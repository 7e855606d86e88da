"""Draw docs/diagrams/*.svg: what flows through each model, with its shapes.

Command:
    python recipes/diagrams.py
Needs neither Keras nor data: the numbers are those of the presets. Boxes bring
their own background, so that pictures are readable on light and dark pages.
"""

import html
import pathlib

from keras_bandit.models.presets import PRESETS

FOLDER = pathlib.Path(__file__).parents[1] / "docs" / "diagrams"
WIDTH, SIDE, GAP, LINE, SPACE = 400, 22, 8, 17, 24
DATA, LAYER, STEM = "#e4e4e4", "#cfe2ff", "#ffe3b8"
STYLE = (
    "text{font:12px system-ui,sans-serif;text-anchor:middle;fill:#111}"
    ".b{font-weight:600}path{stroke:#808080;stroke-width:1.6;fill:none}"
)

# A row of boxes in each line, fed by the row above: boxes are separated by ||,
# lines in a box by |; "x" is drawn as a cross. `*`: a box for each stem; `~`:
# an end of the line at the side.
BANDIT = """\
mixture | {khz:g} kHz, each channel alone
~ STFT {n_fft}, hop {hop_length} | frames x {bins}, complex
split into {bands[0]} bands | {bands[0]} x frames x {embed_dim}
{num_pairs} pairs of two-way {rnn}s | {rnn_dim} units, along frames, then along \
bands | {bands[0]} x frames x {embed_dim}
* {stem} | hidden {mlp_dim} | mask
~ STFT x each mask | {count} x frames x {bins}, complex
inverse STFT
{names} | a waveform each, as long as the mixture"""
BSRNN = """\
mixture | {khz:g} kHz, {num_channels} channel
~ STFT {n_fft}, hop {hop_length} | frames x {bins}, complex
* {stem} | {bands[0]} bands | of {embed_dim}
* {num_pairs} pairs | of {rnn}s | {rnn_dim} units
* decoder | hidden {mlp_dim} | mask
~ STFT x each mask | {count} x frames x {bins}, complex
inverse STFT
{names} | a waveform each, as long as the mixture"""
OPEN_UNMIX = """\
mixture | {khz:g} kHz, {num_channels} channels together
~ STFT {n_fft}, hop {hop_length} | {num_channels} x frames x {bins}, complex
magnitudes of the lowest {num_input_bins} bins | {num_channels} x frames x \
{num_input_bins}
* {stem} | dense, tanh | {hidden_dim}
* 3 LSTMs | two-way | {hidden_dim}
* dense x 2 | ReLU | mask
~ magnitudes x each mask, the mixture's phase | {count} x {num_channels} x \
frames x {bins}
Wiener filter, {niter} step | the stems share out the mixture
inverse STFT
{names} | a waveform each, as long as the mixture"""
_DEMUCS_DOWN = """\
mixture | {khz:g} kHz, {num_channels} channels together
STFT {n_fft} | {rows[0]} x frames x {inputs} || waveform | samples x {num_channels}
4 convolutions | along bins | {rows[4]} x frames x {widths[3]} \
|| 4 convolutions | along time | samples / {rates[4]} x {widths[3]}
"""
_DEMUCS_UP = """
{up} layers back | each adds its encoder's | {rows[0]} x frames x {spectra} \
|| {up} layers back | each adds its encoder's | samples x {waveforms}
inverse STFT | samples x {waveforms} || waveforms | samples x {waveforms}
sum of both branches
{names} | a waveform each, as long as the mixture"""
HYBRID_DEMUCS = f"""{_DEMUCS_DOWN}\
layer 5: both branches, added; LSTM, attention | frames x {{widths[4]}}
layer 6: LSTM, attention | frames / 2 x {{widths[5]}}
layer 6 back | frames x {{widths[4]}}{_DEMUCS_UP}"""
HTDEMUCS = f"""{_DEMUCS_DOWN}\
tokens | {{rows[4]}} x frames, of {{bottom_channels}} \
|| tokens | samples / {{rates[4]}}, of {{bottom_channels}}
{{transformer_layers}} transformer layers in each branch | attention within \
and between branches, in turns{_DEMUCS_UP}"""
MRX = """\
mixture | {khz:g} kHz, each channel alone, at -27 LUFS
~ STFT {windows[0]} | hop {hop_length} | frames x {mrx_bins[0]} \
|| STFT {windows[1]} | hop {hop_length} | frames x {mrx_bins[1]} \
|| STFT {windows[2]} | hop {hop_length} | frames x {mrx_bins[2]}
encoder | dense, tanh | frames x {hidden_dim} \
|| encoder | dense, tanh | frames x {hidden_dim} \
|| encoder | dense, tanh | frames x {hidden_dim}
mean over windows | frames x {hidden_dim}
{num_layers} LSTMs | two-way | frames x {hidden_dim} \
|| {num_layers} LSTMs | two-way | frames x {hidden_dim} \
|| {num_layers} LSTMs | two-way | frames x {hidden_dim}
their mean, beside the mean over windows | frames x {joined}
* {stem} | 3 masks, | one a window
~ each STFT x its mask | {count} x 3 spectrograms, complex
inverse STFTs, added over windows | MRX-C: what is missing is shared out
{names} | a waveform each, as long as the mixture"""

DIAGRAMS = {
    "bandit_musical64": BANDIT,
    "bandit_v2_musical64": BANDIT,
    "bsrnn_lstm12_vox7": BSRNN,
    "bsrnn_microtonal": BANDIT,
    "open_unmix_hq": OPEN_UNMIX,
    "hybrid_demucs_musdb18": HYBRID_DEMUCS,
    "htdemucs": HTDEMUCS,
    "mrx": MRX,
}


def numbers(preset):
    """What the texts name: the preset's arguments and what follows of them."""
    sizes = {
        "num_channels": 1,
        "n_fft": 0,
        **preset.separator,
        **preset.backbone,
    }
    stems, channels = preset.stems, sizes["num_channels"]
    windows = sizes.get("window_lengths", [])
    return sizes | {
        "khz": sizes["sample_rate"] / 1000,
        "bins": sizes["n_fft"] // 2 + 1,
        "bands": preset.sizes().bands,
        "rnn": sizes.get("rnn_type", "").upper(),
        "names": ", ".join(stems),
        "count": len(stems),
        # Demucs: after each layer of stride 4.
        "rows": [sizes["n_fft"] // 2 // 4**i for i in range(5)],
        "rates": [4**i for i in range(5)],
        "widths": [
            sizes.get("channels", 0) * sizes.get("growth", 1) ** i
            for i in range(6)
        ],
        "up": min(sizes.get("depth", 0), 5),
        "inputs": 2 * channels,
        "spectra": 2 * channels * len(stems),
        "waveforms": channels * len(stems),
        "windows": windows,
        "mrx_bins": [n // 2 + 1 for n in windows],
        "joined": 2 * sizes.get("hidden_dim", 0),
    }


def _box(lines, x, y, width, height, fill):
    """A rectangle and its lines of text, the first one bold."""
    parts = [
        f'<rect x="{x:.0f}" y="{y}" width="{width:.0f}" '
        f'height="{height}" rx="5" fill="{fill}"/>'
    ]
    for i, line in enumerate(lines):
        bold = "" if i else ' class="b"'
        parts.append(
            f'<text x="{x + width / 2:.0f}" y="{y + LINE * (i + 1)}"{bold}>'
            f"{html.escape(line, quote=False)}</text>"
        )
    return parts


def _head(x, y, shape):
    return f'<path d="M{x:.0f} {y}{shape}" style="fill:#808080"/>'


def _arrows(above, below, top, bottom):
    """From box to box where rows have as many, else from each to each."""
    pairs = [(a, b) for a in above for b in below]
    if len(above) == len(below):
        pairs = zip(above, below, strict=True)
    way = (f"M{a:.0f} {top}v9H{b:.0f}V{bottom - 4}" for a, b in pairs)
    heads = [_head(b, bottom, "l-4-6h8z") for b in below]
    return [f'<path d="{"".join(way)}"/>', *heads]


def picture(name):
    """The SVG of a preset's diagram, text."""
    preset = PRESETS[name]
    known = numbers(preset)
    parts, places, joined, y = [], [], [], 4
    rows = DIAGRAMS[name].splitlines()
    for i, row in enumerate(rows):
        mark, boxes = row[0], row.lstrip("*~ ").split(" || ")
        boxes = [box.format(**known, stem="{stem}") for box in boxes]
        if mark == "*":
            boxes = [boxes[0].format(stem=stem) for stem in preset.stems]
        fill = (
            DATA if i in (0, len(rows) - 1) else STEM if mark == "*" else LAYER
        )
        boxes = [box.replace(" x ", " × ").split(" | ") for box in boxes]  # noqa: RUF001
        height = LINE * max(map(len, boxes)) + 10
        width = (WIDTH - 2 * SIDE + GAP) / len(boxes) - GAP
        lefts = [SIDE + j * (width + GAP) for j in range(len(boxes))]
        centres = [x + width / 2 for x in lefts]
        for x, lines in zip(lefts, boxes, strict=True):
            parts += _box(lines, x, y, width, height, fill)
        if places:
            parts += _arrows(places, centres, y - SPACE, y)
        if mark == "~":
            joined.append(y + height // 2)
        places, y = centres, y + height + SPACE
    if joined:
        x = WIDTH - SIDE
        parts.append(f'<path d="M{x} {joined[0]}h14V{joined[1]}h-9"/>')
        parts.append(_head(x + 1, joined[1], "l6-4v8z"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{WIDTH}" '
        f'height="{y - SPACE + 4}" viewBox="0 0 {WIDTH} {y - SPACE + 4}">\n'
        f"<title>What flows through {name}</title>\n<style>{STYLE}</style>\n"
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def main():
    FOLDER.mkdir(exist_ok=True)
    for name in DIAGRAMS:
        path = FOLDER / f"{name}.svg"
        path.write_text(picture(name), encoding="utf-8")


if __name__ == "__main__":
    main()
