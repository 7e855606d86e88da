"""What the recipes share: options, data, runs, errors.

Recipes import this module before Keras, so that TensorFlow starts quietly.
"""

import argparse
import pathlib
import sys

from options import add_options

from keras_bandit.cli.console import explain
from keras_bandit.common.quiet import quiet_tensorflow

with quiet_tensorflow():
    # KerasHub loads it to read presets, on every backend.
    import tensorflow  # noqa: F401

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
)

# How BandIt's authors train, with which most recipes begin.
PAPER = {
    "loss": "L1SNR",
    "storage": "paths",
    "crop_seconds": 6.0,
    "batch_size": 16,
    "accumulation_steps": 1,
    "epoch_size": 20_000,
    # Their configurations; the paper says 1 s.
    "validation_hop_seconds": 3.0,
    "validation_batch_size": 2,
    "epochs": 100,
    "patience": 20,
    "learning_rate": 1e-3,
    "global_clipnorm": 5.0,
    "dtype": "float32",
    # On PyTorch, the processes that torchrun starts.
    "devices": 1,
}
# In `config`, between the starts of a run; older recipes wrote `num_workers`.
MAY_CHANGE = ("epochs", "devices", "num_workers")
MAY_BE_ZERO = ("gain_db", "reverse_probability")
# Values of runs from before there were these options; left out of `config.json`,
# so that such runs go on.
FORMERLY = {
    "normalize_recording": None,
    "standardize_spectrogram": False,
    "reverse_probability": 0.0,
}


