"""What two simple filters reach, beside separators that were evaluated.

Speech is the mixture from 300 to 3400 Hz. What is left is split by median
filters (FitzGerald 2010, "Harmonic/Percussive Separation using Median
Filtering"): music is what lasts in time, effects what is broad in frequency.
Command, DATA a prepared film_mix of the test split of natural_sounds.py:
    keras-bandit evaluate --preset bandit_demo --data-dir DATA --hop-seconds 3 \
        --oracles mixture,irm --output EVALUATION
    python recipes/simple_baselines.py DATA EVALUATION [EVALUATION …]
Prints: a table of SNR and gains of SI-SNR, dB, means over the test split. A
    model is called as the folder of its evaluation.
Time: a second for 10 s of audio.
"""

import argparse
import json
import pathlib

import numpy as np
from recipe import run
from scipy.ndimage import median_filter
from scipy.signal import butter, istft, sosfiltfilt, stft
from tabulate import tabulate

from keras_bandit.data import open_tracks
from keras_bandit.evaluation.scores import si_snr, snr

STEMS = ("speech", "music", "effects")
SPEECH_HZ = 300, 3400
N_FFT, HOP_LENGTH = 2048, 512
MEDIAN = 31


def band_pass(sound, rate, low_hz, high_hz):
    """Keeps what lies between two frequencies, without a delay.

    `sound` and the result are `(channels, samples)`; `rate` is in Hz.
    """
    edges = low_hz, min(high_hz, 0.45 * rate)
    band = butter(4, edges, "bandpass", fs=rate, output="sos")
    return sosfiltfilt(band, sound)


def baselines(mixture, sample_rate):
    """`{stem: (1, samples)}` of a mixture `(1, samples)`."""
    speech = band_pass(mixture, sample_rate, *SPEECH_HZ)
    rest = mixture - speech
    options = {"nperseg": N_FFT, "noverlap": N_FFT - HOP_LENGTH}
    _, _, spectrum = stft(rest[0], **options)
    magnitude = np.abs(spectrum)
    lasting = median_filter(magnitude, (1, MEDIAN)) ** 2
    broad = median_filter(magnitude, (MEDIAN, 1)) ** 2
    mask = (lasting + 1e-12) / (lasting + broad + 2e-12)
    _, music = istft(spectrum * mask, **options)
    music = music[None, : rest.shape[1]]
    return {"speech": speech, "music": music, "effects": rest - music}


def score_baselines(tracks):
    """`{row: {"snr": {stem: dB}, "si_snr": …}}` of mixtures and filters."""
    found = {}
    for track in tracks:
        targets = {s: track.read(s, 0, track.num_samples) for s in STEMS}
        mixture = sum(targets.values())
        rows = {
            "mixture": dict.fromkeys(STEMS, mixture),
            "band-pass and median filters": baselines(
                mixture, track.sample_rate
            ),
        }
        for row, estimates in rows.items():
            scores = found.setdefault(row, {"snr": {}, "si_snr": {}})
            for stem, target in targets.items():
                for ratio in (snr, si_snr):
                    values = scores[ratio.__name__].setdefault(stem, [])
                    values.append(ratio(target, estimates[stem]))
    return {
        row: {
            ratio: {stem: float(np.mean(x)) for stem, x in values.items()}
            for ratio, values in scores.items()
        }
        for row, scores in found.items()
    }


def read_evaluation(directory):
    """The same of what `keras-bandit evaluate` wrote."""
    mean = json.loads((directory / "summary.json").read_text())["mean"]
    mean[directory.name] = mean.pop("model")
    return {{"irm": "ideal ratio mask"}.get(k, k): v for k, v in mean.items()}


def table(rows):
    """SNR and gain of SI-SNR of each stem and their mean, as Markdown."""
    before, lines = rows["mixture"]["si_snr"], []
    for name, scores in rows.items():
        ratios = [scores["snr"][stem] for stem in STEMS]
        gains = [scores["si_snr"][stem] - before[stem] for stem in STEMS]
        lines.append([name, *ratios, np.mean(ratios), *gains, np.mean(gains)])
    columns = (*STEMS, "mean")
    heads = ["dB", *(f"SNR, {c}" for c in columns)]
    heads += [f"gain, {c}" for c in columns]
    return tabulate(lines, heads, "pipe", floatfmt=".1f")


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data_dir", type=pathlib.Path)
    parser.add_argument("evaluations", type=pathlib.Path, nargs="*")
    arguments = parser.parse_args(argv)
    rows = score_baselines(open_tracks("film_mix", "test", arguments.data_dir))
    for directory in arguments.evaluations:
        rows = {**read_evaluation(directory), **rows}
    order = sorted(rows, key=lambda row: sum(rows[row]["snr"].values()))
    print(table({row: rows[row] for row in order}))


if __name__ == "__main__":
    run(main)
