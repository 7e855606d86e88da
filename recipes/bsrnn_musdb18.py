"""Train BSRNN on MUSDB18-HQ, one stereo model per stem.

Paper: Luo & Yu 2023, "Music Source Separation with Band-split RNN",
    arXiv:2209.15174: bands for each stem, segments chosen by source activity,
    mixtures of independent stems with random gains. Facts on data and
    optimizer from BandIt's code (arXiv:2309.02539), which repeats them.
Command:
    keras-bandit prepare musdb18_hq --manual-dir MUSDB18-HQ --data-dir DATA
    python recipes/bsrnn_musdb18.py --data-dir DATA --output RUN
    RUN/<stem>/ are the runs, RUN/preset has all stems' best weights.
Hardware: the paper's is 8 GPUs, 2 segments of 3 s each.
Time: not measured here; 20,000 segments an epoch and stem.
Expected score: not yet measured with this recipe on MUSDB18-HQ.
"""

import keras

from keras_bandit import losses
from keras_bandit.data import (
    Gain,
    active_segments,
    open_tracks,
    random_crops,
    validation_chunks,
)
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
    "preset": "bsrnn_musdb18",
    "loss": "L1",
    "dataset": "musdb18_hq",
    "storage": "paths",
    "stems": ["vocals", "drums", "bass", "other"],
    "trained_stems": ["vocals", "drums", "bass", "other"],
    "segment_seconds": 6.0,
    "segment_hop_seconds": 3.0,
    "crop_seconds": 3.0,
    # Each way; the gain of every stem of a new mixture.
    "gain_db": 10.0,
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


def tracks(config, split, data_dir):
    return open_tracks(config["dataset"], split, data_dir, config["storage"])


def segments(config, stem, data_dir):
    """The training tracks' segments in which the stem is heard."""
    return [
        segment
        for track in tracks(config, "train", data_dir)
        for segment in active_segments(
            track,
            stem,
            segment_seconds=config["segment_seconds"],
            hop_seconds=config["segment_hop_seconds"],
        )
    ]


def training_data(config, stem, active, sample_rate, seed, start_epoch):
    """New mixtures of stems from segments of their own, at new levels."""
    return random_crops(
        active,
        [stem],
        crop_seconds=config["crop_seconds"],
        batch_size=config["batch_size"],
        epoch_size=config["epoch_size"],
        mixture_stems=config["stems"],
        independent=True,
        augmentations=[
            Gain(p=1.0, gain_db=(-config["gain_db"], config["gain_db"]))
        ],
        peak_margin=0.0,
        sample_rate=sample_rate,
        seed=seed,
        start_epoch=start_epoch,
        num_workers=config["num_workers"],
    )


def validation_data(config, stem, data_dir, sample_rate):
    """All chunks of the validation tracks, mixed as they are."""
    return validation_chunks(
        tracks(config, "validation", data_dir),
        [stem],
        chunk_seconds=config["crop_seconds"],
        hop_seconds=config["validation_hop_seconds"],
        batch_size=config["validation_batch_size"],
        sample_rate=sample_rate,
    )


def train_stem(config, arguments, stem, devices):
    """Trains one stem's model; returns the directory of its best weights."""
    run = TrainingRun(
        arguments.output / stem,
        # Which other models are trained says nothing about this run.
        {**config, "trained_stems": [stem]},
        arguments.seed,
        may_change=("epochs", "devices"),
        devices=devices,
    )
    active = segments(config, stem, arguments.data_dir)
    print(f"{stem}: {len(active)} active segments", flush=True)
    with devices.scope():
        separator = build(config, stem)
        rate = separator.sample_rate
        validation = validation_data(config, stem, arguments.data_dir, rate)
        run.fit(
            separator,
            lambda epoch: training_data(
                config, stem, active, rate, arguments.seed, epoch
            ),
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
    for stem in config["trained_stems"]:
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
