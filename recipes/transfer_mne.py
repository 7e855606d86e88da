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
from recipe import Recipe, run

from keras_bandit.models import AudioSeparator
from keras_bandit.training import paper_schedule

CONFIG = {
    # Stored stems or sums of stored stems; a decoder for each.
    "targets": {"mne": ["music", "effects"]},
    "loss": "L1SNR",
    "dataset": "dnr",
    "storage": "paths",
    "crop_seconds": 6.0,
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
    # Fixed chunks in place of random crops; features computed once, kept in
    # RUN/features (17 MB for 6 s of one channel at the paper's size).
    "cache_features": False,
}


def build(config, preset):
    """The separator with new decoders on its frozen encoder."""
    separator = AudioSeparator.from_preset(preset, dtype=config["dtype"])
    separator.backbone.trainable = False
    for stem in config["targets"]:
        separator = separator.add_decoder(stem)
    return separator


def main(argv=None, config=CONFIG):
    """Trains, or goes on; then saves the separator with the new decoders."""
    recipe = Recipe(argv, __doc__, config, "preset")
    config, preset = recipe.config, recipe.arguments.preset
    trained = recipe.open_run(preset=str(preset))
    with recipe.devices.scope():
        separator = train_decoders(
            recipe,
            trained,
            build(config, preset),
            list(config["targets"]),
            recipe.tracks("train"),
            recipe.tracks("validation"),
            callbacks=[paper_schedule(config["learning_rate"])],
            composites=config["targets"],
        )
    if recipe.writes:
        separator.save_to_preset(recipe.arguments.output / "preset")


if __name__ == "__main__":
    run(main)
