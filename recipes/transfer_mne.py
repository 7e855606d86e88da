"""Train a music-and-effects decoder on a frozen BandIt encoder.

Paper: Watcharasupat et al. 2023, "A Generalized Bandsplit Neural Network for
    Cinematic Audio Source Separation", arXiv:2309.02539, Sec. V-E: a new
    decoder for music and effects in one (M&E) against the sum of the two
    stems, SNR 14.1 against 13.9 dB.
Command:
    keras-bandit prepare dnr --manual-dir DnR --data-dir DATA
    python recipes/transfer_mne.py --data-dir DATA --preset TRAINED --output RUN
    TRAINED is a preset directory with speech, music and effects. RUN/best and
    RUN/last hold the decoder alone, RUN/preset the separator with it.
Hardware: as bandit_dnr.py; less memory, no gradient of the encoder.
Time: not measured here, and not in the paper; 20,000 chunks of 6 s an epoch,
    less with --cache-features.
Expected score: not yet measured with this recipe on DnR.
"""

from frozen_encoder import train_decoders
from recipe import PAPER, Recipe, run

from keras_bandit.models import AudioSeparator
from keras_bandit.training import paper_schedule

CONFIG = {
    **PAPER,
    # Stored stems or sums of stored stems; a decoder for each.
    "targets": {"mne": ["music", "effects"]},
    "dataset": "dnr",
    # Fixed chunks in place of random crops; features computed once, kept in
    # RUN/features (17 MB for 6 s of one channel at the paper's size).
    "cache_features": False,
}


def main(argv=None, config=CONFIG):
    """Trains, or goes on; then saves the separator with the new decoders."""
    recipe = Recipe(argv, __doc__, config, "preset")
    config, preset = recipe.config, recipe.arguments.preset
    separator = train_decoders(
        recipe,
        recipe.open_run(preset=str(preset)),
        lambda: AudioSeparator.from_preset(preset, dtype=config["dtype"]),
        list(config["targets"]),
        recipe.tracks("train"),
        recipe.tracks("validation"),
        callbacks=[paper_schedule(config["learning_rate"])],
        composites=config["targets"],
    )
    recipe.save(lambda: separator)


if __name__ == "__main__":
    run(main)
