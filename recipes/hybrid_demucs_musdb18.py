"""Train Hybrid Demucs on MUSDB18-HQ as published, all stems together.

Paper: Défossez 2021, "Hybrid Spectrogram and Waveform Source Separation",
    arXiv:2111.03600, with the settings of facebookresearch/demucs (e976d93).
Command:
    keras-bandit prepare musdb18_hq --manual-dir MUSDB18-HQ --data-dir DATA
    python recipes/hybrid_demucs_musdb18.py --data-dir DATA --output RUN
    The authors' batch of 64 on one device: --batch-size 4
    --accumulation-steps 16.
Hardware: not measured here.
Time: not measured here.
Expected score: not yet measured with this recipe on MUSDB18-HQ.

As theirs: tracks at the level of their mixture, stems of different songs at
random starts, channels exchanged, signs and levels drawn, L1, Adam. Not as
theirs: no moving average of the weights, no change of pitch and tempo, a stem
of any song where they remix groups of four, and validation by the loss.
"""

import functools

import numpy as np
from recipe import PAPER, Recipe, run

from keras_bandit import losses
from keras_bandit.data.track import Track
from keras_bandit.metrics import SISNR, SNR
from keras_bandit.models import AudioSeparator
from keras_bandit.training import paper_optimizer

CONFIG = {
    **PAPER,
    "preset": "hybrid_demucs_musdb18",
    "loss": "L1",
    "dataset": "musdb18_hq",
    "stems": ["drums", "bass", "other", "vocals"],
    # What a shift of up to 1 s leaves of their 11 s.
    "crop_seconds": 10.0,
    "batch_size": 64,
    "validation_hop_seconds": 10.0,
    "epochs": 360,
    "patience": None,
    "learning_rate": 3e-4,
}
del CONFIG["global_clipnorm"]


class LevelledTrack(Track):
    """A track as `separate` gives it to the model: its mixture standardized.

    All stems lose the mean of the mono mixture, and are divided by its
    standard deviation over the whole track.
    """

    def __init__(self, track, stems):
        super().__init__(
            track.name,
            track.sample_rate,
            track.num_channels,
            track.num_samples,
            stems,
        )
        self._track = track

    @functools.cached_property
    def _level(self):
        mono = sum(self._track.read(s) for s in self.stems).mean(axis=0)
        return mono.mean(), mono.std(ddof=1) + np.float32(1e-8)

    def _read(self, stem, start, stop):
        mean, deviation = self._level
        return (self._track.read(stem, start, stop) - mean) / deviation


def augment(rng, sources, sample_rate):
    """Channels exchanged and signs changed half of the time; 0.25 … 1.25."""
    changed = {}
    for stem, audio in sources.items():
        channels = audio[::-1] if rng.random() < 0.5 else audio
        gain = rng.uniform(0.25, 1.25) * rng.choice([-1, 1])
        changed[stem] = np.float32(gain) * channels
    return changed


def build(config):
    """The compiled separator that `config` describes."""
    separator = AudioSeparator.from_preset(
        config["preset"], stems=config["stems"], dtype=config["dtype"]
    )
    optimizer = paper_optimizer(
        config["learning_rate"], None, config["accumulation_steps"]
    )
    loss = losses.get(config["loss"])
    separator.compile(optimizer, loss, metrics=[SNR(), SISNR()])
    return separator


def main(argv=None, config=CONFIG):
    """Trains, or goes on; `--output` holds the presets and the history."""
    recipe = Recipe(argv, __doc__, config)
    config, trained = recipe.config, recipe.open_run()

    def tracks(split):
        return [LevelledTrack(t, config["stems"]) for t in recipe.tracks(split)]

    with recipe.devices.scope():
        separator = build(config)
        stems, rate = config["stems"], separator.sample_rate
        crops = recipe.crops(
            tracks("train"),
            stems,
            rate,
            independent=True,
            augmentations=[augment],
            peak_margin=None,
        )
        validation = recipe.chunks(tracks("validation"), stems, rate)
        recipe.fit(trained, separator, crops, validation)


if __name__ == "__main__":
    run(main)
