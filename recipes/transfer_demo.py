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

import argparse
import functools
import json
from pathlib import Path

import keras
import numpy as np
import soundfile

from keras_bandit import losses
from keras_bandit.data import validation_chunks
from keras_bandit.data.track import Track
from keras_bandit.metrics import SISNR, si_snr, snr
from keras_bandit.models import AudioSeparator
from keras_bandit.training import (
    FeatureLearner,
    TrainingRun,
    cache_features,
    paper_optimizer,
)

CONFIG = {
    "preset": "bandit_demo",
    "targets": {"mne": ["music", "effects"], "drums": ["drums"]},
    "chunk_seconds": 6.0,
    # As `bandit_demo` itself was trained in the end.
    "loss": "L2SNR",
    "batch_size": 8,
    "epochs": 8,
    "learning_rate": 3e-3,
    # Per epoch, so that the last ones are small.
    "decay": 0.6,
    "hop_seconds": 3.0,
    # RMS of a target below this, -60 dB, is no target to be judged by.
    "silence": 1e-3,
}
FILES = {"effects": "sfx", "mixture": "mix"}
STEMS = ("mixture", "speech", "music", "effects", "drums", "melody")


class ClipTrack(Track):
    """A clip of `render_film_clips.py --drums`.

    Args:
        folder: path with `mix.wav`, `speech.wav` and so on.
    """

    def __init__(self, folder):
        self.folder = folder
        info = soundfile.info(self.path("mixture"))
        super().__init__(
            folder.name, info.samplerate, info.channels, info.frames, STEMS
        )

    def path(self, stem):
        return self.folder / f"{FILES.get(stem, stem)}.wav"

    def _read(self, stem, start, stop):
        audio, _ = soundfile.read(
            self.path(stem),
            start=start,
            stop=stop,
            dtype="float32",
            always_2d=True,
        )
        return audio.T


def clips(folder, split):
    """Clips of a split, `"tr"`, `"cv"` or `"tt"`."""
    found = sorted(path for path in (folder / split).iterdir() if path.is_dir())
    if not found:
        raise ValueError(f"--clips must hold clips in {split}/; got {folder}")
    return [ClipTrack(path) for path in found]


def chunks(config, tracks):
    """All chunks, side by side, with targets for every new decoder."""
    sums = {k: v for k, v in config["targets"].items() if [k] != v}
    return validation_chunks(
        tracks,
        list(config["targets"]),
        composites=sums,
        # The stored one; music is drums and melody already.
        mixture_stems=["speech", "music", "effects"],
        chunk_seconds=config["chunk_seconds"],
        hop_seconds=config["chunk_seconds"],
        batch_size=config["batch_size"],
    )


def learn(config, separator, folder, output, seed):
    """Trains a decoder for every target on the frozen encoder."""
    separator.backbone.trainable = False
    stems = list(config["targets"])
    for stem in stems:
        separator.add_decoder(stem)
    train, validation = (
        cache_features(
            separator,
            chunks(config, clips(folder, split)),
            output / "features" / split,
            dtype="float16",
        )
        for split in ("tr", "cv")
    )
    learner = FeatureLearner(separator, stems)
    learner.compile(
        paper_optimizer(config["learning_rate"]),
        loss=losses.get(config["loss"]),
        metrics=[SISNR()],
    )
    run = TrainingRun(output / "run", config, seed)
    schedule = keras.callbacks.LearningRateScheduler(
        lambda epoch: config["learning_rate"] * config["decay"] ** epoch
    )

    def save(directory):
        for stem in stems:
            learner.save_decoder(stem, directory / f"{stem}.weights.h5")

    run.fit(
        learner,
        lambda epoch: train.batches(config["batch_size"], seed, epoch),
        validation.batches(config["batch_size"], seed=None),
        epochs=config["epochs"],
        callbacks=[schedule],
        save=save,
    )
    for stem in stems:
        separator.load_decoder(stem, run.best / f"{stem}.weights.h5")
    return separator


def scores(config, separator, tracks):
    """Means over clips in dB, `{target: {row: {metric: value}}}`.

    Rows: the mixture, the sum of the preset's own stems where there is one,
    and the new decoder. Clips whose target is silent are left out.
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
                measured.setdefault(name, {}).setdefault(row, []).append(
                    ratios(target, estimate)
                )
    return {
        name: {
            row: dict(
                zip(
                    ("SNR", "SI-SNR", "clips"),
                    (*np.mean(values, axis=0).tolist(), len(values)),
                    strict=True,
                )
            )
            for row, values in rows.items()
        }
        for name, rows in measured.items()
    }


def ratios(target, estimate):
    """SNR and SI-SNR in dB, means over channels."""
    tensor = keras.ops.convert_to_tensor
    return [
        float(keras.ops.mean(ratio(tensor(target), tensor(estimate))))
        for ratio in (snr, si_snr)
    ]


def table(measured):
    """The scores as a Markdown table."""
    lines = [
        "| stem | from | SNR (dB) | SI-SNR (dB) | clips |",
        "|---|---|---|---|---|",
    ]
    for name, rows in measured.items():
        for row, values in rows.items():
            lines.append(
                f"| {name} | {row} | {values['SNR']:.1f} | "
                f"{values['SI-SNR']:.1f} | {values['clips']} |"
            )
    return "\n".join(lines)


def main(argv=None, config=CONFIG):
    """Trains, or goes on; prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--preset", default=config["preset"])
    parser.add_argument(
        "--untrained-encoder",
        action="store_true",
        help="for comparison: the encoder with its initial weights",
    )
    parser.add_argument("--loss", default=config["loss"])
    parser.add_argument("--epochs", type=int, default=config["epochs"])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    config = {**config, "loss": arguments.loss, "epochs": arguments.epochs}
    keras.utils.set_random_seed(arguments.seed)
    load = functools.partial(AudioSeparator.from_preset, arguments.preset)
    separator = load(load_weights=not arguments.untrained_encoder)
    separator = learn(
        config, separator, arguments.clips, arguments.output, arguments.seed
    )
    measured = scores(config, separator, clips(arguments.clips, "tt"))
    print(table(measured))
    path = arguments.output / "scores.json"
    path.write_text(json.dumps(measured, indent=2) + "\n")


if __name__ == "__main__":
    main()
