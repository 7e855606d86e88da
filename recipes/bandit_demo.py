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

import shutil

import h5py
import numpy as np
from recipe import Recipe, compile_model, generated_tracks, run

# isort: split
import keras

from keras_bandit.common.files import replace_file
from keras_bandit.data import Gain, PolarityInversion, random_crops
from keras_bandit.export.preset_core import write_preset_core
from keras_bandit.models import AudioSeparator, BanditAudioSeparator
from keras_bandit.training import first_example

CONFIG = {
    # A preset to go on from, such as a run's last/, or new weights; deepened
    # if it has fewer `num_pairs`.
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
    sizes = ("band_layout", "num_bands", "sample_rate", "n_fft")
    sizes += ("embed_dim", "rnn_dim", "num_pairs")
    return BanditAudioSeparator.from_architecture(
        {name: config[name] for name in sizes},
        {name: config[name] for name in ("stems", "hop_length", "mlp_dim")},
    )


def deepened(separator, num_pairs):
    """The separator with more residual pairs, which change nothing at first.

    They come last, and their projections are zero: each returns its input
    until training moves it.
    """
    found = separator.backbone.num_pairs
    if num_pairs < found:
        raise ValueError(
            f"num_pairs must be at least the initial preset's, {found}; got "
            f"{num_pairs}"
        )
    if num_pairs == found:
        return separator
    config = {**separator.get_config(), **separator.backbone.get_config()}
    deeper = new_separator({**config, "num_pairs": num_pairs})
    known = {variable.path: variable for variable in separator.variables}
    for variable in deeper.variables:
        if variable.path in known:
            # A copy: JAX's steps delete the arrays that they are given.
            variable.assign(known[variable.path].numpy().copy())
        elif "/projection/" in variable.path:
            variable.assign(np.zeros(variable.shape))
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
    return compile_model(separator, {**config, "learning_rate": schedule})


def training_data(recipe, start_epoch):
    """Mixtures whose stems come from clips of their own."""
    config, gain_db = recipe.config, recipe.config["gain_db"]
    generated = generated_tracks(
        config["generated_clips"],
        config["generated_seconds"],
        config["sample_rate"],
        recipe.arguments.seed,
    )
    return random_crops(
        [*recipe.tracks("train"), *generated],
        config["stems"],
        crop_seconds=config["crop_seconds"],
        batch_size=config["batch_size"],
        epoch_size=config["batch_size"] * config["steps_per_epoch"],
        independent=True,
        augmentations=[
            Gain(p=1.0, gain_db=(-gain_db, gain_db)),
            PolarityInversion(),
        ],
        sample_rate=config["sample_rate"],
        seed=recipe.arguments.seed,
        start_epoch=start_epoch,
    )


def validation_data(recipe):
    """The first half of every clip of the validation split, as arrays."""
    clips = recipe.tracks("validation")
    halves = [(clip, clip.num_samples // 2) for clip in clips]
    targets = {
        stem: np.stack([clip.read(stem, 0, stop) for clip, stop in halves])
        for stem in recipe.config["stems"]
    }
    return sum(targets.values()), targets


def averaged(first, second, data, config, directory):
    """Saves the best of the weights between two presets, or at either end.

    Runs that begin with the same weights end in one basin of the loss, where
    weights between them are often better than either (stochastic weight
    averaging, Izmailov et al. 2018, arXiv:1803.05407). A quarter, a half and
    three quarters of the second are tried; the highest SI-SNR on `data`,
    `(mixture, targets)`, is the best. The metadata are those of the first.

    Returns:
        float. The share of the second that was best.
    """
    separator, other = map(AudioSeparator.from_preset, (first, second))
    if separator.get_config() != other.get_config():
        raise ValueError(
            f"average_with must have the structure of {first}; got {second}, "
            "whose configuration differs"
        )
    ends = list(zip(separator.get_weights(), other.get_weights(), strict=True))
    compile_model(separator, config)
    found = {}
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        between = [(1 - share) * a + share * b for a, b in ends]
        separator.set_weights(between)
        logs = separator.evaluate(
            *data, batch_size=8, verbose=0, return_dict=True
        )
        print(f"share {share:g}: SI-SNR {logs['si_snr']:.3f} dB", flush=True)
        logs = {f"val_{name}": value for name, value in logs.items()}
        found[share] = logs, between
    best = max(found, key=lambda share: found[share][0]["val_si_snr"])
    logs, between = found[best]
    separator.set_weights(between)
    separator.metadata["training"] |= {
        "averaged": {"with": str(second), "share": best},
        "logs": logs,
    }
    separator.save_to_preset(directory)
    return best


def halve(path):
    """Rewrites a weights file with float16 in place of float32.

    What is lost, 2^-11 of each weight, changes the estimates by less than
    -50 dB (tests/recipes/test_bandit_demo.py). Keras reads it as any other.
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


def export(source, directory):
    """The preset as it ships: weights in half precision, its origin beside."""
    separator = AudioSeparator.from_preset(source)
    training = separator.metadata["training"]
    origin = {**training, **separator.metadata}
    # Older runs lack their sessions, which have the versions of packages.
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
    }
    shutil.rmtree(directory, ignore_errors=True)
    separator.save_to_preset(directory)
    for path in directory.glob("*.h5"):
        halve(path)
    write_preset_core(AudioSeparator.from_preset(directory), directory)


def main(argv=None, config=CONFIG):
    """Trains, or goes on; `--output`/preset is what ships."""
    recipe = Recipe(argv, __doc__, config)
    config, output = recipe.config, recipe.arguments.output
    trained = recipe.open_run(may_change=["average_with"])
    separator = build(config)
    print(f"{separator.count_params():,} parameters", flush=True)
    validation = validation_data(recipe)
    trained.fit(
        separator,
        lambda epoch: training_data(recipe, epoch),
        validation,
        # All of validation is one batch.
        clip=first_example([validation]),
        epochs=config["epochs"],
        patience=None,
        validation_batch_size=8,
    )
    source = trained.best
    if config["average_with"] is not None:
        source = output / "averaged"
        other = config["average_with"]
        averaged(trained.last, other, validation, config, source)
    export(source, output / "preset")


if __name__ == "__main__":
    run(main)
