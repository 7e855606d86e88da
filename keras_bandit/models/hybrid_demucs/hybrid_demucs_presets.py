"""Built-in architectures of Hybrid Demucs: plain data, no Keras."""

from keras_bandit.models.preset import Preset, Sizes

KERNEL, STRIDE = 8, 4
DECAYS = 4 * 4  # heads, and decays of each
WINDOW = 200


class HybridDemucsPreset(Preset):
    """Layers of two U-Nets, counted as `HybridNetwork` makes them.

    Transposed convolutions count for each input position, as they are
    computed. BandIt's Table 1 counts them for each output position, four
    times as many: 85.0 G there are these 59.5 G.
    """

    model = "HybridDemucsAudioSeparator"

    def sizes(self, seconds=6.0):
        count, *_ = self.count_levels(seconds)
        return Sizes(count.parameters, count.products)

    def count_levels(self, seconds):
        """Counts, and places in both branches and channels after encoders."""
        kwargs = self.separator
        count = _Count(kwargs)
        channels, width = kwargs["num_channels"], kwargs["channels"]
        stems, rows = len(kwargs["stems"]), kwargs["n_fft"] // 2
        steps = int(seconds * kwargs["sample_rate"])
        frames = -(-steps // (rows // 2))
        count.parameters += rows // STRIDE * width  # embedding
        ends = (2 * channels, 2 * channels * stems)
        time_ends = (channels, channels * stems)
        for i in range(kwargs["depth"]):
            norm = i >= kwargs["norm_starts"]
            if rows == 1:  # one layer for both branches
                frames = -(-frames // 2)
                count.convolutions(frames, *ends, width, 4, norm)
                count.inside(frames, width, 3, norm, i)
            else:
                merges, kernel = rows <= KERNEL, min(KERNEL, rows)
                rows = 1 if merges else rows // STRIDE
                steps = -(-steps // STRIDE)
                count.convolutions(rows * frames, *ends, width, kernel, norm)
                count.inside(rows * frames, width, 9, norm, i)
                count.convolutions(steps, *time_ends, width, KERNEL, norm)
                if not merges:
                    count.inside(steps, width, 3, norm, i)
                elif norm and not kwargs["torchaudio_norm"]:
                    # Only that port has one here, and does not use it.
                    count.parameters -= 2 * width
            ends = time_ends = (width, width)
            width *= kwargs["growth"]
        return count, rows * frames, steps, ends[0]


class _Count:
    """Adds up layers; `places` are those where a weight is used."""

    def __init__(self, kwargs):
        self.kwargs = kwargs
        self.parameters = self.products = 0

    def convolution(self, places, inputs, outputs, kernel, norm=False):
        weights = inputs * outputs * kernel
        self.parameters += weights + outputs * (3 if norm else 1)
        self.products += places * weights

    def convolutions(self, places, inputs, outputs, width, kernel, norm):
        """The encoder's and the decoder's of one level."""
        self.convolution(places, inputs, width, kernel, norm)
        self.convolution(places, width, outputs, kernel, norm)

    def inside(self, places, width, context, norm, level):
        """Gates of encoder and decoder, and residual branches."""
        self.convolution(places, width, 2 * width, 1, norm)
        self.convolution(places, width, 2 * width, context, norm)
        sides = 2 if self.kwargs["dconv_mode"] == 3 else 1
        for _ in range(sides * self.kwargs["dconv_depth"]):
            hidden = width // self.kwargs["dconv_compression"]
            self.convolution(places, width, hidden, 3, norm=True)
            self.convolution(places, hidden, 2 * width, 1, norm=True)
            self.parameters += width
            if level >= self.kwargs["dconv_lstm"]:
                self.lstm(places, hidden)
            if level >= self.kwargs["dconv_attention"]:
                self.convolution(places, hidden, 4 * hidden + DECAYS, 1)
                self.products += 2 * places**2 * hidden

    def lstm(self, steps, hidden):
        """Two layers of two directions in windows, and a projection."""
        self.convolution(steps, 2 * hidden, hidden, 1)
        if steps > WINDOW:
            steps = 2 * -(-steps // (WINDOW // 2)) * (WINDOW // 2)
        weights = 2 * 4 * hidden * (2 + 3) * hidden
        self.parameters += weights + 4 * 8 * hidden
        self.products += steps * weights


MUSDB18 = {
    "stems": ["drums", "bass", "other", "vocals"],
    "num_channels": 2,
    "sample_rate": 44100,
    "n_fft": 4096,
    "channels": 48,
    "growth": 2,
    "depth": 6,
    "norm_starts": 4,
    "dconv_mode": 1,
    "dconv_depth": 2,
    "dconv_compression": 4,
    "dconv_lstm": 4,
    "dconv_attention": 4,
    "torchaudio_norm": False,
    "chunk_seconds": 44.0,
}

HYBRID_DEMUCS_PRESETS = [
    HybridDemucsPreset(
        "hybrid_demucs_dnr",
        "Hybrid Demucs v3 as BandIt's authors train it on DnR.",
        {
            **MUSDB18,
            "stems": ["speech", "music", "effects"],
            "num_channels": 1,
            "dconv_scale": 1e-4,
            "torchaudio_norm": True,
            "chunk_seconds": 6.0,
            "crossfade": "hann",
            "standardize_recording": False,
        },
    ),
    HybridDemucsPreset(
        "hybrid_demucs_musdb18", "Hybrid Demucs v3 for MUSDB18-HQ.", MUSDB18
    ),
]
