"""Train the BSRNN baselines of BandIt's Table 1 on DnR, one model per stem.

Paper: Luo & Yu 2023, "Music Source Separation with Band-split RNN",
    arXiv:2209.15174, as Watcharasupat et al. 2023, arXiv:2309.02539, train it
    for Table 1: the bands of Vocals V7 for every stem, and the L1 loss.
Command:
    keras-bandit prepare dnr --manual-dir DnR --data-dir DATA
    python recipes/bsrnn_dnr.py --data-dir DATA --output RUN \
        --preset bsrnn_gru8_vox7
    and with --preset bsrnn_lstm12_vox7. RUN/<stem>/ are the runs; RUN/preset
    has all stems' best weights. Several machines: --stems speech on one, …,
    then all stems on a copy of all runs.
Hardware: the paper's is 8 NVIDIA A10G, 2 chunks of 6 s each.
Time: not measured here, and not in BandIt's paper; 20,000 chunks an epoch and
    stem.
Expected score: the paper's SNR is in `keras-bandit presets`; not yet measured
    with this recipe on DnR.
"""

import keras

from keras_bandit import losses
from keras_bandit.data import open_tracks, random_crops, validation_chunks
from keras_bandit.metrics import SISNR, SNR
from keras_bandit.models import AudioSeparator, BSRNNAudioSeparator
from keras_bandit.training import (
    TrainingRun,
    first_example,
    open_devices,
    paper_optimizer,
    paper_schedule,
    parse_recipe,
)

CONFIG = {
    "preset": "bsrnn_gru8_vox7",
    "loss": "L1",
    "dataset": "dnr",
    "storage": "paths",
    "stems": ["speech", "music", "effects"],
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
}


def build(config, stem):
    """The compiled model of one stem."""
    separator = AudioSeparator.from_preset(
        config["preset"], dtype=config["dtype"]
    ).with_stems([stem])
    separator.compile(
        paper_optimizer(
            config["learning_rate"],
            config["global_clipnorm"],
            config["accumulation_steps"],
        ),
        loss=losses.get(config["loss"]),
        metrics=[SNR(), SISNR()],
    )
    return separator


def data(config, data_dir, stem, sample_rate, seed):
    """Training crops from an epoch on, as a function; validation chunks."""

    def tracks(split):
        return open_tracks(
            config["dataset"], split, data_dir, config["storage"]
        )

    def train(start_epoch):
        return random_crops(
            tracks("train"),
            [stem],
            crop_seconds=config["crop_seconds"],
            batch_size=config["batch_size"],
            epoch_size=config["epoch_size"],
            sample_rate=sample_rate,
            seed=seed,
            start_epoch=start_epoch,
            num_workers=config["num_workers"],
        )

    validation = validation_chunks(
        tracks("validation"),
        [stem],
        chunk_seconds=config["crop_seconds"],
        hop_seconds=config["validation_hop_seconds"],
        batch_size=config["validation_batch_size"],
        sample_rate=sample_rate,
    )
    return train, validation


def train_stem(config, arguments, stem, devices):
    """Trains one stem's model; returns the directory of its best weights."""
    run = TrainingRun(
        arguments.output / stem,
        # The other stems' names say nothing about this run.
        {**config, "stems": [stem]},
        arguments.seed,
        may_change=("epochs", "devices"),
        devices=devices,
    )
    with devices.scope():
        separator = build(config, stem)
        train, validation = data(
            config,
            arguments.data_dir,
            stem,
            separator.sample_rate,
            arguments.seed,
        )
        run.fit(
            separator,
            train,
            validation,
            clip=first_example(validation),
            epochs=config["epochs"],
            patience=config["patience"],
            callbacks=[paper_schedule(config["learning_rate"])],
            steps_per_epoch=config["epoch_size"] // config["batch_size"],
        )
    return run.best


def main(argv=None, config=CONFIG):
    """Trains stem after stem, or goes on; then joins them in one preset."""
    config, arguments = parse_recipe(argv, __doc__, config)
    devices = open_devices(config["devices"])
    best = []
    for stem in config["stems"]:
        print(f"{stem}:", flush=True)
        best.append(train_stem(config, arguments, stem, devices))
        keras.backend.clear_session()
    if devices.process_index == 0:
        separators = [
            AudioSeparator.from_preset(directory, dtype="float32")
            for directory in best
        ]
        whole = BSRNNAudioSeparator.join(separators)
        whole.save_to_preset(arguments.output / "preset")


if __name__ == "__main__":
    main()
