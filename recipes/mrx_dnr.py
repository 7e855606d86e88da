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

import bandit_dnr
from recipe import PlateauRate, run

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
    "rate_factor": 0.5,
    "rate_patience": 3,
}
del CONFIG["alternate_stems"]


def schedule(config):
    """A callback, the learning rate's."""
    return PlateauRate(config["rate_factor"], config["rate_patience"])


def main(argv=None, config=CONFIG):
    """Trains, or goes on; `--output` holds the presets and the history."""
    bandit_dnr.main(argv, config, __doc__, schedule)


if __name__ == "__main__":
    run(main)
