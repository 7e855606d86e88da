"""Train music decoders on the frozen encoder of a film-sound BandIt.

Paper: Watcharasupat et al. 2023, "A Generalized Bandsplit Neural Network for
    Cinematic Audio Source Separation", arXiv:2309.02539, Table 2: an encoder
    trained on DnR, new decoders for vocals, drums, bass and other. The stereo
    channels of MUSDB18-HQ are separated independently of each other.
Command:
    keras-bandit prepare musdb18_hq --manual-dir MUSDB18-HQ --data-dir DATA
    python recipes/transfer_musdb18.py --data-dir DATA --preset TRAINED \
        --output RUN
    TRAINED is the preset directory of a BandIt. RUN/best and RUN/last hold the
    decoders alone, RUN/preset a separator of the four stems.
Hardware: as bandit_dnr.py; less memory, no gradient of the encoder.
Time: not measured here, and not in the paper; 20,000 chunks of 6 s an epoch,
    less with --cache-features.
Expected score: not yet measured with this recipe on MUSDB18-HQ.
"""

from frozen_encoder import train_decoders
from recipe import PAPER, Recipe, run

from keras_bandit.data import active_segments
from keras_bandit.models import AudioSeparator
from keras_bandit.training import paper_schedule

CONFIG = {
    **PAPER,
    "stems": ["vocals", "drums", "bass", "other"],
    "dataset": "musdb18_hq",
    # The authors cut all tracks to segments at one loudness, whoever plays.
    "segment_seconds": 6.0,
    "segment_hop_seconds": 3.0,
    "batch_size": 8,
    "validation_batch_size": 1,
    # As of transfer_mne.py.
    "cache_features": False,
}


def segments(recipe):
    """All segments of the training tracks."""
    found = [
        segment
        for track in recipe.tracks("train")
        for segment in active_segments(
            track,
            segment_seconds=recipe.config["segment_seconds"],
            hop_seconds=recipe.config["segment_hop_seconds"],
        )
    ]
    print(f"{len(found)} segments", flush=True)
    return found


def main(argv=None, config=CONFIG):
    """Trains, or goes on; then saves a separator of the new stems."""
    recipe = Recipe(argv, __doc__, config, "preset")
    config, preset = recipe.config, recipe.arguments.preset
    separator = train_decoders(
        recipe,
        recipe.open_run(preset=str(preset)),
        lambda: AudioSeparator.from_preset(preset, dtype=config["dtype"]),
        config["stems"],
        segments(recipe),
        recipe.tracks("validation"),
        callbacks=[paper_schedule(config["learning_rate"])],
    )
    recipe.save(lambda: separator.with_stems(config["stems"]))


if __name__ == "__main__":
    run(main)
