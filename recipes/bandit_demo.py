"""Train `bandit_demo`, the small preset that ships with the package.

Paper: Watcharasupat et al. 2023, "A Generalized Bandsplit Neural Network for
    Cinematic Audio Source Separation", arXiv:2309.02539: its structure, musical
    bands and losses (L1SNR, in the end L2SNR), made small; rendered clips in
    place of DnR.
Command:
    python recipes/render_film_clips.py CLIPS --train 1000 --validation 16 \
        --test 24
    keras-bandit prepare dnr --manual-dir CLIPS --data-dir DATA
    python recipes/bandit_demo.py --data-dir DATA --output RUN
    python recipes/bandit_demo.py --data-dir DATA --output NEXT \
        --initial RUN/last --loss L2SNR --batch-size 8 --learning-rate 1.5e-3
    The weights that ship come from a chain of such runs, listed in
    docs/training.md; --average-with RUN/last joins two of them.
Hardware: 2 CPU cores, 4 GiB.
Time: see docs/training.md, "The demonstration preset".
Expected score: there, too, beside what else was tried.
"""

import math
import shutil
from pathlib import Path

import h5py
import keras
import numpy as np

from keras_bandit import losses
from keras_bandit.common.files import replace_file
from keras_bandit.data import (
    Gain,
    PolarityInversion,
    film_clip,
    open_tracks,
    random_crops,
)
from keras_bandit.data.track import ArrayTrack, Track
from keras_bandit.inference.resample import resample
from keras_bandit.metrics import SISNR, SNR
from keras_bandit.models import (
    AudioSeparator,
    BanditAudioSeparator,
    BanditBackbone,
)
from keras_bandit.training import TrainingRun, first_example, parse_recipe

CONFIG = {
    # A preset to go on from, such as a run's last/, or new weights. With more
    # `num_pairs` than it has it is deepened.
    "initial": None,
    # A preset of another run, with as many pairs: what ships then has weights
    # between its and this run's.
    "average_with": None,
    "dataset": "dnr",
    "storage": "paths",
    "stems": ["speech", "music", "effects"],
    "sample_rate": 44100,
    "band_layout": "musical",
    "num_bands": 24,
    "n_fft": 2048,
    "hop_length": 512,
    "embed_dim": 40,
    "rnn_dim": 56,
    "num_pairs": 5,
    "mlp_dim": 32,
    # Clips of the package's own generators among the rendered ones: the
    # demo has no others.
    "generated_clips": 100,
    "generated_seconds": 12.0,
    "crop_seconds": 3.0,
    "gain_db": 3.0,
    # Each rendered clip is there at so many other speeds, too: other voices,
    # instruments and effects than those few that it was rendered from.
    "copies_at_speeds": 0,
    # 0.8 to 1.25 times as fast.
    "speed_octaves": 0.32,
    "loss": "L1SNR",
    "batch_size": 4,
    "steps_per_epoch": 50,
    "epochs": 60,
    "learning_rate": 3e-3,
    "warmup_steps": 50,
    "global_clipnorm": 5.0,
}


def new_separator(config):
    """A separator with initial weights."""
    backbone = BanditBackbone(
        band_layout=config["band_layout"],
        num_bands=config["num_bands"],
        sample_rate=config["sample_rate"],
        n_fft=config["n_fft"],
        embed_dim=config["embed_dim"],
        rnn_dim=config["rnn_dim"],
        num_pairs=config["num_pairs"],
    )
    return BanditAudioSeparator(
        backbone=backbone,
        stems=config["stems"],
        hop_length=config["hop_length"],
        mlp_dim=config["mlp_dim"],
    )


def deepened(separator, num_pairs):
    """The separator with more residual pairs, which change nothing at first.

    They come last, and their projections are zero: each returns its input
    until training moves it.

    Raises:
        ValueError: if it has more pairs already.
    """
    found = separator.backbone.num_pairs
    if num_pairs < found:
        raise ValueError(
            f"num_pairs must be at least the initial preset's, {found}; got "
            f"{num_pairs}"
        )
    if num_pairs == found:
        return separator
    backbone = BanditBackbone.from_config(
        {**separator.backbone.get_config(), "num_pairs": num_pairs}
    )
    known = {layer.name: layer for layer in separator.backbone.layers}
    for layer in backbone.layers:
        if layer.name in known:
            layer.set_weights(known[layer.name].get_weights())
            continue
        for block in (layer.over_frames, layer.over_bands):
            for variable in block.projection.weights:
                variable.assign(np.zeros(variable.shape, "float32"))
    deeper = BanditAudioSeparator(
        backbone=backbone,
        stems=separator.stems,
        hop_length=separator.hop_length,
        mlp_dim=separator.mlp_dim,
    )
    for stem, decoder in deeper.decoders.items():
        decoder.set_weights(separator.decoders[stem].get_weights())
    return deeper


