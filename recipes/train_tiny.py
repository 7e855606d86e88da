"""Train a tiny BandIt on generated clips, from nothing, in two minutes.

Then separate three generated scenes that it has not heard, as demo.py does
with a clip of recorded sounds, which is too much for it.


Paper: Watcharasupat et al. 2023, "A Generalized Bandsplit Neural Network for
    Cinematic Audio Source Separation", arXiv:2309.02539. Its musical bands,
    L1SNR loss and structure, made small; generated clips in place of DnR.
Command: make train, or
    python recipes/train_tiny.py --output TINY
Hardware: 2 CPU cores, 4 GiB.
Time: under three minutes, two of them in fit().
Expected score: not measured again since random_crops mixes the clips. With the
    loader before it, SI-SNR gains of 1.7 and 3.2 dB (speech), 3.1 and 4.8 dB
    (music), 9.2 and 10.0 dB (effects) on two clips of three unseen scenes;
    PyTorch, one thread, 105 s, 259 steps. Single scenes may lose.
"""

import argparse
import math
import pathlib
import time

import numpy as np
from demo import STEMS, report
from recipe import compile_model, run

# isort: split
import keras

from keras_bandit.data import Gain, film_clip, random_crops
from keras_bandit.data.track import ArrayTrack
from keras_bandit.models import BanditAudioSeparator

CONFIG = {
    "stems": STEMS,
    "backbone": {
        "band_layout": "musical",
        "num_bands": 16,
        "sample_rate": 22050,
        "n_fft": 1024,
        "embed_dim": 32,
        "rnn_dim": 48,
        "num_pairs": 1,
    },
    "hop_length": 256,
    "mlp_dim": 32,
    "loss": "L1SNR",
    "clips": 40,
    "clip_seconds": 12.0,
    "crop_seconds": 1.5,
    "gain_db": 3.0,
    "batch_size": 4,
    "steps_per_epoch": 20,
    "learning_rate": 1e-2,
    "global_clipnorm": 5.0,
    "warmup": 0.05,
    "scenes": 3,
}


class TimedSchedule(keras.callbacks.Callback):
    """Ends training on time; the learning rate follows the clock.

    It rises linearly over the first `warmup`, a share of the time, and falls
    along a cosine to zero, set once per epoch, so that a slow machine, too,
    ends on small steps.
    """

    def __init__(self, seconds, learning_rate, warmup):
        super().__init__()
        self.seconds = seconds
        self.learning_rate, self.warmup = learning_rate, warmup

    def _elapsed(self):
        return min((time.monotonic() - self.start) / self.seconds, 1.0)

    def on_train_begin(self, logs=None):
        self.start = time.monotonic()

    def on_epoch_begin(self, epoch, logs=None):
        elapsed = self._elapsed()
        rise = min((elapsed + 0.01) / (self.warmup + 0.01), 1.0)
        fall = 0.5 + 0.5 * math.cos(math.pi * elapsed)
        self.model.optimizer.learning_rate = self.learning_rate * rise * fall

    def on_train_batch_end(self, batch, logs=None):
        if self._elapsed() >= 1:
            self.model.stop_training = True


def build(config):
    """The compiled tiny BandIt that `config` describes."""
    separator = BanditAudioSeparator.from_architecture(
        config["backbone"],
        {name: config[name] for name in ("stems", "hop_length", "mlp_dim")},
    )
    return compile_model(separator, config)


def generated_tracks(count, seconds, sample_rate, seed):
    """Clips of the package's own generators, list of `Track`.

    `scenes` have seeds `[0, …]`, which are not among them.
    """
    return [
        ArrayTrack(
            f"generated_{number}",
            sample_rate,
            film_clip(seconds, sample_rate, seed=[number, seed]),
        )
        for number in range(1, count + 1)
    ]


def training_data(config, seed):
    """New mixtures every epoch: each stem from its own clip, place and gain."""
    rate, gain_db = config["backbone"]["sample_rate"], config["gain_db"]
    return random_crops(
        generated_tracks(config["clips"], config["clip_seconds"], rate, seed),
        config["stems"],
        crop_seconds=config["crop_seconds"],
        batch_size=config["batch_size"],
        epoch_size=config["batch_size"] * config["steps_per_epoch"],
        independent=True,
        augmentations=[Gain(p=1.0, gain_db=(-gain_db, gain_db))],
        seed=seed,
    )


def scenes(config, seed):
    """`{stem: audio}` of scenes that are not among the training clips."""
    seconds, rate = config["clip_seconds"], config["backbone"]["sample_rate"]
    made = [
        film_clip(seconds, rate, seed=[0, seed, number])
        for number in range(config["scenes"])
    ]
    return {
        stem: np.concatenate([scene[stem] for scene in made], axis=-1)
        for stem in config["stems"]
    }


def main(argv=None, config=CONFIG):
    """Trains; writes a preset directory, stems and a picture in `scenes/`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--seconds", type=float, default=110.0, help="training time, ≤ 120"
    )
    output = pathlib.Path("tiny_bandit")
    parser.add_argument("--output", type=pathlib.Path, default=output)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    if not 0 < arguments.seconds <= 120:
        parser.error(f"--seconds must be in (0, 120]; got {arguments.seconds}")
    if arguments.output.exists():
        parser.error(f"--output must be new; got {arguments.output}")

    print(f"rendering {config['clips']} clips", flush=True)
    data = training_data(config, arguments.seed)
    keras.utils.set_random_seed(arguments.seed)
    separator = build(config)
    print(f"training for {arguments.seconds:g} s on {keras.config.backend()}")
    schedule = TimedSchedule(
        arguments.seconds, config["learning_rate"], config["warmup"]
    )
    separator.fit(data, epochs=10_000, callbacks=[schedule], verbose=2)
    separator.save_to_preset(arguments.output)
    targets = scenes(config, arguments.seed)
    return report(
        separator,
        sum(targets.values()),
        targets,
        separator.sample_rate,
        arguments.output / "scenes",
    )


if __name__ == "__main__":
    run(main)
