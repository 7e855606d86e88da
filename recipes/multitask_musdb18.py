"""Train a shared encoder on several instruments, then a decoder for another.

Paper: Akbarzadeh, "Refining BSRNN: Analysis and Extension of Music Source
    Separation with Band-Split RNN", Sec. III and IV: microtonal bands, one
    decoder for each instrument on a shared encoder, losses summed; then the
    decoders are dropped, the encoder is frozen and a decoder for an
    instrument it was not trained for is added. Sizes, 1 s chunks of mono and
    the optimizer as in its repository (sahandevs/BandSplit-RNN).
Command:
    keras-bandit prepare musdb18_hq --manual-dir MUSDB18-HQ --data-dir DATA
    python recipes/multitask_musdb18.py --data-dir DATA --output RUN \
        --stems vocals,drums,other --new-stem bass
    RUN/shared is the run of the encoder, RUN/new that of the new decoder,
    RUN/preset has all stems.
Hardware: one GPU.
Time: not measured here, and not in the paper; 20,000 chunks of 1 s an epoch,
    in each of the two runs.
Expected score: not yet measured with this recipe on MUSDB18-HQ.
"""

import keras

from keras_bandit import losses
from keras_bandit.data import open_tracks, random_crops, validation_chunks
from keras_bandit.data.track import Track
from keras_bandit.metrics import SISNR, SNR
from keras_bandit.models import AudioSeparator
from keras_bandit.training import (
    TrainingRun,
    first_example,
    open_devices,
    paper_optimizer,
    parse_recipe,
)

CONFIG = {
    "preset": "bsrnn_microtonal",
    "stems": ["vocals", "drums", "other"],
    "new_stem": "bass",
    "loss": "L1",
    "dataset": "musdb18_hq",
    "storage": "paths",
    "crop_seconds": 1.0,
    "batch_size": 16,
    "epoch_size": 20_000,
    "validation_hop_seconds": 3.0,
    "validation_batch_size": 16,
    "epochs": 100,
    "patience": 20,
    "learning_rate": 1e-3,
    "global_clipnorm": 5.0,
    "dtype": "float32",
    "num_workers": 0,
    # On PyTorch, the processes that torchrun starts.
    "devices": 1,
}


class Mono(Track):
    """A track's mean over channels.

    Args:
        track: `Track`.
    """

    def __init__(self, track):
        super().__init__(
            track.name, track.sample_rate, 1, track.num_samples, track.stems
        )
        self.track = track

    def _read(self, stem, start, stop):
        return self.track.read(stem, start, stop).mean(axis=0, keepdims=True)


def build(config):
    """The separator of the instruments that share the encoder."""
    return AudioSeparator.from_preset(
        config["preset"], stems=config["stems"], dtype=config["dtype"]
    )


def compile_separator(separator, config):
    separator.compile(
        paper_optimizer(config["learning_rate"], config["global_clipnorm"]),
        loss=losses.get(config["loss"]),
        metrics=[SNR(), SISNR()],
    )


def tracks(config, split, data_dir):
    found = open_tracks(config["dataset"], split, data_dir, config["storage"])
    return [Mono(track) for track in found]


def training_data(config, stems, data_dir, sample_rate, seed, start_epoch):
    """Random crops, common to all stems of a track."""
    return random_crops(
        tracks(config, "train", data_dir),
        stems,
        crop_seconds=config["crop_seconds"],
        batch_size=config["batch_size"],
        epoch_size=config["epoch_size"],
        sample_rate=sample_rate,
        seed=seed,
        start_epoch=start_epoch,
        num_workers=config["num_workers"],
    )


def validation_data(config, stems, data_dir, sample_rate):
    """Chunks of the validation tracks."""
    return validation_chunks(
        tracks(config, "validation", data_dir),
        stems,
        chunk_seconds=config["crop_seconds"],
        hop_seconds=config["validation_hop_seconds"],
        batch_size=config["validation_batch_size"],
        sample_rate=sample_rate,
    )


def train(separator, config, arguments, name, devices, save=None):
    """Trains all of the separator that is not frozen; returns the run."""
    run = TrainingRun(
        arguments.output / name,
        config,
        arguments.seed,
        may_change=("epochs", "devices"),
        devices=devices,
    )
    compile_separator(separator, config)
    data = (
        config,
        separator.stems,
        arguments.data_dir,
        separator.sample_rate,
    )
    validation = validation_data(*data)
    run.fit(
        separator,
        lambda epoch: training_data(*data, arguments.seed, epoch),
        validation,
        clip=first_example(validation),
        epochs=config["epochs"],
        patience=config["patience"],
        save=save,
        steps_per_epoch=config["epoch_size"] // config["batch_size"],
    )
    return run


def add_stem(preset, config, arguments, devices):
    """Trains a decoder for the new stem; returns separator and run."""
    separator = AudioSeparator.from_preset(preset)
    separator.backbone.trainable = False
    stem = config["new_stem"]
    learner = separator.add_decoder(stem).with_stems([stem])
    run = train(
        learner,
        config,
        arguments,
        "new",
        devices,
        save=lambda directory: learner.save_decoder(
            stem, directory / f"{stem}.weights.h5"
        ),
    )
    return separator, run


def main(argv=None, config=CONFIG):
    """Trains encoder and decoders, then the new decoder, or goes on."""
    config, arguments = parse_recipe(argv, __doc__, config)
    devices = open_devices(config["devices"])
    with devices.scope():
        keras.utils.set_random_seed(arguments.seed)
        shared = train(build(config), config, arguments, "shared", devices)
        separator, new = add_stem(shared.best, config, arguments, devices)
    if devices.process_index == 0:
        stem = config["new_stem"]
        separator.load_decoder(stem, new.best / f"{stem}.weights.h5")
        separator.backbone.trainable = True
        separator.metadata = new.describe_best(separator.metadata)
        separator.save_to_preset(arguments.output / "preset")


if __name__ == "__main__":
    main()
