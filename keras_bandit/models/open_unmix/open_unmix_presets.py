"""Built-in architectures of Open-Unmix: plain data, no Keras."""

from keras_bandit.models.preset import Preset, Sizes


class OpenUnmixPreset(Preset):
    """A network per stem, from magnitudes to a mask."""

    model = "OpenUnmixAudioSeparator"

    def sizes(self, seconds=6.0):
        kwargs = self.separator
        channels, hidden = kwargs["num_channels"], kwargs["hidden_dim"]
        outputs = channels * (kwargs["n_fft"] // 2 + 1)
        inputs = channels * kwargs["num_input_bins"]
        directions = 2 if kwargs["bidirectional"] else 1
        units = hidden // directions
        # fc1, three LSTM layers, fc2, fc3
        lstm = 3 * directions * 4 * units * (hidden + units)
        products = inputs * hidden + lstm + 2 * hidden**2 + hidden * outputs
        parameters = (
            products
            + 3 * directions * 8 * units  # two biases of four gates
            + 2 * (2 * hidden + outputs)  # batch normalization
            + 2 * (inputs + outputs) // channels  # scaling
        )
        samples = int(seconds * kwargs["sample_rate"])
        frames = 1 + samples // kwargs["hop_length"]
        stems = len(self.stems)
        return Sizes(stems * parameters, stems * frames * products)


def _open_unmix(name, description, stems, **changed):
    separator = {
        "stems": stems,
        "num_channels": 2,
        "n_fft": 4096,
        "hop_length": 1024,
        "sample_rate": 44100,
        "num_input_bins": 1487,  # up to 16 kHz
        "hidden_dim": 512,
        "bidirectional": True,
        "niter": 1,
        **changed,
    }
    return OpenUnmixPreset(name, description, separator)


MUSDB_STEMS = ["vocals", "drums", "bass", "other"]

OPEN_UNMIX_PRESETS = [
    _open_unmix(
        "open_unmix_dnr",
        "Open-Unmix as BandIt's authors train it on DnR: no Wiener filter.",
        ["speech", "music", "effects"],
        num_channels=1,
        num_input_bins=2049,
        niter=0,
        centred_training=True,
        chunk_seconds=6.0,
        crossfade="hann",
    ),
    _open_unmix("open_unmix_hq", "Open-Unmix for MUSDB18-HQ.", MUSDB_STEMS),
    _open_unmix(
        "open_unmix_l",
        "Open-Unmix with twice as many units.",
        MUSDB_STEMS,
        hidden_dim=1024,
    ),
    _open_unmix(
        "open_unmix_speech",
        "Open-Unmix for speech in noise, 16 kHz mono.",
        ["speech", "noise"],
        num_channels=1,
        n_fft=1024,
        hop_length=512,
        sample_rate=16000,
        num_input_bins=513,
        hidden_dim=256,
    ),
]
