"""Train a BandIt of Table 1 on the Divide and Remaster dataset (DnR).

Paper: Watcharasupat et al. 2023, "A Generalized Bandsplit Neural Network for
    Cinematic Audio Source Separation", arXiv:2309.02539, Sec. IV and Table 1.
Command:
    keras-bandit prepare dnr --manual-dir DnR --data-dir DATA
    python recipes/bandit_dnr.py --data-dir DATA --output RUN \
        --preset bandit_musical64 --loss L1SNR
    Rows: --preset bandit_{vox7,bark48,…,musical64} with L1SNR; vox7 also with
    --loss L1, MSE and L2SNR. BandIt+: bandit_musical64 with --epochs 500.
    The authors' batch of 16 on one small device: --batch-size 2
    --accumulation-steps 8. Several devices share a batch: on JAX --devices 8,
    on PyTorch torchrun --nproc-per-node 8 recipes/bandit_dnr.py --devices 8 …
Hardware: the paper's is 8 NVIDIA A10G, 2 chunks of 6 s each.
Time: not measured here. The paper (Sec. IV-C, V-D): about 1.5 days for 100
    epochs of 20,000 chunks, 4.3 days for the 278 of BandIt+.
Expected score: the paper's SNR is in `keras-bandit presets`; not yet measured
    with this recipe on DnR.
"""

from recipe import PAPER, Recipe, compile_model, run

from keras_bandit.models import AudioSeparator
from keras_bandit.training import AlternatingStems, paper_schedule

CONFIG = {
    **PAPER,
    "preset": "bandit_musical64",
    "dataset": "dnr",
    "stems": ["speech", "music", "effects"],
    # Sec. III-A: one decoder at each step, in turn, to save memory.
    "alternate_stems": False,
}


def build(config):
    """The compiled separator that `config` describes."""
    return compile_model(
        AudioSeparator.from_preset(
            config["preset"], stems=config["stems"], dtype=config["dtype"]
        ),
        config,
    )


def schedule(config):
    """A callback, the learning rate's."""
    return paper_schedule(config["learning_rate"])


def main(argv=None, config=CONFIG, doc=__doc__, schedule=schedule):
    """Trains, or goes on; `--output` holds the presets and the history."""
    recipe = Recipe(argv, doc, config)
    config, trained = recipe.config, recipe.open_run()
    callbacks = [schedule(config)]
    if config.get("alternate_stems"):
        steps = config["accumulation_steps"]
        callbacks.append(AlternatingStems(steps_per_turn=steps))
    with recipe.devices.scope():
        separator = build(config)
        stems, rate = config["stems"], separator.sample_rate
        recipe.fit(
            trained,
            separator,
            recipe.crops(recipe.tracks("train"), stems, rate),
            recipe.chunks(recipe.tracks("validation"), stems, rate),
            callbacks=callbacks,
        )


if __name__ == "__main__":
    run(main)
