"""Train music decoders on the frozen encoder of a film-sound BandIt.

Paper: Watcharasupat et al. 2023, "A Generalized Bandsplit Neural Network for
    Cinematic Audio Source Separation", arXiv:2309.02539, Table 2: an encoder
    trained on DnR, new decoders for vocals, drums, bass and other. The stereo
    channels of MUSDB18-HQ are separated independently of each other.
Command:
    keras-bandit prepare musdb18_hq --manual-dir MUSDB18-HQ --data-dir DATA
    python recipes/transfer_musdb18.py --data-dir DATA --preset TRAINED \
        --output RUN
    TRAINED is the preset directory of a BandIt. RUN/best and RUN/last hold the
    decoders alone, RUN/preset a separator of the four stems.
Hardware: as bandit_dnr.py; less memory, no gradient of the encoder.
Time: not measured here, and not in the paper; 20,000 chunks of 6 s an epoch,
    less with --cache-features.
Expected score: not yet measured with this recipe on MUSDB18-HQ.
"""

from keras_bandit import losses
from keras_bandit.data import (
    active_segments,
    open_tracks,
    random_crops,
    validation_chunks,
)
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
    "stems": ["vocals", "drums", "bass", "other"],
    "loss": "L1SNR",
    "dataset": "musdb18_hq",
    "storage": "paths",
    # The authors cut all tracks to segments at one loudness, whoever plays.
    "segment_seconds": 6.0,
    "segment_hop_seconds": 3.0,
    "crop_seconds": 6.0,
    "batch_size": 8,
    "accumulation_steps": 1,
    "epoch_size": 20_000,
    "validation_hop_seconds": 3.0,
    "validation_batch_size": 1,
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
    stems = config["stems"]
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


def segments(config, data_dir):
    """All segments of the training tracks."""
    return [
        segment
        for track in tracks(config, "train", data_dir)
        for segment in active_segments(
            track,
            segment_seconds=config["segment_seconds"],
            hop_seconds=config["segment_hop_seconds"],
        )
    ]


def training_data(config, cut, sample_rate, seed, start_epoch):
    """Random crops of the segments, common to all stems."""
    return random_crops(
        cut,
        config["stems"],
        crop_seconds=config["crop_seconds"],
        batch_size=config["batch_size"],
        epoch_size=config["epoch_size"],
        sample_rate=sample_rate,
        seed=seed,
        start_epoch=start_epoch,
        num_workers=config["num_workers"],
    )


def chunks(config, found, sample_rate, hop_seconds):
    """All chunks of tracks."""
    return validation_chunks(
        found,
        config["stems"],
        chunk_seconds=config["crop_seconds"],
        hop_seconds=hop_seconds,
        batch_size=config["validation_batch_size"],
        sample_rate=sample_rate,
    )


def data(config, separator, arguments, devices):
    """Training data from an epoch on, as a function; validation data; a clip."""
    rate = separator.sample_rate
    validation = chunks(
        config,
        tracks(config, "validation", arguments.data_dir),
        rate,
        config["validation_hop_seconds"],
    )
    cut = segments(config, arguments.data_dir)
    print(f"{len(cut)} segments", flush=True)
    clip = first_example(validation)
    if not config["cache_features"]:
        return (
            lambda epoch: training_data(
                config, cut, rate, arguments.seed, epoch
            ),
            validation,
            clip,
        )
    train = chunks(config, cut, rate, config["crop_seconds"])
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
    """Trains, or goes on; then saves a separator of the new stems."""
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
        new = separator.with_stems(config["stems"])
        new.save_to_preset(arguments.output / "preset")


if __name__ == "__main__":
    main()
