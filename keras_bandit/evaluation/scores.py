"""Scores of whole tracks, in dB."""

from __future__ import annotations

import functools
import importlib.util
import itertools
import pathlib
from typing import TYPE_CHECKING

import numpy as np

from keras_bandit.common.checks import check_some

if TYPE_CHECKING:
    from keras_bandit.common.types import Tensor


_EPSILON = 1.1920929e-07  # as in keras_bandit.metrics
_SDR_EPSILON = 1e-7  # Music Demixing Challenge 2021

MUSEVAL = ("museval_sdr", "museval_isr", "museval_sir", "museval_sar")

METRICS = ("snr", "si_snr", "usdr", "csdr", "museval")
"""What can be asked for; `museval` gives the four scores of `MUSEVAL`."""

MEDIANS = ("csdr", *MUSEVAL)
"""Scores whose figure for a dataset is the median over tracks, by
convention; that of the others is the mean."""


def check_metrics(metrics):
    """Checks names of metrics, and that museval is there if it is wanted."""
    check_some("metrics", metrics, METRICS)
    if "museval" in metrics:
        _museval()


def score_names(metrics):
    """Names of the scores that metrics give, in order."""
    names = [MUSEVAL if name == "museval" else (name,) for name in metrics]
    return list(itertools.chain(*names))


def _decibels(signal, noise, epsilon):
    return 10 * np.log10((signal + epsilon) / (noise + epsilon))


def _snr(target, estimate):
    error = target - estimate
    return _decibels(target @ target, error @ error, _EPSILON)


def _si_snr(target, estimate):
    target = target - target.mean()
    estimate = estimate - estimate.mean()
    scale = (estimate @ target + _EPSILON) / (target @ target + _EPSILON)
    return _snr(scale * target, estimate)


def _mean_over_channels(function, target, estimate):
    # One channel at a time: in float64 a song's channel takes 100 MB.
    pairs = zip(target, estimate, strict=True)
    return float(
        np.mean([function(*(x.astype("float64") for x in p)) for p in pairs])
    )


def snr(target: Tensor, estimate: Tensor) -> Tensor:
    """`keras_bandit.metrics.snr` in NumPy and float64; mean over channels.

    Target and estimate of all scores here are `(channels, samples)`; the score
    is a float in dB.
    """
    return _mean_over_channels(_snr, target, estimate)


def si_snr(target: Tensor, estimate: Tensor) -> Tensor:
    """`keras_bandit.metrics.si_snr`, as `snr`."""
    return _mean_over_channels(_si_snr, target, estimate)


def usdr(target, estimate):
    """SDR of a whole track, channels pooled ("utterance level").

    `10 log10((sum s² + ε) / (sum (s - ŝ)² + ε))` over all samples of all
    channels, ε = 1e-7 (Music Demixing Challenge 2021, Mitsufuji et al.
    2022); its figure for a dataset is the mean over tracks (BSRNN's uSDR).
    """
    signal, noise = _energies(target, estimate, target.shape[-1])
    return float(_decibels(signal[0], noise[0], _SDR_EPSILON))


def csdr(target, estimate, sample_rate):
    """Median over chunks of 1 s of the SDR, channels pooled.

    Chunks do not overlap, what is left at the end does not count, and a
    chunk with a silent target is left out. This is the SDR of BSSEval v4 as
    museval computes it (in which the distortion filters cancel) without its
    cost, except that museval leaves a chunk out as soon as any stem is
    silent, and that ε (as in `usdr`) keeps perfect estimates finite. Its
    figure for a dataset is the median over tracks (BSRNN's cSDR). It is NaN if
    every chunk is silent.
    """
    chunk = min(sample_rate, target.shape[-1])
    signal, noise = _energies(target, estimate, chunk)
    audible = signal > 0
    if not audible.any():
        return float("nan")
    values = _decibels(signal[audible], noise[audible], _SDR_EPSILON)
    return float(np.median(values))


def _energies(target, estimate, chunk):
    """Energies of target and error in each whole chunk, `(chunks,)`."""
    count = target.shape[-1] // chunk
    signal, noise = np.zeros(count), np.zeros(count)
    for i in range(count):
        part = slice(i * chunk, (i + 1) * chunk)
        wanted = target[:, part].astype("float64")
        signal[i] = np.sum(wanted**2)
        noise[i] = np.sum((wanted - estimate[:, part]) ** 2)
    return signal, noise


def museval_scores(targets, estimates, sample_rate):
    """Scores of BSSEval v4, `{score of MUSEVAL: {stem: float}}` in dB.

    Medians over chunks of 1 s, by `museval.metrics.bss_eval` with the settings
    of the SiSEC campaigns: windows and hops of 1 s, filters of 512 taps over
    the whole track. Two channels and four stems took 0.7 times their length on
    one core. `targets` and `estimates` are all stems of the mixture; NaN for a
    stem whose target or estimate is silent throughout.
    """
    scores = {name: dict.fromkeys(targets, float("nan")) for name in MUSEVAL}
    # bss_eval refuses silent stems.
    stems = [s for s in targets if targets[s].any() and estimates[s].any()]
    if not stems:
        return scores
    references, estimated = (
        np.stack([x[stem].T for stem in stems]).astype("float64")
        for x in (targets, estimates)
    )  # (stems, samples, channels)
    chunk = min(sample_rate, references.shape[1])
    found = _museval().bss_eval(references, estimated, window=chunk, hop=chunk)
    for name, values in zip(MUSEVAL, found, strict=False):
        for stem, of_chunks in zip(stems, values, strict=True):
            defined = of_chunks[~np.isnan(of_chunks)]
            if defined.size:
                scores[name][stem] = float(np.median(defined))
    return scores


@functools.cache
def _museval():
    """The module `museval.metrics`, without the package around it.

    `import museval` imports packages for reading MUSDB18's mp4 files, which
    refuse to be imported where ffmpeg is not installed.
    """
    package = importlib.util.find_spec("museval")
    if package is None:
        raise ImportError(
            "the metric museval needs the package museval: "
            "pip install 'keras-bandit[museval]'"
        )
    folder = pathlib.Path(package.submodule_search_locations[0])
    spec = importlib.util.spec_from_file_location(
        "museval.metrics", folder / "metrics.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def score(metrics, targets, estimates, stems, sample_rate):
    """Scores of a track by `METRICS`, `{score: {name: float}}` in dB or NaN.

    `targets` and `estimates` have stems and composites, `{name: (channels,
    samples)}`; museval takes `stems` alone.
    """
    functions = {"snr": snr, "si_snr": si_snr, "usdr": usdr}
    functions["csdr"] = functools.partial(csdr, sample_rate=sample_rate)
    scores = {}
    for metric in metrics:
        if metric == "museval":
            wanted = {stem: targets[stem] for stem in stems}
            scores |= museval_scores(wanted, estimates, sample_rate)
        else:
            scores[metric] = {
                name: functions[metric](target, estimates[name])
                for name, target in targets.items()
            }
    return scores
