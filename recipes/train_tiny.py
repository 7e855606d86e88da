"""Train a tiny BandIt on generated clips, from nothing, in two minutes.

Paper: Watcharasupat et al. 2023, "A Generalized Bandsplit Neural Network for
    Cinematic Audio Source Separation", arXiv:2309.02539. Its musical bands,
    L1SNR loss and structure, made small; generated clips in place of DnR.
Command: make train, or
    python recipes/train_tiny.py --output TINY
    python recipes/demo.py --preset TINY
Hardware: 2 CPU cores, 4 GiB.
Time: under three minutes, two of them in fit().
Expected score: SI-SNR gains of 1.7 and 3.2 dB (speech), 3.1 and 4.8 dB (music),
    9.2 and 10.0 dB (effects) on two clips of three unseen scenes; PyTorch, one
    thread, 105 s, 259 steps. Single scenes may lose: one lost 3.8 dB on music.
"""

import argparse
import math
import time
from pathlib import Path

import keras
import numpy as np

from keras_bandit.data import film_clip
from keras_bandit.losses import L1SNR
from keras_bandit.metrics import SISNR
from keras_bandit.models import BanditAudioSeparator, BanditBackbone

CONFIG = {
    "stems": ["speech", "music", "effects"],
    "sample_rate": 22050,
    "band_layout": "musical",
    "num_bands": 16,
    "n_fft": 1024,
    "hop_length": 256,
    "embed_dim": 32,
    "rnn_dim": 48,
    "num_pairs": 1,
    "mlp_dim": 32,
    "clips": 40,
    "clip_seconds": 12.0,
    "crop_seconds": 1.5,
    "gain_db": 3.0,
    "batch_size": 4,
    "steps_per_epoch": 20,
    "learning_rate": 1e-2,
    "warmup": 0.05,
}


class RandomMixtures(keras.utils.PyDataset):
    """New mixtures every epoch: each stem from its own clip, place and gain.

    Args:
        clips: list of dicts `{stem: (channels, samples)}`, all of one size.
        config: dict as `CONFIG`.
        seed: int.

    Returns:
        Items `(mixture, {stem: target})`, `(batch, channels, samples)` each.
    """

    def __init__(self, clips, config, seed):
        super().__init__()
        self.clips = clips
        self.config = config
        self.seed = seed
        self.epoch = 0

    def __len__(self):
        return self.config["steps_per_epoch"]

    def _crop(self, rng, stem):
        clip = self.clips[rng.integers(len(self.clips))][stem]
        samples = round(
            self.config["crop_seconds"] * self.config["sample_rate"]
        )
        start = rng.integers(clip.shape[-1] - samples + 1)
        gain_db = rng.uniform(-1, 1) * self.config["gain_db"]
        gain = np.float32(10 ** (gain_db / 20))
        return gain * clip[:, start : start + samples]

    def __getitem__(self, index):
        rng = np.random.default_rng([self.seed, self.epoch, index])
        targets = {
            stem: np.stack(
                [
                    self._crop(rng, stem)
                    for _ in range(self.config["batch_size"])
                ]
            )
            for stem in self.config["stems"]
        }
        return sum(targets.values()), targets

    def on_epoch_end(self):
        self.epoch += 1


class TimedSchedule(keras.callbacks.Callback):
    """Ends training on time; the learning rate follows the clock.

    It rises linearly over the first `warmup` of the time and falls along a
    cosine to zero, set once per epoch, so that a slow machine, too, ends on
    small steps.

    Args:
        seconds: float. Wall-clock time, compilation included.
        learning_rate: float. The highest.
        warmup: float. Share of the time, 0 … 1.
    """

    def __init__(self, seconds, learning_rate, warmup):
        super().__init__()
        self.seconds = seconds
        self.learning_rate = learning_rate
        self.warmup = warmup

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
    backbone = BanditBackbone(
        band_layout=config["band_layout"],
        num_bands=config["num_bands"],
        sample_rate=config["sample_rate"],
        n_fft=config["n_fft"],
        embed_dim=config["embed_dim"],
        rnn_dim=config["rnn_dim"],
        num_pairs=config["num_pairs"],
    )
    separator = BanditAudioSeparator(
        backbone=backbone,
        stems=config["stems"],
        hop_length=config["hop_length"],
        mlp_dim=config["mlp_dim"],
    )
    optimizer = keras.optimizers.Adam(
        config["learning_rate"], epsilon=1e-8, global_clipnorm=5.0
    )
    separator.compile(optimizer=optimizer, loss=L1SNR(), metrics=[SISNR()])
    return separator


def render(config, count, seed):
    """Clips for training; the seeds `[0, …]` are left for `demo.py`."""
    return [
        film_clip(
            config["clip_seconds"],
            config["sample_rate"],
            seed=[number, seed],
        )
        for number in range(1, count + 1)
    ]


def main(argv=None, config=CONFIG):
    """Trains; writes a preset directory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--seconds", type=float, default=110.0, help="training time, ≤ 120"
    )
    parser.add_argument("--output", type=Path, default=Path("tiny_bandit"))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    if not 0 < arguments.seconds <= 120:
        parser.error(f"--seconds must be in (0, 120]; got {arguments.seconds}")
    if arguments.output.exists():
        parser.error(f"--output must be new; got {arguments.output}")
    seed = arguments.seed

    print(f"rendering {config['clips']} clips", flush=True)
    clips = render(config, config["clips"], seed)
    keras.utils.set_random_seed(seed)
    separator = build(config)
    print(f"training for {arguments.seconds:g} s on {keras.backend.backend()}")
    schedule = TimedSchedule(
        arguments.seconds, config["learning_rate"], config["warmup"]
    )
    separator.fit(
        RandomMixtures(clips, config, seed),
        epochs=10_000,
        callbacks=[schedule],
        verbose=2,
    )
    separator.save_to_preset(arguments.output)


if __name__ == "__main__":
    main()