def build(config):
    """The compiled separator that `config` describes."""
    steps = config["epochs"] * config["steps_per_epoch"]
    if config["warmup_steps"] >= steps:
        raise ValueError(
            "warmup_steps must be less than epochs times steps_per_epoch, "
            f"{steps}; got {config['warmup_steps']}"
        )
    if config["initial"] is None:
        separator = new_separator(config)
    else:
        separator = deepened(
            AudioSeparator.from_preset(config["initial"]), config["num_pairs"]
        )
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0,
        steps - config["warmup_steps"],
        warmup_target=config["learning_rate"],
        warmup_steps=config["warmup_steps"],
    )
    optimizer = keras.optimizers.Adam(
        schedule, epsilon=1e-8, global_clipnorm=config["global_clipnorm"]
    )
    separator.compile(
        optimizer=optimizer,
        loss=losses.get(config["loss"]),
        metrics=[SNR(), SISNR()],
    )
    return separator


def tracks(config, split, data_dir):
    return open_tracks(config["dataset"], split, data_dir, config["storage"])


def generated_tracks(config, seed):
    """Tracks of the package's own generators; seeds from 1 on.

    `make demo` separates those of seed 0.
    """
    return [
        ArrayTrack(
            f"generated_{number}",
            config["sample_rate"],
            film_clip(
                config["generated_seconds"],
                config["sample_rate"],
                seed=[number, seed],
            ),
        )
        for number in range(1, config["generated_clips"] + 1)
    ]


class AtSpeed(Track):
    """A track played faster or slower: pitch, formants and tempo alike.

    Args:
        track: `Track`.
        speed: float. Times as fast.
    """

    def __init__(self, track, speed):
        self.track = track
        self.played_rate = round(speed * track.sample_rate)
        super().__init__(
            f"{track.name} at {speed:.3f}",
            track.sample_rate,
            track.num_channels,
            track.num_samples * track.sample_rate // self.played_rate,
            track.stems,
        )

    def _read(self, stem, start, stop):
        speed = self.played_rate / self.sample_rate
        first = int(start * speed)
        last = first + math.ceil((stop - start) * speed)
        last = min(last, self.track.num_samples)
        played = self.track.read(stem, first, last)
        return resample(
            played, self.played_rate, self.sample_rate, stop - start
        )


def at_speeds(tracks, config, seed):
    """Copies of the tracks, each at a speed of its own, evenly in octaves."""
    octaves = config["speed_octaves"]
    rng = np.random.default_rng(seed)
    return [
        AtSpeed(track, 2 ** rng.uniform(-octaves, octaves))
        for _ in range(config["copies_at_speeds"])
        for track in tracks
    ]


def training_data(config, data_dir, seed, start_epoch):
    """Mixtures whose stems come from clips of their own."""
    rendered = list(tracks(config, "train", data_dir))
    gain_db = (-config["gain_db"], config["gain_db"])
    return random_crops(
        [
            *rendered,
            *at_speeds(rendered, config, seed),
            *generated_tracks(config, seed),
        ],
        config["stems"],
        crop_seconds=config["crop_seconds"],
        batch_size=config["batch_size"],
        epoch_size=config["batch_size"] * config["steps_per_epoch"],
        independent=True,
        augmentations=[Gain(p=1.0, gain_db=gain_db), PolarityInversion()],
        sample_rate=config["sample_rate"],
        seed=seed,
        start_epoch=start_epoch,
    )


