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

from bandit_dnr import build
from frozen_encoder import train_decoders
from recipe import PAPER, Recipe, run

from keras_bandit.data.track import Track
from keras_bandit.models import AudioSeparator

CONFIG = {
    **PAPER,
    "preset": "bsrnn_microtonal",
    "stems": ["vocals", "drums", "other"],
    "new_stem": "bass",
    "loss": "L1",
    "dataset": "musdb18_hq",
    "crop_seconds": 1.0,
    "validation_batch_size": 16,
}


class Mono(Track):
    """A track's mean over channels."""

    def __init__(self, track):
        super().__init__(
            track.name, track.sample_rate, 1, track.num_samples, track.stems
        )
        self.track = track

    def _read(self, stem, start, stop):
        return self.track.read(stem, start, stop).mean(axis=0, keepdims=True)


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
        lambda: AudioSeparator.from_preset(shared.best, dtype=config["dtype"]),
        [config["new_stem"]],
        train,
        validation,
    )
    recipe.save(lambda: separator)


if __name__ == "__main__":
    run(main)
