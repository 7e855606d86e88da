"""Train `bandit_demo` on natural sounds, in the minutes that a GPU is lent.

Paper: Watcharasupat et al. 2023, "A Generalized Bandsplit Neural Network for
    Cinematic Audio Source Separation", arXiv:2309.02539: its structure, musical
    bands and L2SNR, made small; mixtures as in DnR (arXiv:2110.09958), made
    anew for every step from the sounds of natural_sounds.py.
Command:
    python recipes/natural_sounds.py PACKAGES PACK --opus --mib 44
    KERAS_BACKEND=torch python recipes/train_natural.py --data-dir PACK \
        --output RUN --seconds 330
Hardware: one GPU of 80 GiB, 16 CPU cores; or any CPU, with --batch-size 4.
Time: what --seconds says, after about a minute of decoding and trials.
Expected score: docs/training.md, "The demonstration preset".

The rate falls with the clock, not with steps. RUN/preset has the mean of the
weights of the last steps, written every minute; RUN/log.jsonl the losses.
"""

import argparse
import json
import math
import os
import pathlib
import time

import keras
import numpy as np
import torch
from film_crops import STEMS, FilmCrops, read_banks

from keras_bandit.losses import L2SNR
from keras_bandit.models import AudioSeparator, BanditAudioSeparator

# Sizes that differ from those of the preset that is trained on. Each ships
# within 4 MB in half precision. Those of FROM_SCRATCH start with new weights.
CONFIGS = {
    "same": {},
    "deeper": {"num_pairs": 7},
    "larger": {"num_pairs": 7, "rnn_dim": 64},
    "scratch": {"num_pairs": 6, "rnn_dim": 64, "embed_dim": 48},
    "tiny": {"num_pairs": 1, "rnn_dim": 8, "embed_dim": 8},
}
FROM_SCRATCH = ("scratch", "tiny")
SIZES = {
    "band_layout": "musical",
    "num_bands": 24,
    "sample_rate": 44100,
    "n_fft": 2048,
    "embed_dim": 40,
    "rnn_dim": 56,
    "num_pairs": 5,
}
OTHERS = {"stems": list(STEMS), "hop_length": 512, "mlp_dim": 32}
CLIP_NORM = 5.0
WARMUP = 0.04  # of the time
AVERAGE_STEPS = 100  # of the mean of the weights, exponential
VALIDATION_CROPS, VALIDATION_SECONDS = 48, 6.0
# Half precision must be worth what it loses.
LEAST_SPEEDUP = 1.25


def new_separator(sizes, dtype="float32"):
    """A separator with initial weights."""
    return BanditAudioSeparator.from_architecture(
        {name: sizes[name] for name in SIZES},
        {name: sizes[name] for name in OTHERS},
        dtype,
    )


def _grown_weight(path, old, new):
    """A weight with more units: the old ones first in every gate or direction.

    Args:
        path: str. Of the variable.
        old, new: arrays of as many axes; `new` is random.
    """
    if old.shape == new.shape:
        return old
    if any(a > b for a, b in zip(old.shape, new.shape, strict=True)):
        raise ValueError(
            f"{path} must not shrink from {old.shape} to {new.shape}"
        )
    if path.endswith("projection/kernel"):  # (2 * units, embed_dim)
        grown = np.zeros_like(new).reshape(2, -1, new.shape[-1])
        old = old.reshape(2, -1, old.shape[-1])
        grown[:, : old.shape[1]] = old
        return grown.reshape(new.shape)
    grown = new.reshape(*new.shape[:-1], 3, -1).copy()
    old = old.reshape(*old.shape[:-1], 3, -1)
    units = old.shape[-1]
    if path.endswith("recurrent_kernel"):  # (2, units, 3 * units)
        grown[:, units:, :, :units] = 0.0
        grown[:, :units, :, :units] = old
    else:
        grown[..., :units] = old
    return grown.reshape(new.shape)


def grow(larger, separator):
    """Gives a separator of more pairs and units what a smaller one does.

    New pairs come last, with projections of zero. New units hear all others
    and lead nowhere, until training moves the zeros.

    Raises:
        ValueError: if the separator is the larger one, or of another kind.
    """
    known = {v.path: keras.ops.convert_to_numpy(v) for v in separator.variables}
    missing = known.keys() - {v.path for v in larger.variables}
    if missing:
        raise ValueError(f"the larger one must have {sorted(missing)}")
    for variable in larger.variables:
        new = keras.ops.convert_to_numpy(variable)
        if variable.path in known:
            variable.assign(
                _grown_weight(variable.path, known[variable.path], new)
            )
        elif "/projection/" in variable.path:
            variable.assign(np.zeros_like(new))


def separators(config, initial):
    """A function of the dtype that makes the separator to train."""
    backbone = (
        {}
        if config in FROM_SCRATCH
        else {
            **(start := AudioSeparator.from_preset(initial)).get_config(),
            **start.backbone.get_config(),
        }
    )
    sizes = {**SIZES, **OTHERS, **backbone, **CONFIGS[config]}

    def make(dtype):
        separator = new_separator(sizes, dtype)
        if backbone:
            grow(separator, start)
        return separator

    return make, {name: sizes[name] for name in (*SIZES, *OTHERS)}