class Recipe:
    """A started recipe: its configuration, its data and its runs.

    Args:
        argv: list of str, or `None`: the arguments of the process.
        doc: str. The recipe's docstring, which `--help` shows.
        config: dict. Entries are options, see `add_options`.
        *paths: str. Further required paths, each an option `--NAME`.
        data: str. Name of the path of the data.
        seed: int. Default of `--seed`.
        settings: `{name: entries of CONFIG}`, sets of defaults that
            `--settings NAME` chooses; options replace them.

    Attributes:
        config: dict. CONFIG with what was given.
        arguments: the paths and the seed: `data_dir`, `output`, `seed`, ….
        devices: `Devices`, as many as CONFIG says; one if it says nothing.
    """

    def __init__(
        self,
        argv,
        doc,
        config,
        *paths,
        data="data-dir",
        seed=42,
        settings=None,
    ):
        parser = argparse.ArgumentParser(
            description=doc,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        for name in (data, "output", *paths):
            parser.add_argument(
                f"--{name}", type=pathlib.Path, required=True, metavar="PATH"
            )
        parser.add_argument("--seed", type=int, default=seed)
        add_options(parser, config, may_be_zero=MAY_BE_ZERO)
        if settings:
            parser.add_argument("--settings", choices=settings)
        self.arguments = parser.parse_args(argv)
        if settings and self.arguments.settings:
            parser.set_defaults(**settings[self.arguments.settings])
            self.arguments = parser.parse_args(argv)
        given = vars(self.arguments)
        self.config = {k: given.get(k, v) for k, v in config.items()}
        self.devices = open_devices(self.config.get("devices", 1))

    def tracks(self, split):
        """The tracks of a split of the prepared dataset."""
        return open_tracks(
            self.config["dataset"],
            split,
            self.arguments.data_dir,
            self.config["storage"],
        )

    def crops(self, tracks, stems, sample_rate, **options):
        """Random crops, as a function of the epoch to start with."""
        names = ("crop_seconds", "batch_size", "epoch_size")
        return lambda epoch: random_crops(
            tracks,
            stems,
            sample_rate=sample_rate,
            seed=self.arguments.seed,
            start_epoch=epoch,
            **{name: self.config[name] for name in names},
            **options,
        )

    def chunks(self, tracks, stems, sample_rate, hop_seconds=None, **options):
        """All chunks of tracks at CONFIG's hop for validation, or another."""
        return validation_chunks(
            tracks,
            stems,
            chunk_seconds=self.config["crop_seconds"],
            hop_seconds=hop_seconds or self.config["validation_hop_seconds"],
            batch_size=self.config["validation_batch_size"],
            sample_rate=sample_rate,
            **options,
        )

    def open_run(self, name="", may_change=MAY_CHANGE, **differences):
        """Opens a run in `--output`, before the separator is made.

        Args:
            name: str. A folder of `--output`.
            may_change: names in `config` that may differ from a former start.
            **differences: of the run's configuration from `config`.
        """
        config = {**self.config, **differences}
        return TrainingRun(
            self.arguments.output / name,
            {
                name: value
                for name, value in config.items()
                if name not in FORMERLY or value != FORMERLY[name]
            },
            self.arguments.seed,
            may_change=may_change,
            devices=self.devices,
        )

    def fit(self, run, model, train, validation, **options):
        """`run.fit` of a compiled model, with what CONFIG says."""
        if "clip" not in options:
            options["clip"] = first_example(validation)
        if "steps_per_epoch" not in options:
            size, batch = self.config["epoch_size"], self.config["batch_size"]
            options["steps_per_epoch"] = size // batch
        return run.fit(
            model,
            train,
            validation,
            epochs=self.config["epochs"],
            patience=self.config["patience"],
            **options,
        )

    def save(self, make, name="preset"):
        """Saves what `make()` returns as `--output/NAME`, in one process."""
        if self.devices.process_index == 0:
            make().save_to_preset(self.arguments.output / name)


def compile_model(model, config, metrics=()):
    """Compiles a model as the authors train, with CONFIG's loss."""
    model.compile(
        paper_optimizer(
            config["learning_rate"],
            config["global_clipnorm"],
            config.get("accumulation_steps", 1),
        ),
        loss=losses.get(config["loss"]),
        metrics=[SNR(), SISNR(), *metrics],
    )
    return model


class PlateauRate(keras.callbacks.ReduceLROnPlateau):
    """Lowers the learning rate when `val_loss` stands still, as PyTorch does.

    `torch.optim.lr_scheduler.ReduceLROnPlateau` lowers it in the epoch after
    `patience` bad ones, counts none of a cooldown's, and wants the best loss
    times `1 - 1e-4`. A run keeps the state.
    """

    def __init__(self, factor, patience, cooldown=0):
        super().__init__(
            "val_loss", factor, patience + 1, mode="min", cooldown=cooldown + 1
        )
        self._former = {}

    def _is_improvement(self, loss, best):
        return best is None or loss < best * (1 - 1e-4)

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        vars(self).update(self._former)

    def get_state(self):
        state = {"best": float(self.best), "wait": self.wait}
        return {**state, "cooldown_counter": self.cooldown_counter}

    def set_state(self, state):
        self._former = state


def train_each_stem(
    recipe,
    key,
    build,
    data,
    join=BSRNNAudioSeparator.join,
    schedule=lambda config: paper_schedule(config["learning_rate"]),
):
    """Trains a model for each stem, or goes on; joins them in one preset.

    `--output/STEM` are the runs, `--output/preset` has their best weights.

    Args:
        recipe: `Recipe`.
        key: str. The entry of CONFIG that lists the stems. In a stem's run it
            names that stem alone: the others make no difference to it.
        build: function of (config, stem) that returns a compiled separator.
        data: function of (recipe, stem, sample_rate) that returns what
            `recipe.fit` takes as `train` and `validation`.
        join: function of the trained separators to one of all stems.
        schedule: function of CONFIG to a callback, the learning rate's.
    """
    best = []
    for stem in recipe.config[key]:
        print(f"{stem}:", flush=True)
        run = recipe.open_run(stem, **{key: [stem]})
        with recipe.devices.scope():
            separator = build(recipe.config, stem)
            train, validation = data(recipe, stem, separator.sample_rate)
            callbacks = [schedule(recipe.config)]
            recipe.fit(run, separator, train, validation, callbacks=callbacks)
        best.append(run.best)
        keras.backend.clear_session()
    recipe.save(
        lambda: join(
            [AudioSeparator.from_preset(p, dtype="float32") for p in best]
        )
    )


def run(main):
    """Runs a recipe, which may return an exit status, and ends the process.

    A mistake in what the user gave, options or files, is one line on standard
    error and exit status 2. `python -X dev` shows where it was found.
    """
    status = 2
    try:
        status = main()
    except (FloatingPointError, ImportError, OSError, ValueError) as error:
        if sys.flags.dev_mode:
            raise
        name = pathlib.Path(sys.argv[0]).name
        print(f"{name}: error: {explain(error)}", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        status = 130
    sys.exit(status)
