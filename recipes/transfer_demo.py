"""Does a frozen encoder serve stems it was not trained for? On rendered clips.

Paper: Watcharasupat et al. 2023, "A Generalized Bandsplit Neural Network for
    Cinematic Audio Source Separation", arXiv:2309.02539, Sec. V-E (music and
    effects in one decoder, against the sum of two) and Table 2 (stems of
    another kind); here with `bandit_demo`, music and effects in one, and drums
    out of music.
Command:
    python recipes/render_film_clips.py CLIPS --train 400 --validation 16 \
        --test 24 --drums
    python recipes/transfer_demo.py --clips CLIPS --output RUN --epochs 4
Hardware: 2 CPU cores, 8 GiB, 1 GB of disk for features.
Time: features two minutes, an epoch seven, on one busy core of an AMD EPYC.
Expected score: docs/training.md, "Does transfer work?".
"""

import json

import numpy as np
from frozen_encoder import train_decoders
from recipe import Recipe, WavTrack, run
from tabulate import tabulate

from keras_bandit.evaluation.scores import si_snr, snr
from keras_bandit.models import AudioSeparator
from keras_bandit.training import paper_schedule

CONFIG = {
    "preset": "bandit_demo",
    # For comparison: the encoder with its initial weights.
    "untrained_encoder": False,
    "targets": {"mne": ["music", "effects"], "drums": ["drums"]},
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
FILES = {"mixture": "mix", "effects": "sfx"}
FILES |= {stem: stem for stem in ("speech", "music", "drums", "melody")}


def clips(folder, split):
    """Clips of a split, `"tr"`, `"cv"` or `"tt"`."""
    found = sorted(path for path in (folder / split).iterdir() if path.is_dir())
    if not found:
        raise ValueError(f"--clips must hold clips in {split}/; got {folder}")
    return [
        WavTrack(path.name, {k: path / f"{v}.wav" for k, v in FILES.items()})
        for path in found
    ]


def scores(config, separator, tracks):
    """Means over clips of the mixture's scores and of the new decoder's.

    And of the sum of the preset's own stems, where there is one. Clips whose
    target is silent are left out.

    Returns:
        list of `{"stem": …, "from": …, "SNR (dB)": …, "SI-SNR (dB)": …,
        "clips": number}`.
    """
    measured = {}
    for track in tracks:
        mixture = track.read("mixture")
        stems = separator.separate(
            mixture, track.sample_rate, hop_seconds=config["hop_seconds"]
        )
        for name, parts in config["targets"].items():
            target = sum(track.read(part) for part in parts)
            if np.sqrt(np.mean(target**2)) < config["silence"]:
                continue
            rows = {"mixture": mixture, "new decoder": stems[name]}
            if len(parts) > 1 and set(parts) <= set(stems):
                rows["sum of stems"] = sum(stems[part] for part in parts)
            for row, estimate in rows.items():
                ratios = snr(target, estimate), si_snr(target, estimate)
                measured.setdefault((name, row), []).append(ratios)
    columns = ("stem", "from", "SNR (dB)", "SI-SNR (dB)", "clips")
    return [
        dict(zip(columns, (*key, *means, len(ratios)), strict=True))
        for key, ratios in measured.items()
        for means in [np.mean(ratios, axis=0).tolist()]
    ]


def main(argv=None, config=CONFIG):
    """Trains, or goes on; prints and writes the table."""
    recipe = Recipe(argv, __doc__, config, data="clips", seed=0)
    config, arguments = recipe.config, recipe.arguments
    separator = train_decoders(
        recipe,
        recipe.open_run("run"),
        lambda: AudioSeparator.from_preset(
            config["preset"], load_weights=not config["untrained_encoder"]
        ),
        list(config["targets"]),
        clips(arguments.clips, "tr"),
        clips(arguments.clips, "cv"),
        callbacks=[paper_schedule(config["learning_rate"], config["decay"], 1)],
        dtype="float16",
        composites={k: v for k, v in config["targets"].items() if [k] != v},
        # Music is drums and melody already.
        mixture_stems=["speech", "music", "effects"],
    )
    rows = scores(config, separator, clips(arguments.clips, "tt"))
    print(tabulate(rows, headers="keys", tablefmt="pipe", floatfmt=".1f"))
    path = arguments.output / "scores.json"
    path.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    run(main)
