"""Train `bandit_demo` on natural sounds, in the time that there is.

Paper: Watcharasupat et al. 2023, "A Generalized Bandsplit Neural Network for
    Cinematic Audio Source Separation", arXiv:2309.02539: its structure, musical
    bands and L2SNR, made small; mixtures as in DnR (arXiv:2110.09958), made
    anew for every step from the sounds of natural_sounds.py.
Command:
    KERAS_BACKEND=torch python recipes/train_natural.py --data-dir SOUNDS \
        --output RUN --seconds 6300 --batch-size 8 --learning-rate 1e-3
    KERAS_BACKEND=torch python recipes/train_natural.py --data-dir PACK \
        --output RUN --seconds 330    # in the minutes that a GPU is lent
    A further run goes on with --initial RUN/preset; bandit_demo.py makes what
    ships of the last one.
Hardware: a CPU; or one GPU of 80 GiB and 16 CPU cores.
Time: what --seconds says, reading (a minute or two) counted.
Expected score: docs/training.md, "The demonstration preset".

The rate falls with the clock, not with steps. RUN/preset has the mean of the
weights of the last steps, written every --report-seconds; RUN/log.jsonl the
losses and scores.
"""

import argparse
import json
import math
import os
import pathlib
import time

import torch
from film_crops import STEMS, FilmCrops, read_banks
from recipe import run

# isort: split
import keras

from keras_bandit.losses import L2SNR
from keras_bandit.metrics import si_snr, snr
from keras_bandit.models import AudioSeparator

CLIP_NORM = 5.0
WARMUP = 0.04  # of the time
AVERAGE_STEPS = 100  # of the mean of the weights, exponential
VALIDATION_CROPS, VALIDATION_SECONDS = 48, 6.0


