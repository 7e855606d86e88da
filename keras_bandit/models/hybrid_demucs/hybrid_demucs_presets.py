"""Built-in architectures of Hybrid Demucs: plain data, no Keras."""

from keras_bandit.models.preset import Preset, Sizes

KERNEL, STRIDE = 8, 4
HEADS, DECAYS = 4, 4
WINDOW = 200


class HybridDemucsPreset(Preset):
    """Layers of two U-Nets, counted as `HybridNetwork` makes them.

    Transposed convolutions count for each input position, as they are
    computed. BandIt's Table 1 counts them for each output position, four
    times as many: 85.0 G there are these 59.5 G.
    """

    model = "HybridDemucsAudioSeparator"

    def sizes(self, seconds=6.0):
        kwargs = self.separator
        samples = int(seconds * kwargs["sample_rate"])
        frames = -(-samples // (kwargs["n_fft"] // 4))
        counts = list(_layers(kwargs, samples, frames))
        return Sizes(
            sum(weights + others for _, weights, others in counts),
            sum(positions * weights for positions, weights, _ in counts)
            + _attention(kwargs, frames),
        )


def _layers(kwargs, samples, frames):
    """Of each layer: positions, weights at each of them, other parameters."""
    channels, depth = kwargs["num_channels"], kwargs["depth"]
    stems, rows = len(kwargs["stems"]), kwargs["n_fft"] // 2
    inputs, time_inputs = 2 * channels, channels
    outputs, time_outputs = stems * 2 * channels, stems * channels
    width, steps = kwargs["channels"], samples
    yield 0, 0, rows // STRIDE * width  # embedding
    for i in range(depth):
        norm = 2 * width * (1 + 2) if i >= kwargs["norm_starts"] else 0
        out_norm = 2 * outputs + 4 * width if norm else 0
        empty_norm = 2 * outputs if norm else 0
        deep = i >= kwargs["dconv_lstm"]
        if rows == 1:  # shared by both branches
            frames = -(-frames // 2)
            yield frames, inputs * width * 4, width
            yield from _dconv(kwargs, width, frames, deep)
            yield frames, 2 * width**2, 2 * width + norm
            yield frames, 2 * width**2 * 3, 2 * width
            yield frames, width * outputs * 4, outputs + out_norm
        else:
            kernel = min(KERNEL, rows)
            last = rows <= KERNEL
            rows = 1 if last else rows // STRIDE
            steps = -(-steps // STRIDE)
            places = rows * frames
            yield places, inputs * width * kernel, width
            yield from _dconv(kwargs, width, places, deep)
            yield places, 2 * width**2, 2 * width + norm
            yield places, 2 * width**2 * 9, 2 * width
            yield places, width * outputs * kernel, outputs + out_norm
            yield steps, time_inputs * width * KERNEL, width
            yield steps, width * time_outputs * KERNEL, time_outputs
            if last:
                yield 0, 0, empty_norm
            else:
                yield from _dconv(kwargs, width, steps, deep)
                yield steps, 2 * width**2, 2 * width + norm
                yield steps, 2 * width**2 * 3, 2 * width
                yield 0, 0, out_norm
        inputs = time_inputs = outputs = time_outputs = width
        width *= kwargs["growth"]


def _dconv(kwargs, width, places, deep):
    hidden = width // kwargs["dconv_compression"]
    for _ in range(kwargs["dconv_depth"]):
        yield places, 3 * width * hidden, hidden + 2 * hidden
        if deep:
            # Two layers of two directions, in windows, and a projection. One
            # row of bins is left where LSTMs begin.
            steps = places
            if steps > WINDOW:
                steps = 2 * -(-steps // (WINDOW // 2)) * (WINDOW // 2)
            yield steps, 2 * 4 * hidden * (2 + 3) * hidden, 4 * 8 * hidden
            yield places, 2 * hidden**2, hidden
            decays = HEADS * DECAYS
            yield places, (4 * hidden + decays) * hidden, 4 * hidden + decays
        yield places, 2 * width * hidden, 2 * width + 4 * width + width


def _attention(kwargs, frames):
    """Products of each step with each other one."""
    total, width = 0, kwargs["channels"]
    rows = kwargs["n_fft"] // 2
    for i in range(kwargs["depth"]):
        if rows == 1:
            frames = -(-frames // 2)
        rows = 1 if rows <= KERNEL else rows // STRIDE
        if i >= kwargs["dconv_attention"]:
            hidden = width // kwargs["dconv_compression"]
            total += kwargs["dconv_depth"] * 2 * frames**2 * hidden
        width *= kwargs["growth"]
    return total


def _hybrid_demucs(name, description, stems, num_channels, **changed):
    return HybridDemucsPreset(
        name,
        description,
        {
            "stems": stems,
            "num_channels": num_channels,
            "sample_rate": 44100,
            "n_fft": 4096,
            "channels": 48,
            "growth": 2,
            "depth": 6,
            "norm_starts": 4,
            "dconv_depth": 2,
            "dconv_compression": 4,
            "dconv_lstm": 4,
            "dconv_attention": 4,
            **changed,
        },
    )


HYBRID_DEMUCS_PRESETS = [
    _hybrid_demucs(
        "hybrid_demucs_dnr",
        "Hybrid Demucs v3 as BandIt's authors train it on DnR.",
        ["speech", "music", "effects"],
        1,
        chunk_seconds=6.0,
        crossfade="hann",
        standardize_recording=False,
        dconv_scale=1e-4,
    ),
    _hybrid_demucs(
        "hybrid_demucs_musdb18",
        "Hybrid Demucs v3 for MUSDB18-HQ.",
        ["drums", "bass", "other", "vocals"],
        2,
        chunk_seconds=44.0,
    ),
]
