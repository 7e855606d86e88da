"""Train a music-and-effects decoder on a frozen BandIt encoder.

Paper: Watcharasupat et al. 2023, "A Generalized Bandsplit Neural Network for
    Cinematic Audio Source Separation", arXiv:2309.02539, Sec. V-E: a new
    decoder for music and effects in one (M&E) against the sum of the two
    stems, SNR 14.1 against 13.9 dB.
Command:
    keras-bandit prepare dnr --manual-dir DnR --data-dir DATA
    python recipes/transfer_mne.py --data-dir DATA --preset TRAINED --output RUN
    TRAINED is a preset directory with speech, music and effects. RUN/best and
    RUN/last hold the decoder alone, RUN/preset the separator with it.
Hardware: as bandit_dnr.py; less memory, no gradient of the encoder.
Time: docs/training.md has a small run.
Expected score: docs/training.md has those of a small run.
"""

import keras_bandit.losses
from keras_bandit.data import open_tracks, random_crops, validation_chunks
from keras_bandit.metrics import SISNR, SNR
from keras_bandit.models import AudioSeparator
from keras_bandit.training import (
    TrainingRun,
    paper_optimizer,
    paper_schedule,
    parse_recipe,
)

CONFIG = {
    # Stored stems or sums of stored stems; a decoder for each.
    "targets": {"mne": ["music", "effects"]},
    "loss": "L1SNR",
    "dataset": "dnr",
    "storage": "paths",
    "crop_seconds": 6.0,
    "batch_size": 16,
    "accumulation_steps": 1,
    "epoch_size": 20_000,
    "validation_hop_seconds": 3.0,
    "validation_batch_size": 2,
    "epochs": 100,
    "patience": 20,
    "learning_rate": 1e-3,
    "global_clipnorm": 5.0,
    "dtype": "float32",
    "num_workers": 0,
}


def build(config, preset):
    """The whole separator, and its learner: the new decoders alone."""
    separator = AudioSeparator.from_preset(preset, dtype=config["dtype"])
    separator.backbone.trainable = False
    stems = list(config["targets"])
    for stem in stems:
        separator.add_decoder(stem)
    learner = separator.with_stems(stems)
    learner.compile(
        paper_optimizer(
            config["learning_rate"],
            config["global_clipnorm"],
            config["accumulation_steps"],
        ),
        loss=getattr(keras_bandit.losses, config["loss"])(),
        metrics=[SNR(), SISNR()],
    )
    return separator, learner


def training_data(config, data_dir, sample_rate, seed, start_epoch):
    """Random crops, common to all stems of a track."""
    return random_crops(
        open_tracks(config["dataset"], "train", data_dir, config["storage"]),
        list(config["targets"]),
        composites=config["targets"],
        crop_seconds=config["crop_seconds"],
        batch_size=config["batch_size"],
        epoch_size=config["epoch_size"],
        sample_rate=sample_rate,
        seed=seed,
        start_epoch=start_epoch,
        num_workers=config["num_workers"],
    )


def validation_data(config, data_dir, sample_rate):
    """All chunks of the validation split."""
    return validation_chunks(
        open_tracks(
            config["dataset"], "validation", data_dir, config["storage"]
        ),
        list(config["targets"]),
        composites=config["targets"],
        chunk_seconds=config["crop_seconds"],
        hop_seconds=config["validation_hop_seconds"],
        batch_size=config["validation_batch_size"],
        sample_rate=sample_rate,
    )


def save_decoders(learner, directory):
    """Writes `<stem>.weights.h5` for each stem of the learner."""
    for stem in learner.stems:
        learner.save_decoder(stem, directory / f"{stem}.weights.h5")


def main(argv=None, config=CONFIG):
    """Trains, or goes on; then saves the separator with the new decoders."""
    config, arguments = parse_recipe(argv, __doc__, config, "preset")
    run = TrainingRun(
        arguments.output,
        {**config, "preset": str(arguments.preset)},
        arguments.seed,
        may_change=("epochs",),
    )
    separator, learner = build(config, arguments.preset)
    data = (config, arguments.data_dir, separator.sample_rate)
    run.fit(
        learner,
        lambda epoch: training_data(*data, arguments.seed, epoch),
        validation_data(*data),
        epochs=config["epochs"],
        patience=config["patience"],
        callbacks=[paper_schedule(config["learning_rate"])],
        save=lambda directory: save_decoders(learner, directory),
        steps_per_epoch=config["epoch_size"] // config["batch_size"],
    )
    for stem in learner.stems:
        separator.load_decoder(stem, run.best / f"{stem}.weights.h5")
    separator.backbone.trainable = True
    separator.save_to_preset(arguments.output / "preset")


if __name__ == "__main__":
    main()
