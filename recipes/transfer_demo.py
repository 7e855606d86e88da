"""Does a frozen encoder serve a stem it was not trained for? On natural sound.

Paper: Watcharasupat et al. 2023, "A Generalized Bandsplit Neural Network for
    Cinematic Audio Source Separation", arXiv:2309.02539, Sec. V-E: music and
    effects in one decoder, against the sum of two; here with `bandit_demo`.
    With --retrain-parts decoders for music and for effects are trained from
    the start beside the one for both, so that what is compared has learnt from
    the same data for as long; `curve.png` has their validation SI-SNR by epoch.
Command, SOUNDS of natural_sounds.py:
    keras-bandit prepare film_mix --manual-dir SOUNDS/train --data-dir DATA \
        --num-tracks 160,8,0 --seconds 30
    keras-bandit prepare film_mix --manual-dir SOUNDS/test --data-dir TEST \
        --num-tracks 0,0,20 --seconds 30
    python recipes/transfer_demo.py --data-dir DATA --test-dir TEST \
        --output RUN --epochs 4
    Another stem than music and effects: --stem NAME --parts STEM,…
Hardware: 2 CPU cores, 8 GiB, 1 GB of disk for features.
Time: features two minutes, an epoch seven, on one busy core of an AMD EPYC;
    with --retrain-parts twice as long.
Expected score: mne 6.4 dB SNR, 5.2 SI-SNR; 6.1 and 5.1 from two decoders
    (docs/training.md, "Does transfer work?").
"""

import json

import numpy as np
from frozen_encoder import train_decoders
from matplotlib.figure import Figure
from recipe import Recipe, run
from tabulate import tabulate

from keras_bandit.data import open_tracks
from keras_bandit.evaluation.scores import si_snr, snr
from keras_bandit.metrics import SISNR
from keras_bandit.models import AudioSeparator
from keras_bandit.training import paper_schedule

CONFIG = {
    "preset": "bandit_demo",
    "dataset": "film_mix",
    "storage": "paths",
    # For comparison: the encoder with its initial weights.
    "untrained_encoder": False,
    # The new stem, and the stems of the dataset that it is the sum of.
    "stem": "mne",
    "parts": ["music", "effects"],
    "retrain_parts": False,
    "crop_seconds": 6.0,
    # As `bandit_demo` itself was trained in the end.
    "loss": "L2SNR",
    "batch_size": 8,
    "validation_hop_seconds": 6.0,
    "validation_batch_size": 8,
    "epochs": 8,
    "patience": 20,
    "learning_rate": 3e-3,
    # Per epoch, so that the last ones are small.
    "decay": 0.6,
    "global_clipnorm": 5.0,
    "cache_features": True,
    # Of the test clips.
    "hop_seconds": 3.0,
    # RMS of a target below this, -60 dB, is no target to be judged by.
    "silence": 1e-3,
}

AGAIN = "_again"
SUMS = {"stems of the preset": "", "retrained stems": AGAIN}


class SumSISNR(SISNR):
    """SI-SNR of the sum of the decoders that were trained once more."""

    def _waveforms(self, name, values):
        return [sum(values[s] for s in self.stems if s.endswith(AGAIN))]

    def result(self):
        return super().result()[self.name]


def scores(config, separator, tracks):
    """Means over clips of the mixture's scores and of the new decoder's.

    And of the preset's own stems, and of those trained once more, added where
    they are several. Clips whose target is silent are left out.

    Returns:
        list of `{"stem": …, "from": …, "SNR (dB)": …, "SI-SNR (dB)": …,
        "clips": number}`.
    """
    stem, parts = config["stem"], config["parts"]
    measured = {}
    for track in tracks:
        mixture = track.read("mixture")
        target = sum(track.read(part) for part in parts)
        if np.sqrt(np.mean(target**2)) < config["silence"]:
            continue
        stems = separator.separate(
            mixture, track.sample_rate, hop_seconds=config["hop_seconds"]
        )
        rows = {"mixture": mixture, "new decoder": stems[stem]}
        for row, suffix in SUMS.items():
            names = [part + suffix for part in parts]
            if set(names) <= set(stems):
                rows[row] = sum(stems[name] for name in names)
        for row, estimate in rows.items():
            ratios = snr(target, estimate), si_snr(target, estimate)
            measured.setdefault(row, []).append(ratios)
    columns = ("stem", "from", "SNR (dB)", "SI-SNR (dB)", "clips")
    return [
        dict(zip(columns, (stem, row, *means, len(ratios)), strict=True))
        for row, ratios in measured.items()
        for means in [np.mean(ratios, axis=0).tolist()]
    ]


def own_sum(separator, parts, chunks):
    """Mean SI-SNR in dB of the sum of stems that the preset has, by chunk."""
    metric = SISNR()
    for mixture, targets in chunks:
        stems = separator.predict_on_batch(mixture)
        metric.update_state(
            sum(targets[part] for part in parts),
            sum(stems[part] for part in parts),
        )
    return float(metric.result())


def draw_curve(path, history, target, level):
    """Draws validation SI-SNR by epoch, of one decoder and of two summed."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    epochs = range(1, len(history) + 1)
    for label, column in {
        f"{target}: one decoder": f"val_si_snr_{target}",
        "parts: two decoders, summed": "val_si_snr_of_sum",
    }.items():
        values = [float(row[column]) for row in history]
        axes.plot(epochs, values, marker="o", label=label)
    label = "the preset's own stems, summed"
    axes.axhline(level, color="gray", linestyle="--", label=label)
    axes.set(xlabel="Epoch", ylabel="SI-SNR (dB), validation")
    axes.set_xticks(epochs)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


def main(argv=None, config=CONFIG):
    """Trains, or goes on; prints and writes the table."""
    recipe = Recipe(argv, __doc__, config, "test-dir", seed=0)
    config, arguments = recipe.config, recipe.arguments
    stem, parts = config["stem"], config["parts"]
    targets, metrics = {stem: parts}, ()
    if config["retrain_parts"]:
        targets |= {part + AGAIN: [part] for part in parts}
        metrics = [SumSISNR(name="si_snr_of_sum")]
    training, run = recipe.tracks("train"), recipe.open_run("run")
    validation = recipe.tracks("validation")
    separator = train_decoders(
        recipe,
        run,
        lambda: AudioSeparator.from_preset(
            config["preset"], load_weights=not config["untrained_encoder"]
        ),
        list(targets),
        training,
        validation,
        callbacks=[paper_schedule(config["learning_rate"], config["decay"], 1)],
        metrics=metrics,
        dtype="float16",
        composites=targets,
    )
    if config["retrain_parts"]:
        chunks = recipe.chunks(validation, parts, separator.sample_rate)
        draw_curve(
            arguments.output / "curve.png",
            run.history,
            stem,
            own_sum(separator, parts, chunks),
        )
    tests = open_tracks(config["dataset"], "test", arguments.test_dir)
    rows = scores(config, separator, tests)
    print(tabulate(rows, headers="keys", tablefmt="pipe", floatfmt=".1f"))
    path = arguments.output / "scores.json"
    path.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    run(main)
