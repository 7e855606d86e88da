"""Train the BSRNN baselines of BandIt's Table 1 on DnR, one model per stem.

Paper: Luo & Yu 2023, "Music Source Separation with Band-split RNN",
    arXiv:2209.15174, as Watcharasupat et al. 2023, arXiv:2309.02539, train it
    for Table 1: the bands of Vocals V7 for every stem, and the L1 loss.
Command:
    keras-bandit prepare dnr --manual-dir DnR --data-dir DATA
    python recipes/bsrnn_dnr.py --data-dir DATA --output RUN \
        --preset bsrnn_gru8_vox7
    and with --preset bsrnn_lstm12_vox7. RUN/<stem>/ are the runs; RUN/preset
    has all stems' best weights. Several machines: --stems speech on one, …,
    then all stems on a copy of all runs.
Hardware: the paper's is 8 NVIDIA A10G, 2 chunks of 6 s each.
Time: not measured here, and not in BandIt's paper; 20,000 chunks an epoch and
    stem.
Expected score: the paper's SNR is in `keras-bandit presets`; not yet measured
    with this recipe on DnR.
"""

from recipe import PAPER, Recipe, compile_model, run, train_each_stem

from keras_bandit.models import AudioSeparator

CONFIG = {
    **PAPER,
    "preset": "bsrnn_gru8_vox7",
    "loss": "L1",
    "dataset": "dnr",
    "stems": ["speech", "music", "effects"],
}


def build(config, stem):
    """The compiled model of one stem."""
    whole = AudioSeparator.from_preset(config["preset"], dtype=config["dtype"])
    return compile_model(whole.with_stems([stem]), config)


def data(recipe, stem, sample_rate):
    """Random crops, and all chunks of the validation split."""
    return (
        recipe.crops(recipe.tracks("train"), [stem], sample_rate),
        recipe.chunks(recipe.tracks("validation"), [stem], sample_rate),
    )


def main(argv=None, config=CONFIG):
    """Trains stem after stem, or goes on; then joins them in one preset."""
    train_each_stem(Recipe(argv, __doc__, config), "stems", build, data)


if __name__ == "__main__":
    run(main)
