"""Demo: train a tiny BandIt on generated clips, then separate an unseen one.

Paper: Watcharasupat et al. 2023, "A Generalized Bandsplit Neural Network for
    Cinematic Audio Source Separation", arXiv:2309.02539. Its musical bands,
    L1SNR loss and structure, made small; generated clips in place of DnR.
Command: make demo, or KERAS_BACKEND=torch python recipes/demo.py --seconds 60
Hardware: 2 CPU cores, 4 GiB.
Time: under three minutes, two of them in fit().
Expected score: SI-SNR gains of 1.7 and 3.2 dB (speech), 3.1 and 4.8 dB (music),
    9.2 and 10.0 dB (effects) on two clips of three unseen scenes; PyTorch, one
    thread, 105 s, 259 steps. Single scenes may lose: one lost 3.8 dB on music.
"""

import argparse
import math
import sys
import time
from pathlib import Path

import keras
import numpy as np
import soundfile
from matplotlib.figure import Figure

from keras_bandit.data import film_clip
from keras_bandit.losses import L1SNR
from keras_bandit.metrics import SISNR, si_snr, snr
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
    "scenes": 3,
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


def score(mixture, targets, estimates):
    """SNR and SI-SNR in dB of mixture and estimate, means over channels.

    Returns:
        `{stem: {metric: (mixture, estimate)}}`.
    """
    tensor = keras.ops.convert_to_tensor
    scores = {}
    for stem, target in targets.items():
        scores[stem] = {
            name: tuple(
                float(keras.ops.mean(ratio(tensor(target), tensor(x))))
                for x in (mixture, estimates[stem])
            )
            for name, ratio in (("SNR", snr), ("SI-SNR", si_snr))
        }
    return scores


def table(scores):
    """The scores as lines of text, with gains."""
    columns = f"{'mixture':>9}{'estimate':>10}{'gain':>7}"
    lines = [
        f"{'':9}{'SNR (dB)':>26}{'SI-SNR (dB)':>28}",
        f"{'stem':9}{columns}  {columns}",
    ]
    for stem, metrics in scores.items():
        cells = [
            f"{before:9.1f}{after:10.1f}{after - before:+7.1f}"
            for before, after in metrics.values()
        ]
        lines.append(f"{stem:9}{'  '.join(cells)}")
    return "\n".join(lines)


def draw(mixture, targets, estimates, sample_rate):
    """Spectrograms: the mixture, then targets beside estimates; a Figure."""
    figure = Figure(figsize=(12, 12), layout="constrained")
    axes = figure.subplots(len(targets) + 1, 2, sharex=True, sharey=True)
    panels = {(0, 0): ("mixture", mixture)}
    for row, stem in enumerate(targets, start=1):
        panels[row, 0] = (f"{stem}: target", targets[stem])
        panels[row, 1] = (f"{stem}: estimate", estimates[stem])
    axes[0, 1].set_axis_off()
    for (row, column), (title, audio) in panels.items():
        axis = axes[row, column]
        # -120 dB keeps digital silence drawable.
        audio = audio[0] + 1e-6 * np.random.default_rng(0).normal(
            size=audio.shape[-1]
        )
        *_, image = axis.specgram(
            audio,
            NFFT=2048,
            noverlap=1536,
            Fs=sample_rate,
            vmin=-120,
            vmax=-40,
            cmap="magma",
        )
        axis.set(title=title, ylim=(0, 10000))
    for axis in axes[-1]:
        axis.set_xlabel("time (s)")
    for axis in axes[:, 0]:
        axis.set_ylabel("frequency (Hz)")
    figure.colorbar(image, ax=axes, label="power density (dB)", shrink=0.6)
    return figure


def save(output, mixture, targets, estimates, sample_rate):
    """Writes mixture, targets, estimates (float WAV) and the picture."""
    output.mkdir(parents=True, exist_ok=True)
    files = {"mixture": mixture}
    files |= {f"target_{stem}": audio for stem, audio in targets.items()}
    files |= {f"estimate_{stem}": audio for stem, audio in estimates.items()}
    for name, audio in files.items():
        soundfile.write(
            output / f"{name}.wav", audio.T, sample_rate, subtype="FLOAT"
        )
    figure = draw(mixture, targets, estimates, sample_rate)
    figure.savefig(output / "spectrograms.png", dpi=80)


def render(config, count, seed):
    """Clips for training; seeds `[seed, 0, …]` are left for the unseen one."""
    return [
        film_clip(
            config["clip_seconds"],
            config["sample_rate"],
            seed=[seed, number],
        )
        for number in range(1, count + 1)
    ]


def render_unseen(config, seed):
    """A clip of several scenes, none of which is in the training clips.

    One scene's music or speech can be hard to tell from its effects; a film
    is more than one scene.

    Returns:
        `{stem: (channels, samples)}`.
    """
    scenes = [
        film_clip(
            config["clip_seconds"],
            config["sample_rate"],
            seed=[seed, 0, scene],
        )
        for scene in range(config["scenes"])
    ]
    return {
        stem: np.concatenate([scene[stem] for scene in scenes], axis=-1)
        for stem in config["stems"]
    }


def main(argv=None, config=CONFIG):
    """Runs the demo; returns the exit status, 1 if a stem gains no SI-SNR."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--seconds", type=float, default=110.0, help="training time, ≤ 120"
    )
    parser.add_argument("--output", type=Path, default=Path("demo_output"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--report-only",
        action="store_true",
        help="exit with 0 whatever the scores: a short run promises no gain",
    )
    arguments = parser.parse_args(argv)
    if not 0 < arguments.seconds <= 120:
        parser.error(f"--seconds must be in (0, 120]; got {arguments.seconds}")
    seed, sample_rate = arguments.seed, config["sample_rate"]

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

    targets = render_unseen(config, seed)
    mixture = sum(targets.values())
    estimates = separator.separate(mixture, sample_rate)
    save(arguments.output, mixture, targets, estimates, sample_rate)
    scores = score(mixture, targets, estimates)
    print(table(scores))
    print(f"stems and spectrograms.png are in {arguments.output}/")
    worse = [
        stem
        for stem, metrics in scores.items()
        if not metrics["SI-SNR"][1] > metrics["SI-SNR"][0]
    ]
    if worse:
        print(f"no gain in SI-SNR: {', '.join(worse)}", file=sys.stderr)
    return 1 if worse and not arguments.report_only else 0


if __name__ == "__main__":
    sys.exit(main())
