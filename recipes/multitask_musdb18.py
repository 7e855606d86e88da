"""Train a shared encoder on several instruments, then a decoder for another.

Paper: Akbarzadeh, "Refining BSRNN: Analysis and Extension of Music Source
    Separation with Band-Split RNN", Sec. III and IV: microtonal bands, one
    decoder for each instrument on a shared encoder, losses summed; then the
    decoders are dropped, the encoder is frozen and a decoder for an
    instrument it was not trained for is added. Recordings are normalized and
    each chunk's spectrogram is standardized (Sec. II-A). Sizes, 1 s chunks of
    mono and the optimizer as in its repository (sahandevs/BandSplit-RNN).
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
from recipe import PAPER, Recipe, compile_model, run

from keras_bandit.common.loudness import level_gain
from keras_bandit.data import Segment
from keras_bandit.data.stem_reader import mixture_sources
from keras_bandit.data.track import Track
from keras_bandit.models import AudioSeparator

CONFIG = {
    **PAPER,
    "preset": "bsrnn_microtonal",
    "stems": ["vocals", "drums", "other"],
    "new_stem": "bass",
    "normalize_recording": "rms_peak",
    "standardize_spectrogram": True,
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


def mixture_of(track):
    """A track's mixture, `(channels, samples)`."""
    return sum(track.read(stem) for stem in mixture_sources(track))


def mono_tracks(recipe, split):
    """A split in mono, its mixtures at the level that `separate` gives them."""
    level, tracks = recipe.config["normalize_recording"], []
    for track in map(Mono, recipe.tracks(split)):
        gain = 1.0 if level is None else level_gain([mixture_of(track)], level)
        tracks.append(Segment(track, track.name, 0, track.num_samples, gain))
    return tracks


def build(config):
    """The compiled separator that `config` describes."""
    names = ("stems", "dtype", "normalize_recording", "standardize_spectrogram")
    options = {name: config[name] for name in names}
    separator = AudioSeparator.from_preset(
        config["preset"], chunk_seconds=config["crop_seconds"], **options
    )
    return compile_model(separator, config)


def train_both(
    recipe,
    train,
    validation,
    folder="",
    build=build,
    callbacks=(),
    **differences,
):
    """Trains encoder and decoders, then the new decoder, or goes on.

    Args:
        recipe: `Recipe`.
        train, validation: sequences of `Track`.
        folder: str. The runs are `--output/FOLDERshared` and `…new`.
        build: function of CONFIG to the compiled separator of the first run.
        callbacks: Keras callbacks of the second run.
        **differences: of the runs' configuration from CONFIG.

    Returns:
        the second run, and the separator with the new decoder.
    """
    config, stems = recipe.config, recipe.config["stems"]
    shared = recipe.open_run(f"{folder}shared", **differences)
    with recipe.devices.scope():
        separator = build(config)
        rate = separator.sample_rate
        recipe.fit(
            shared,
            separator,
            recipe.crops(train, stems, rate),
            recipe.chunks(validation, stems, rate),
        )
    new = recipe.open_run(f"{folder}new", **differences)
    separator = train_decoders(
        recipe,
        new,
        lambda: AudioSeparator.from_preset(shared.best, dtype=config["dtype"]),
        [config["new_stem"]],
        train,
        validation,
        callbacks,
    )
    return new, separator


def main(argv=None, config=CONFIG):
    """Trains encoder and decoders, then the new decoder, or goes on."""
    recipe = Recipe(argv, __doc__, config)
    tracks = (mono_tracks(recipe, split) for split in ("train", "validation"))
    _, separator = train_both(recipe, *tracks)
    recipe.save(lambda: separator)


if __name__ == "__main__":
    run(main)
