"""Built-in architectures of MRX: plain data, no Keras."""

from keras_bandit.models.preset import Preset, Sizes


class MRXPreset(Preset):
    """Encoders and decoders for each resolution, an LSTM for each stem."""

    model = "MRXAudioSeparator"

    def sizes(self, seconds=6.0):
        kwargs = self.separator
        hidden, stems = kwargs["hidden_dim"], len(self.stems)
        layers = kwargs["num_layers"]
        products = parameters = 0
        for n_fft in kwargs["window_lengths"]:
            bins = n_fft // 2 + 1
            products += bins * hidden + stems * (2 * hidden + bins) * hidden
            parameters += 2 * (bins + hidden)  # normalization
            parameters += stems * 2 * (hidden + bins)
        # Two directions of four gates of half as many units.
        products += stems * layers * 4 * hidden * (hidden + hidden // 2)
        parameters += stems * layers * 8 * hidden + products
        samples = int(seconds * kwargs["sample_rate"])
        frames = 1 + samples // kwargs["hop_length"]
        return Sizes(parameters, frames * products)


def _mrx(name, description, mixture_consistency=None):
    return MRXPreset(
        name,
        description,
        {
            "stems": ["music", "speech", "sfx"],
            "window_lengths": [1024, 2048, 8192],
            "hop_length": 256,
            "hidden_dim": 512,
            "num_layers": 3,
            "mixture_consistency": mixture_consistency,
            "sample_rate": 44100,
        },
    )


MRX_PRESETS = [
    _mrx("mrx", "MRX for DnR: three resolutions."),
    _mrx("mrx_c", "MRX whose stems add up to the mixture.", "all"),
]
