"""Train the Hybrid Demucs of BandIt's Table 1 on DnR, all stems together.

Paper: Watcharasupat et al. 2023, arXiv:2309.02539, Sec. IV and Table 1, whose
    authors train Défossez 2021, "Hybrid Spectrogram and Waveform Source
    Separation", arXiv:2111.03600, in torchaudio's sizes, with L1 on waveforms.
Command:
    keras-bandit prepare dnr --manual-dir DnR --data-dir DATA
    python recipes/hybrid_demucs_dnr.py --data-dir DATA --output RUN
Hardware: the authors' is 8 NVIDIA A10G, 2 chunks of 6 s each.
Time: not measured here, and not in the paper.
Expected score: that of the paper's Table 1; not yet measured with this recipe
    on DnR.
"""

import bandit_dnr
from recipe import run

CONFIG = {**bandit_dnr.CONFIG, "preset": "hybrid_demucs_dnr", "loss": "L1"}


def main(argv=None, config=CONFIG):
    """Trains, or goes on; `--output` holds the presets and the history."""
    bandit_dnr.main(argv, config, __doc__)


if __name__ == "__main__":
    run(main)
