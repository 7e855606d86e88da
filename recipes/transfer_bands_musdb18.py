"""Compare generic with V7 bands by transfer from drums to bass.

Paper: Akbarzadeh, "Refining BSRNN: Analysis and Extension of Music Source
    Separation with Band-Split RNN", Sec. V and Fig. 8: a model is trained on
    drums, its encoder frozen and a decoder trained for bass; once with the
    generic (microtonal) bands and once with those of BSRNN's V7. Settings as
    in multitask_musdb18.py.
Command:
    keras-bandit prepare musdb18_hq --manual-dir MUSDB18-HQ --data-dir DATA
    python recipes/transfer_bands_musdb18.py --data-dir DATA --output RUN
    RUN/<bands>/shared and new are the runs, RUN/<bands>/preset the model;
    RUN/usdr.png is Fig. 8, RUN/usdr.json its numbers, `val_usdr` in the
    histories of the runs.
Hardware: one GPU.
Time: not measured here; the paper trains some 150 epochs for each.
Expected score: not yet measured with this recipe on MUSDB18-HQ. Fig. 8 has
    the generic bands above V7's.
"""

import json

import keras
import numpy as np
from multitask_musdb18 import CONFIG as MULTITASK
from multitask_musdb18 import build, mixture_of, mono_tracks, train_both
from recipe import Recipe, compile_model, run

from keras_bandit.common.extras import require
from keras_bandit.evaluation.scores import usdr

CONFIG = {
    **MULTITASK,
    "stems": ["drums"],
    "bands": {"generic": "microtonal", "v7": "vocals_v7"},
    "epochs": 150,
}
# Each epoch separates whole tracks, in one process.
del CONFIG["devices"]


class TrackScore(keras.callbacks.Callback):
    """Logs a stem's `val_usdr` in dB, tracks being separated whole."""

    def __init__(self, tracks, stem, batch_size):
        super().__init__()
        self.tracks, self.stem, self.batch_size = tracks, stem, batch_size

    def on_epoch_end(self, epoch, logs=None):
        scores = []
        for track in self.tracks:
            estimates = self.model.separate(
                mixture_of(track), track.sample_rate, batch_size=self.batch_size
            )
            scores.append(usdr(track.read(self.stem), estimates[self.stem]))
        logs["val_usdr"] = float(np.mean(scores))


def build_with(bands):
    """A function of CONFIG to the preset's model with other bands."""

    def build_other(config):
        separator = build(config)
        own = separator.get_config()
        backbone = separator.backbone.get_config()
        backbone |= {"band_layout": bands, "num_bands": None}
        own["backbone"] = type(separator.backbone).from_config(backbone)
        return compile_model(type(separator).from_config(own), config)

    return build_other


def plot(curves, title):
    """Fig. 8: uSDR over epochs of transfer, `{bands: list of dB}`."""
    drawing = require("matplotlib.figure", "plot", "the picture")
    figure = drawing.Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    for bands, values in curves.items():
        epochs = range(1, len(values) + 1)
        axis.plot(epochs, values, marker=".", label=f"{bands} bands")
    axis.set(xlabel="epoch of transfer", ylabel="uSDR (dB)", title=title)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(alpha=0.3)
    axis.legend()
    return figure


def main(argv=None, config=CONFIG):
    """Trains four models, or goes on; draws how the transfer went."""
    recipe = Recipe(argv, __doc__, config)
    config, output = recipe.config, recipe.arguments.output
    require("matplotlib.figure", "plot", "the picture")  # before training
    train, validation = (
        mono_tracks(recipe, split) for split in ("train", "validation")
    )
    stem, curves = config["new_stem"], {}
    for name, bands in config["bands"].items():
        print(f"{name}:", flush=True)
        score = TrackScore(validation, stem, config["validation_batch_size"])
        new, separator = train_both(
            recipe,
            train,
            validation,
            f"{name}/",
            build_with(bands),
            [score],
            bands={name: bands},
        )
        recipe.save(lambda made=separator: made, f"{name}/preset")
        curves[name] = [float(row["val_usdr"]) for row in new.history]
        keras.backend.clear_session()
    (output / "usdr.json").write_text(json.dumps(curves, indent=2) + "\n")
    title = f"{stem.capitalize()} on an encoder of {', '.join(config['stems'])}"
    plot(curves, title).savefig(output / "usdr.png", dpi=120)


if __name__ == "__main__":
    run(main)
