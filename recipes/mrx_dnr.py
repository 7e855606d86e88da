"""Train MRX or MRX-C on the Divide and Remaster dataset (DnR).

Paper: Petermann, Wichern, Wang & Le Roux 2022, "The Cocktail Fork Problem",
    arXiv:2110.09958; MRX-C adds mixture consistency.
Command:
    keras-bandit prepare dnr --manual-dir DnR --data-dir DATA
    python recipes/mrx_dnr.py --data-dir DATA --output RUN --preset mrx
    MRX-C: --preset mrx_c. --loss NegativeSNR keeps the stems' level, which
    the paper's NegativeSISNR leaves open.
Hardware: 20 chunks of 9 s at a time.
Time: not measured here.
Expected score: the authors' released model has an SI-SDR of 12.5 (speech), 4.2
    (music) and 5.7 dB (effects) on DnR; not yet measured with this recipe.
    Theirs validates on whole tracks of 60 s, this one on chunks.
"""

import math

import bandit_dnr
import keras
from recipe import Recipe, run

CONFIG = {
    **bandit_dnr.CONFIG,
    "preset": "mrx",
    "loss": "NegativeSISNR",
    "stems": ["music", "speech", "effects"],
    "crop_seconds": 9.0,
    "batch_size": 20,
    "validation_hop_seconds": 9.0,
    "epochs": 200,
    "patience": None,
    # The rate is halved after so many epochs and one without a better loss.
    "rate_patience": 3,
}
del CONFIG["alternate_stems"]


def plateau_rate(losses, rate, patience):
    """The learning rate after these validation losses.

    As PyTorch's `ReduceLROnPlateau(factor=0.5)`; a function of the history
    alone, so that a run that goes on has the rate it would have had.

    Args:
        losses: list of float, one an epoch.
        rate: float. That of the first epoch.
        patience: int.

    Returns:
        float.
    """
    best, waited = math.inf, 0
    for loss in losses:
        # PyTorch's threshold is relative, and looser for negative losses.
        if loss < best * (1 - 1e-4) or best == math.inf:
            best, waited = loss, 0
        else:
            waited += 1
        if waited > patience:
            rate, waited = rate / 2, 0
    return rate


def main(argv=None, config=CONFIG):
    """Trains, or goes on; `--output` holds the presets and the history."""
    recipe = Recipe(argv, __doc__, config)
    config, trained = recipe.config, recipe.open_run()

    def rate(epoch):
        losses = [float(row["val_loss"]) for row in trained.history[:epoch]]
        patience = config["rate_patience"]
        return plateau_rate(losses, config["learning_rate"], patience)

    with recipe.devices.scope():
        separator = bandit_dnr.build(config)
        stems, sample_rate = config["stems"], separator.sample_rate
        recipe.fit(
            trained,
            separator,
            recipe.crops(recipe.tracks("train"), stems, sample_rate),
            recipe.chunks(recipe.tracks("validation"), stems, sample_rate),
            callbacks=[keras.callbacks.LearningRateScheduler(rate)],
        )


if __name__ == "__main__":
    run(main)
