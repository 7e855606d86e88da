"""Train BSRNN on MUSDB18-HQ, one stereo model per stem.

Paper: Luo & Yu 2023, "Music Source Separation with Band-split RNN",
    arXiv:2209.15174: bands for each stem, segments chosen by source activity,
    mixtures of independent stems with random gains. Facts on data and
    optimizer from BandIt's code (arXiv:2309.02539), which repeats them.
Command:
    keras-bandit prepare musdb18_hq --manual-dir MUSDB18-HQ --data-dir DATA
    python recipes/bsrnn_musdb18.py --data-dir DATA --output RUN
    RUN/<stem>/ are the runs, RUN/preset has all stems' best weights.
    --settings mdx23: frames of 3 s, 2.5 s apart, half of the stems reversed
    (slides on BSRNN for MDX-23, Landschoot, "The Future of Music Demixing");
    then keras-bandit separate --preset RUN/preset --chunking mdx23.
Hardware: the paper's is 8 GPUs, 2 segments of 3 s each.
Time: not measured here; 20,000 segments an epoch and stem.
Expected score: not yet measured with this recipe on MUSDB18-HQ.
"""

from bsrnn_dnr import build
from recipe import PAPER, Recipe, run, train_each_stem

from keras_bandit.data import Gain, Reverse, active_segments
from keras_bandit.inference import CHUNKINGS

CONFIG = {
    **PAPER,
    "preset": "bsrnn_musdb18",
    "loss": "L1",
    "dataset": "musdb18_hq",
    "stems": ["vocals", "drums", "bass", "other"],
    "trained_stems": ["vocals", "drums", "bass", "other"],
    "segment_seconds": 6.0,
    "segment_hop_seconds": 3.0,
    "crop_seconds": 3.0,
    # Each way; the gain of every stem of a new mixture.
    "gain_db": 10.0,
    # Of a stem to be played backwards.
    "reverse_probability": 0.0,
}
SETTINGS = {
    "mdx23": {
        "crop_seconds": CHUNKINGS["mdx23"]["chunk_seconds"],
        "validation_hop_seconds": CHUNKINGS["mdx23"]["hop_seconds"],
        "reverse_probability": 0.5,
    }
}


def data(recipe, stem, sample_rate):
    """New mixtures of stems at new levels; validation tracks as they are.

    Each stem comes from a segment of its own, in all of which `stem` is heard.
    """
    config, gain_db = recipe.config, recipe.config["gain_db"]
    augmentations = [Gain(p=1.0, gain_db=(-gain_db, gain_db))]
    if config["reverse_probability"]:
        augmentations.append(Reverse(p=config["reverse_probability"]))
    active = [
        segment
        for track in recipe.tracks("train")
        for segment in active_segments(
            track,
            stem,
            segment_seconds=config["segment_seconds"],
            hop_seconds=config["segment_hop_seconds"],
        )
    ]
    print(f"{len(active)} active segments", flush=True)
    crops = recipe.crops(
        active,
        [stem],
        sample_rate,
        mixture_stems=config["stems"],
        independent=True,
        augmentations=augmentations,
        peak_margin=0.0,
    )
    validation = recipe.tracks("validation")
    return crops, recipe.chunks(validation, [stem], sample_rate)


def main(argv=None, config=CONFIG):
    """Trains stem after stem, or goes on; then joins them in one preset."""
    recipe = Recipe(argv, __doc__, config, settings=SETTINGS)
    train_each_stem(recipe, "trained_stems", build, data)


if __name__ == "__main__":
    run(main)
