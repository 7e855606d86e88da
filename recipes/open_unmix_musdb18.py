"""Train Open-Unmix on MUSDB18-HQ as published, one network per stem.

Paper: Stöter, Uhlich, Liutkus & Mitsufuji 2019, "Open-Unmix - A Reference
    Implementation for Music Source Separation" (JOSS 4:41), whose numbers are
    those of scripts/train.py in sigsep/open-unmix-pytorch (fb672c9).
Command:
    keras-bandit prepare musdb18_hq --manual-dir MUSDB18-HQ --data-dir DATA
    python recipes/open_unmix_musdb18.py --data-dir DATA --output RUN
    RUN/<stem>/ are the runs, RUN/preset has all stems and the Wiener filter.
    The authors keep the best of four seeds for each stem: --seed.
Hardware: the authors' is one GPU.
Time: not measured here; 5,504 excerpts of 6 s an epoch and stem.
Expected score: the authors' umxhq has a median SDR of 6.25 (vocals), 6.04
    (drums), 5.07 (bass) and 4.28 dB (other); not yet measured with this
    recipe. Theirs validates on whole tracks, this one on chunks.
"""

import functools

import keras
import numpy as np
from recipe import PAPER, PlateauRate, Recipe, run, train_each_stem

from keras_bandit import losses
from keras_bandit.common.numpy_spectral import hann_window
from keras_bandit.models import AudioSeparator, OpenUnmixAudioSeparator

CONFIG = {
    **PAPER,
    "preset": "open_unmix_hq",
    "loss": "MagnitudeMSE",
    "dataset": "musdb18_hq",
    "stems": ["vocals", "drums", "bass", "other"],
    "trained_stems": ["vocals", "drums", "bass", "other"],
    "epoch_size": 64 * 86,  # excerpts of each of 86 tracks
    "validation_hop_seconds": 6.0,
    "epochs": 1000,
    "patience": 140,
    "weight_decay": 1e-5,
    "rate_factor": 0.3,
    "rate_patience": 80,
    "rate_cooldown": 10,
}
del CONFIG["accumulation_steps"], CONFIG["global_clipnorm"]


class CoupledAdam(keras.optimizers.Adam):
    """Adam whose weight decay is part of the gradient, as in PyTorch's."""

    def __init__(self, learning_rate, coupled_decay, **kwargs):
        super().__init__(learning_rate, **kwargs)
        self.coupled_decay = coupled_decay

    def apply(self, grads, trainable_variables=None):
        variables = trainable_variables or self._trainable_variables
        decayed = [
            grad + self.coupled_decay * keras.ops.convert_to_tensor(variable)
            for grad, variable in zip(grads, variables, strict=True)
        ]
        super().apply(decayed, trainable_variables)


def augment(rng, sources, sample_rate):
    """Gains of 0.25 … 1.25, and channels exchanged half of the time."""
    changed = {}
    for stem, audio in sources.items():
        channels = audio[::-1] if rng.random() < 0.5 else audio
        changed[stem] = np.float32(rng.uniform(0.25, 1.25)) * channels
    return changed


def input_statistics(tracks, stems, n_fft, hop_length):
    """Mean and standard deviation of the mixtures' magnitudes, each `(bins,)`.

    Of the channels' mean in all frames that lie inside a track; the deviation
    is at least 1e-4 of its largest.
    """
    count = total = squares = 0.0
    for track in tracks:
        mixture = sum(track.read(stem) for stem in stems)
        frames = np.lib.stride_tricks.sliding_window_view(mixture, n_fft, 1)
        frames = frames[:, ::hop_length]  # (channels, frames, n_fft)
        for start in range(0, frames.shape[1], 1000):  # 100 MB at a time
            block = frames[:, start : start + 1000] * hann_window(n_fft)
            magnitude = np.abs(np.fft.rfft(block)).mean(axis=0)
            count += len(magnitude)
            total += magnitude.sum(axis=0)
            squares += np.square(magnitude).sum(axis=0)
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return mean, np.maximum(deviation, 1e-4 * deviation.max())


def build(config, stem):
    """The compiled separator of one stem that `config` describes."""
    separator = AudioSeparator.from_preset(
        config["preset"], stems=[stem], dtype=config["dtype"], niter=0
    )
    optimizer = CoupledAdam(
        config["learning_rate"], config["weight_decay"], epsilon=1e-8
    )
    separator.compile(optimizer, losses.get(config["loss"]))
    return separator


def standardize(separator, mean, deviation):
    """Has the networks begin with these statistics of their inputs."""
    for network in separator.decoders.values():
        scaling = network.get_layer("input_scaling")
        scaling.mean.assign(-mean[: scaling.num_bins])
        scaling.scale.assign(1 / deviation[: scaling.num_bins])


def data(recipe, stem, sample_rate):
    """Excerpts of independent tracks; validation tracks as they are."""
    crops = recipe.crops(
        recipe.tracks("train"),
        [stem],
        sample_rate,
        mixture_stems=recipe.config["stems"],
        independent=True,
        augmentations=[augment],
        peak_margin=None,
    )
    validation = recipe.tracks("validation")
    return crops, recipe.chunks(validation, [stem], sample_rate)


def join(separators):
    """One separator of the networks of several, with the Wiener filter."""
    decoders = {s: m.decoders[s] for m in separators for s in m.stems}
    config = separators[0].get_config()
    config |= {"stems": list(decoders), "decoders": decoders}
    joined = OpenUnmixAudioSeparator.from_config(
        {**config, "niter": int(len(decoders) > 1)}
    )
    joined.metadata = {"stems": {m.stems[0]: m.metadata for m in separators}}
    return joined


def schedule(config):
    """A callback, the learning rate's."""
    names = ("rate_factor", "rate_patience", "rate_cooldown")
    return PlateauRate(*(config[name] for name in names))


def main(argv=None, config=CONFIG):
    """Trains stem after stem, or goes on; then joins them in one preset."""
    recipe = Recipe(argv, __doc__, config)

    @functools.cache
    def statistics(n_fft, hop_length):
        tracks, stems = recipe.tracks("train"), recipe.config["stems"]
        return input_statistics(tracks, stems, n_fft, hop_length)

    def build_standardized(config, stem):
        separator = build(config, stem)
        sizes = separator.n_fft, separator.hop_length
        standardize(separator, *statistics(*sizes))
        return separator

    parts = build_standardized, data, join, schedule
    train_each_stem(recipe, "trained_stems", *parts)


if __name__ == "__main__":
    run(main)
