"""Train the Open-Unmix of BandIt's Table 1 on DnR, all stems together.

Paper: Watcharasupat et al. 2023, arXiv:2309.02539, Sec. IV and Table 1, whose
    authors train Stöter et al. 2019, "Open-Unmix", without bandwidth limit,
    statistics of the inputs and Wiener filter, on mixtures' magnitudes.
Command:
    keras-bandit prepare dnr --manual-dir DnR --data-dir DATA
    python recipes/open_unmix_dnr.py --data-dir DATA --output RUN
Hardware: the authors' is one NVIDIA T4.
Time: not measured here, and not in the paper.
Expected score: that of the paper's Table 1; not yet measured with this recipe
    on DnR.
"""

import bandit_dnr
from recipe import run

CONFIG = {
    **bandit_dnr.CONFIG,
    "preset": "open_unmix_dnr",
    "loss": "MagnitudeMSE",
}
del CONFIG["alternate_stems"]


def main(argv=None, config=CONFIG):
    """Trains, or goes on; `--output` holds the presets and the history."""
    bandit_dnr.main(argv, config, __doc__)


if __name__ == "__main__":
    run(main)
