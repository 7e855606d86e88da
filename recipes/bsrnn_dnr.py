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

from recipe import Recipe, compile_model, run, train_each_stem

from keras_bandit.models import AudioSeparator

CONFIG = {
    "preset": "bsrnn_gru8_vox7",
    "loss": "L1",
    "dataset": "dnr",
    "storage": "paths",
    "stems": ["speech", "music", "effects"],
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
}


def build(config, stem):
    """The compiled model of one stem."""
    separator = AudioSeparator.from_preset(
        config["preset"], dtype=config["dtype"]
    ).with_stems([stem])
    compile_model(separator, config)
    return separator


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
