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

from frozen_encoder import train_decoders
from recipe import Recipe, compile_model, run

from keras_bandit.data.track import Track
from keras_bandit.models import AudioSeparator

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
    """The compiled separator of the stems that share the encoder."""
    separator = AudioSeparator.from_preset(
        config["preset"], stems=config["stems"], dtype=config["dtype"]
    )
    compile_model(separator, config)
    return separator


def build_new(config, preset):
    """The trained separator with a decoder for the new stem."""
    separator = AudioSeparator.from_preset(preset, dtype=config["dtype"])
    separator.backbone.trainable = False
    return separator.add_decoder(config["new_stem"])


def main(argv=None, config=CONFIG):
    """Trains encoder and decoders, then the new decoder, or goes on."""
    recipe = Recipe(argv, __doc__, config)
    config, stems = recipe.config, recipe.config["stems"]
    train, validation = (
        [Mono(track) for track in recipe.tracks(split)]
        for split in ("train", "validation")
    )
    shared = recipe.open_run("shared")
    with recipe.devices.scope():
        separator = build(config)
        rate = separator.sample_rate
        recipe.fit(
            shared,
            separator,
            recipe.crops(train, stems, rate),
            recipe.chunks(validation, stems, rate),
        )
        separator = train_decoders(
            recipe,
            recipe.open_run("new"),
            build_new(config, shared.best),
            [config["new_stem"]],
            train,
            validation,
        )
    if recipe.writes:
        separator.save_to_preset(recipe.arguments.output / "preset")


if __name__ == "__main__":
    run(main)