class Trainer:
    """A separator in training, the mean of its weights, and both's scores.

    Args:
        preset: str. What to go on from.
        dtype: str. Of the separator in training; the mean is float32.
        loss: `SeparationLoss`.
    """

    def __init__(self, preset, dtype, loss):
        self.separator = AudioSeparator.from_preset(preset, dtype=dtype)
        self.mean = AudioSeparator.from_preset(preset, dtype="float32")
        self.restart_mean()
        self.loss = loss
        self.weights = [v.value for v in self.separator.trainable_variables]
        fused = self.weights[0].is_cuda
        self.optimizer = torch.optim.Adam(self.weights, lr=0.0, fused=fused)
        self.steps = 0

    def _pairs(self):
        pairs = zip(self.separator.variables, self.mean.variables, strict=True)
        return [(a.value.data, b.value.data) for a, b in pairs]

    def restart_mean(self):
        """Sets the mean to the present weights."""
        for value, mean in self._pairs():
            mean.copy_(value)

    def step(self, mixture, targets, learning_rate):
        """One step; the loss stays on the device."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.zero_grad(set_to_none=True)
        estimates = self.separator([mixture], training=True)
        with torch.no_grad():
            domains = self.separator.domains(targets)
        loss = self.loss({"waveform": targets, **domains}, estimates)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights, CLIP_NORM)
        self.optimizer.step()
        self.steps += 1
        part = max(1 / AVERAGE_STEPS, 1 / self.steps)
        with torch.no_grad():
            values, means = zip(*self._pairs(), strict=True)
            torch._foreach_lerp_(list(means), list(values), part)
        return loss.detach()

    def scores(self, separator, batches):
        """Mean SNR and SI-SNR of each stem and of all, dB."""
        found = {}
        with torch.no_grad():
            for mixture, targets in batches:
                for stem, estimate in separator(mixture).items():
                    for ratio in (snr, si_snr):
                        name = f"{ratio.__name__}_{stem}"
                        values = ratio(targets[stem], estimate)
                        found.setdefault(name, []).append(values)
        scores = {k: float(torch.cat(v).mean()) for k, v in found.items()}
        for metric in ("snr", "si_snr"):
            stems = [scores[f"{metric}_{stem}"] for stem in STEMS]
            scores[metric] = sum(stems) / len(stems)
        return {name: round(score, 3) for name, score in scores.items()}


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data-dir", type=pathlib.Path, required=True)
    add("--output", type=pathlib.Path, required=True)
    add("--initial", default="bandit_demo", help="preset to go on from")
    add(
        "--seconds",
        type=float,
        default=330.0,
        help="from after the imports to the end",
    )
    add("--end-seconds", type=float, default=8.0, help="to score and save")
    add("--report-seconds", type=float, default=60.0)
    add("--max-steps", type=int, help="stop earlier, for trials")
    add("--batch-size", type=int, default=64)
    add("--crop-seconds", type=float, default=4.0)
    add("--learning-rate", type=float, default=2e-3)
    add("--dtype", choices=("float32", "mixed_bfloat16"), default="float32")
    add("--speeds", type=float, nargs="+", default=[0.89, 1.0, 1.12])
    add("--workers", type=int, default=os.cpu_count())
    add("--seed", type=int, default=42)
    return parser.parse_args(argv)


def main(argv=None):
    """Trains for a time and writes `--output`/preset and log.jsonl."""
    arguments = parse(argv)
    begin = time.monotonic()
    arguments.output.mkdir(parents=True, exist_ok=True)
    log = arguments.output / "log.jsonl"

    def report(**values):
        values = {"clock": round(time.monotonic() - begin, 1), **values}
        print(json.dumps(values), flush=True)
        with log.open("a") as file:
            file.write(json.dumps(values) + "\n")

    torch.set_float32_matmul_precision("high")  # TF32 for float32
    torch.manual_seed(arguments.seed)
    keras.utils.set_random_seed(arguments.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    trainer = Trainer(arguments.initial, arguments.dtype, L2SNR(epsilon=1e-5))
    rate = trainer.mean.sample_rate

    def crops(split, speeds, seconds, seed, augment):
        folder = arguments.data_dir / split
        banks = read_banks(folder, rate, speeds, device, arguments.workers)
        hours = {k: len(b.samples) / rate / 3600 for k, b in banks.items()}
        report(split=split, hours={k: round(h, 2) for k, h in hours.items()})
        return FilmCrops(banks, seconds, rate, seed, augment)

    train = crops(
        "train", arguments.speeds, arguments.crop_seconds, arguments.seed, True
    )
    held_out = crops("validation", [1.0], VALIDATION_SECONDS, 0, False)
    size = min(VALIDATION_CROPS, 2 * arguments.batch_size)
    batches = [held_out.batch(size // 2) for _ in range(2)]
    report(
        device=torch.cuda.get_device_name() if device == "cuda" else "cpu",
        parameters=trainer.mean.count_params(),
        dtype=arguments.dtype,
        scores=trainer.scores(trainer.mean, batches),
    )
    training = {
        "config": {k: str(v) for k, v in vars(arguments).items()},
        "seed": arguments.seed,
        "backend": f"torch {torch.__version__}",
        "dtype": arguments.dtype,
    }

    def validate():
        scores = trainer.scores(trainer.mean, batches)
        training["logs"] = {f"val_{k}": v for k, v in scores.items()}
        training["steps"] = trainer.steps
        last = trainer.scores(trainer.separator, batches)
        report(
            steps=trainer.steps,
            crops=seen,
            loss=round(sum(map(float, losses)) / max(len(losses), 1), 3),
            learning_rate=round(learning_rate, 6),
            mean=scores,
            last=last,
        )
        if last["si_snr"] > scores["si_snr"]:
            trainer.restart_mean()
            training["logs"] = {f"val_{k}": v for k, v in last.items()}
        trainer.mean.metadata = {"training": training}
        trainer.mean.save_to_preset(arguments.output / "preset")
        losses.clear()

    start = reported = time.monotonic()
    seconds = begin + arguments.seconds - arguments.end_seconds - start
    if seconds <= 0:
        raise ValueError(
            f"--seconds must be more than the {start - begin:.0f} s that "
            f"reading took; got {arguments.seconds:g}"
        )
    batch_size = arguments.batch_size
    seen, losses = 0, []
    while (part := (time.monotonic() - start) / seconds) < 1:
        rising = min(part / WARMUP, 1.0)
        falling = 0.5 * (1 + math.cos(math.pi * part))
        learning_rate = arguments.learning_rate * rising * falling
        try:
            batch = train.batch(batch_size)
            losses.append(trainer.step(*batch, learning_rate))
        except torch.cuda.OutOfMemoryError:
            batch = None
            torch.cuda.empty_cache()
            batch_size //= 2
            report(batch_size=batch_size)
            if not batch_size:
                raise
            continue
        seen += batch_size
        if trainer.steps == arguments.max_steps:
            break
        if trainer.steps % 10 == 0:  # let the clock see the device's work
            losses[-1].item()
        if time.monotonic() - reported > arguments.report_seconds:
            validate()
            reported = time.monotonic()
    validate()


if __name__ == "__main__":
    run(main)