def snr(target, estimate, scale_invariant=False):
    """Signal-to-noise ratio of each item, dB."""
    target, estimate = target.flatten(1), estimate.flatten(1)
    if scale_invariant:
        target = target - target.mean(1, keepdim=True)
        estimate = estimate - estimate.mean(1, keepdim=True)
        power = target.square().sum(1, keepdim=True) + 1e-9
        target = (target * estimate).sum(1, keepdim=True) / power * target
    error = (estimate - target).square().sum(1) + 1e-9
    return 10 * torch.log10((target.square().sum(1) + 1e-9) / error)


class Trainer:
    """A separator in training, the mean of its weights, and both's scores.

    Args:
        make: function of a dtype that makes the separator.
        dtype: str. Of the separator in training; the mean is float32.
        loss: `SeparationLoss`.
    """

    def __init__(self, make, dtype, loss):
        self.separator = make(dtype)
        self.mean = make("float32")
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
                    pair = targets[stem], estimate
                    found.setdefault(f"snr_{stem}", []).append(snr(*pair))
                    si_snr = snr(*pair, scale_invariant=True)
                    found.setdefault(f"si_snr_{stem}", []).append(si_snr)
        scores = {k: float(torch.cat(v).mean()) for k, v in found.items()}
        for metric in ("snr", "si_snr"):
            stems = [scores[f"{metric}_{stem}"] for stem in STEMS]
            scores[metric] = sum(stems) / len(stems)
        return {name: round(score, 3) for name, score in scores.items()}


def _synchronize():
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds_per_step(trainer, batch, steps=4):
    """Time of a step after a first one."""
    trainer.step(*batch, 0.0)
    _synchronize()
    start = time.monotonic()
    for _ in range(steps):
        loss = trainer.step(*batch, 0.0)
    _synchronize()
    if not math.isfinite(float(loss)):
        raise RuntimeError("the loss is not finite")
    return (time.monotonic() - start) / steps


def choose_dtype(make, loss, batch, report):
    """bfloat16 where it is much faster here, else float32."""
    times = {}
    for dtype in ("float32", "mixed_bfloat16"):
        try:
            trainer = Trainer(make, dtype, loss)
            times[dtype] = seconds_per_step(trainer, batch)
        except RuntimeError as error:  # out of memory, too
            report(dtype=dtype, error=str(error)[:200])
        trainer = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    report(seconds_per_step=times)
    half = times.get("mixed_bfloat16", math.inf)
    fast = half * LEAST_SPEEDUP < times.get("float32", math.inf)
    return "mixed_bfloat16" if fast else "float32"


def keep_constants():
    """Keeps on the device what Keras would copy there again in every call.

    Layers have their tables in NumPy, and each copy waits for the device.
    For after the models are made: variables must not share their values.
    """
    convert, kept = torch.as_tensor, {}

    def as_tensor(data, dtype=None, device=None):
        if isinstance(data, np.ndarray):
            value = data.shape, data.dtype.str, data.tobytes()
        elif isinstance(data, (bool, int, float)):
            value = type(data), data
        else:
            return convert(data, dtype=dtype, device=device)
        key = value, dtype, device
        if key not in kept:
            kept[key] = convert(data, dtype=dtype, device=device)
        return kept[key]

    torch.as_tensor = as_tensor


def save(separator, directory, training):
    """Writes a preset whole; an earlier one stays until then."""
    separator.metadata = {"training": training}
    separator.save_to_preset(directory)


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data-dir", type=pathlib.Path, required=True)
    add("--output", type=pathlib.Path, required=True)
    add("--initial", default="bandit_demo", help="preset to go on from")
    add("--config", choices=CONFIGS, default="deeper")
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
    add("--epsilon", type=float, default=1e-5, help="of L2SNR")
    add(
        "--dtype",
        choices=("auto", "float32", "mixed_bfloat16"),
        default="float32",
    )
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
    rate = SIZES["sample_rate"]

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
    make, sizes = separators(arguments.config, arguments.initial)
    loss = L2SNR(epsilon=arguments.epsilon)
    batch_size = arguments.batch_size
    dtype = arguments.dtype
    if dtype == "auto":
        dtype = choose_dtype(make, loss, train.batch(batch_size), report)
    trainer = Trainer(make, dtype, loss)
    report(
        device=torch.cuda.get_device_name() if device == "cuda" else "cpu",
        parameters=trainer.mean.count_params(),
        dtype=dtype,
        config=sizes,
        scores=trainer.scores(trainer.mean, batches),
    )
    training = {
        "config": {**sizes, **{k: str(v) for k, v in vars(arguments).items()}},
        "seed": arguments.seed,
        "backend": f"torch {torch.__version__}",
        "dtype": dtype,
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
        save(trainer.mean, arguments.output / "preset", training)
        losses.clear()

    keep_constants()
    start = reported = time.monotonic()
    seconds = begin + arguments.seconds - arguments.end_seconds - start
    if seconds <= 0:
        raise ValueError(
            f"--seconds must be more than the {start - begin:.0f} s that "
            f"reading took; got {arguments.seconds:g}"
        )
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
            _synchronize()
        if time.monotonic() - reported > arguments.report_seconds:
            validate()
            reported = time.monotonic()
    validate()


if __name__ == "__main__":
    main()
