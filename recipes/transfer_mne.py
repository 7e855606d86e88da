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
Time: not measured here, and not in the paper; 20,000 chunks of 6 s an epoch,
    less with --cache-features.
Expected score: not yet measured with this recipe on DnR.
"""

from keras_bandit import losses
from keras_bandit.data import open_tracks, random_crops, validation_chunks
from keras_bandit.metrics import SISNR, SNR
from keras_bandit.models import AudioSeparator
from keras_bandit.training import (
    FeatureLearner,
    TrainingRun,
    cache_features,
    first_example,
    open_devices,
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
    # On PyTorch, the processes that torchrun starts.
    "devices": 1,
    # Fixed chunks in place of random crops; features computed once, kept in
    # RUN/features (17 MB for 6 s of one channel at the paper's size).
    "cache_features": False,
}


def build(config, preset):
    """The whole separator, and its learner: the new decoders alone."""
    separator = AudioSeparator.from_preset(preset, dtype=config["dtype"])
    separator.backbone.trainable = False
    stems = list(config["targets"])
    for stem in stems:
        separator.add_decoder(stem)
    if config["cache_features"]:
        learner = FeatureLearner(separator, stems)
    else:
        learner = separator.with_stems(stems)
    learner.compile(
        paper_optimizer(
            config["learning_rate"],
            config["global_clipnorm"],
            config["accumulation_steps"],
        ),
        loss=losses.get(config["loss"]),
        metrics=[SNR(), SISNR()],
    )
    return separator, learner


def tracks(config, split, data_dir):
    return open_tracks(config["dataset"], split, data_dir, config["storage"])


def training_data(config, data_dir, sample_rate, seed, start_epoch):
    """Random crops, common to all stems of a track."""
    return random_crops(
        tracks(config, "train", data_dir),
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


def chunks(config, split, data_dir, sample_rate, hop_seconds):
    """All chunks of a split."""
    return validation_chunks(
        tracks(config, split, data_dir),
        list(config["targets"]),
        composites=config["targets"],
        chunk_seconds=config["crop_seconds"],
        hop_seconds=hop_seconds,
        batch_size=config["validation_batch_size"],
        sample_rate=sample_rate,
    )


def data(config, separator, arguments, devices):
    """Training data from an epoch on, as a function; validation data; a clip."""
    where = (arguments.data_dir, separator.sample_rate)
    validation = chunks(
        config, "validation", *where, config["validation_hop_seconds"]
    )
    clip = first_example(validation)
    if not config["cache_features"]:
        return (
            lambda epoch: training_data(config, *where, arguments.seed, epoch),
            validation,
            clip,
        )
    train = chunks(config, "train", *where, config["crop_seconds"])
    folder = arguments.output / "features"
    train = cache_features(separator, train, folder / "train", devices=devices)
    validation = cache_features(
        separator, validation, folder / "validation", devices=devices
    )
    size = config["batch_size"]
    return (
        lambda epoch: train.batches(size, arguments.seed, epoch),
        validation.batches(config["validation_batch_size"], seed=None),
        clip,
    )


def save_decoders(learner, directory):
    """Writes `<stem>.weights.h5` for each stem of the learner."""
    for stem in learner.stems:
        learner.save_decoder(stem, directory / f"{stem}.weights.h5")


def main(argv=None, config=CONFIG):
    """Trains, or goes on; then saves the separator with the new decoders."""
    config, arguments = parse_recipe(argv, __doc__, config, "preset")
    devices = open_devices(config["devices"])
    run = TrainingRun(
        arguments.output,
        {**config, "preset": str(arguments.preset)},
        arguments.seed,
        may_change=("epochs", "devices"),
        devices=devices,
    )
    with devices.scope():
        separator, learner = build(config, arguments.preset)
        train, validation, clip = data(config, separator, arguments, devices)
        steps = config["epoch_size"] // config["batch_size"]
        run.fit(
            learner,
            train,
            validation,
            clip=clip,
            epochs=config["epochs"],
            patience=config["patience"],
            callbacks=[paper_schedule(config["learning_rate"])],
            save=lambda directory: save_decoders(learner, directory),
            steps_per_epoch=None if config["cache_features"] else steps,
        )
    if devices.process_index == 0:
        for stem in learner.stems:
            separator.load_decoder(stem, run.best / f"{stem}.weights.h5")
        separator.backbone.trainable = True
        separator.metadata = run.describe_best(separator.metadata)
        separator.save_to_preset(arguments.output / "preset")


if __name__ == "__main__":
    main()