def validation_data(config, data_dir):
    """The first half of every clip of the validation split, as arrays."""
    clips = tracks(config, "validation", data_dir)
    targets = {
        stem: np.stack(
            [clip.read(stem, 0, clip.num_samples // 2) for clip in clips]
        )
        for stem in config["stems"]
    }
    return sum(targets.values()), targets


def averaged(first, second, data, loss, directory, shares=(0.25, 0.5, 0.75)):
    """Saves the best of the weights between two presets, or at either end.

    Runs that begin with the same weights end in one basin of the loss, where
    weights between them are often better than either (stochastic weight
    averaging, Izmailov et al. 2018, arXiv:1803.05407).

    Args:
        first: preset directory, of a run. Its metadata are kept.
        second: preset directory, of the same structure.
        data: `(mixture, targets)`. The highest SI-SNR on it is the best.
        loss: of the run, for the record.
        directory: path of the new preset.
        shares: floats between 0 and 1. How much of `second` to try, beside
            nothing and all.

    Returns:
        float. The share that was best.

    Raises:
        ValueError: if the two differ in structure.
    """
    separator, other = map(AudioSeparator.from_preset, (first, second))
    if separator.get_config() != other.get_config():
        raise ValueError(
            f"average_with must have the structure of {first}; got {second}, "
            "whose configuration differs"
        )
    ends = separator.get_weights(), other.get_weights()
    training = separator.metadata["training"]
    separator.compile(loss=loss, metrics=[SNR(), SISNR()])

    def between(share):
        return [(1 - share) * a + share * b for a, b in zip(*ends, strict=True)]

    def score(share):
        separator.set_weights(between(share))
        logs = separator.evaluate(
            *data, batch_size=8, verbose=0, return_dict=True
        )
        print(f"share {share:g}: SI-SNR {logs['si_snr']:.3f} dB", flush=True)
        return {f"val_{name}": value for name, value in logs.items()}

    logs = {share: score(share) for share in sorted({0.0, *shares, 1.0})}
    best = max(logs, key=lambda share: logs[share]["val_si_snr"])
    separator.set_weights(between(best))
    separator.metadata["training"] = {
        **training,
        "averaged": {"with": str(second), "share": best},
        "logs": logs[best],
    }
    separator.save_to_preset(directory)
    return best


def halve(path):
    """Rewrites a weights file with float16 in place of float32.

    Half the bytes; what is lost, 2^-11 of each weight, changes the estimates
    by less than -50 dB (tests/recipes/test_bandit_demo.py). Keras reads it as
    any other.
    """

    def write(made):
        with h5py.File(path) as source, h5py.File(made, "w") as target:

            def copy(name, item):
                if isinstance(item, h5py.Dataset):
                    half = item.dtype == np.float32
                    target[name] = item[...].astype("float16" if half else None)
                else:
                    target.require_group(name)
                target[name].attrs.update(item.attrs)

            source.visititems(copy)
            target.attrs.update(source.attrs)

    replace_file(path, write)


def export(source, directory, **metadata):
    """The preset as it ships: weights in half precision, its origin beside.

    Args:
        source: preset directory of the run.
        directory: path of the new preset directory, replaced if it exists.
        **metadata: entries for `metadata.json`.
    """
    separator = AudioSeparator.from_preset(source)
    training = separator.metadata["training"]
    origin = {**training, **separator.metadata}
    # `initial` is of the preset that the run went on from; older runs lack
    # their sessions, which have the versions of packages.
    optional = ("averaged", "sessions", "initial")
    separator.metadata = {
        "license": "Apache-2.0",
        "source": "recipes/bandit_demo.py of keras-bandit",
        "purpose": "demonstration; not film-grade",
        "config": training["config"],
        "seed": training["seed"],
        "backend": training["backend"],
        "validation": training["logs"],
        **{name: origin[name] for name in optional if name in origin},
        **metadata,
    }
    shutil.rmtree(directory, ignore_errors=True)
    separator.save_to_preset(directory)
    for path in Path(directory).glob("*.h5"):
        halve(path)


def main(argv=None, config=CONFIG):
    """Trains, or goes on; `--output`/preset is what ships."""
    config, arguments = parse_recipe(argv, __doc__, config)

    run = TrainingRun(
        arguments.output, config, arguments.seed, may_change=["average_with"]
    )
    separator = build(config)
    print(f"{separator.count_params():,} parameters", flush=True)
    validation = validation_data(config, arguments.data_dir)
    run.fit(
        separator,
        lambda epoch: training_data(
            config, arguments.data_dir, arguments.seed, epoch
        ),
        validation,
        # All of validation is one batch.
        clip=first_example([validation]),
        epochs=config["epochs"],
        patience=None,
        validation_batch_size=8,
    )
    source = run.best
    if config["average_with"] is not None:
        source = arguments.output / "averaged"
        averaged(
            run.last,
            config["average_with"],
            validation,
            losses.get(config["loss"]),
            source,
        )
    export(source, arguments.output / "preset")


if __name__ == "__main__":
    main()
