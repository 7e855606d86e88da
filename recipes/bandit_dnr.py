"""Train a BandIt of Table 1 on the Divide and Remaster dataset (DnR).

Paper: Watcharasupat et al. 2023, "A Generalized Bandsplit Neural Network for
    Cinematic Audio Source Separation", arXiv:2309.02539, Sec. IV and Table 1.
Command:
    keras-bandit prepare dnr --manual-dir DnR --data-dir DATA
    python recipes/bandit_dnr.py --data-dir DATA --output RUN \
        --preset bandit_musical64 --loss L1SNR
    Rows: --preset bandit_{vox7,bark48,…,musical64} with L1SNR; vox7 also with
    --loss L1, MSE and L2SNR. BandIt+: bandit_musical64 with --epochs 500.
    The authors' batch of 16 on one small device: --batch-size 2
    --accumulation-steps 8. Several devices share a batch: --devices 8;
    on PyTorch torchrun --nproc-per-node 8 recipes/bandit_dnr.py --devices 8 …
Hardware: the paper's is 8 NVIDIA A10G, 2 chunks of 6 s each.
Time: not measured here. The paper (Sec. IV-C, V-D): about 1.5 days for 100
    epochs of 20,000 chunks, 4.3 days for the 278 of BandIt+.
Expected score: the paper's SNR is in `keras-bandit presets`; not yet measured
    with this recipe on DnR.
"""

from keras_bandit import losses
from keras_bandit.data import open_tracks, random_crops, validation_chunks
from keras_bandit.metrics import SISNR, SNR
from keras_bandit.models import AudioSeparator
from keras_bandit.training import (
    AlternatingStems,
    TrainingRun,
    first_example,
    open_devices,
    paper_optimizer,
    paper_schedule,
    parse_recipe,
)

CONFIG = {
    "preset": "bandit_musical64",
    "loss": "L1SNR",
    "dataset": "dnr",
    "storage": "paths",
    "stems": ["speech", "music", "effects"],
    "crop_seconds": 6.0,
    "batch_size": 16,
    "accumulation_steps": 1,
    "epoch_size": 20_000,
    # The authors' configurations; the paper says 1 s.
    "validation_hop_seconds": 3.0,
    "validation_batch_size": 2,
    "epochs": 100,
    "patience": 20,
    "learning_rate": 1e-3,
    "global_clipnorm": 5.0,
    "dtype": "float32",
    # Sec. III-A: one decoder at each step, in turn, to save memory.
    "alternate_stems": False,
    "num_workers": 0,
    # On PyTorch, the processes that torchrun starts.
    "devices": 1,
}


def build(config):
    """The compiled separator that `config` describes."""
    separator = AudioSeparator.from_preset(
        config["preset"], stems=config["stems"], dtype=config["dtype"]
    )
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


def training_data(config, data_dir, sample_rate, seed, start_epoch):
    """Random crops, common to all stems of a track."""
    tracks = open_tracks(
        config["dataset"], "train", data_dir, config["storage"]
    )
    return random_crops(
        tracks,
        config["stems"],
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
    tracks = open_tracks(
        config["dataset"], "validation", data_dir, config["storage"]
    )
    return validation_chunks(
        tracks,
        config["stems"],
        chunk_seconds=config["crop_seconds"],
        hop_seconds=config["validation_hop_seconds"],
        batch_size=config["validation_batch_size"],
        sample_rate=sample_rate,
    )


def main(argv=None, config=CONFIG):
    """Trains, or goes on; `--output` holds the presets and the history."""
    config, arguments = parse_recipe(argv, __doc__, config)
    devices = open_devices(config["devices"])
    run = TrainingRun(
        arguments.output,
        config,
        arguments.seed,
        may_change=("epochs", "devices"),
        devices=devices,
    )
    callbacks = [paper_schedule(config["learning_rate"])]
    if config["alternate_stems"]:
        steps = config["accumulation_steps"]
        callbacks.append(AlternatingStems(steps_per_turn=steps))
    with devices.scope():
        separator = build(config)
        data = (config, arguments.data_dir, separator.sample_rate)
        validation = validation_data(*data)
        run.fit(
            separator,
            lambda epoch: training_data(*data, arguments.seed, epoch),
            validation,
            clip=first_example(validation),
            epochs=config["epochs"],
            patience=config["patience"],
            callbacks=callbacks,
            steps_per_epoch=config["epoch_size"] // config["batch_size"],
        )


if __name__ == "__main__":
    main()
