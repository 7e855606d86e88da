"""What two simple filters reach, beside a trained separator.

Speech is the mixture from 300 to 3400 Hz. What is left is split by median
filters (FitzGerald 2010, "Harmonic/Percussive Separation using Median
Filtering"): music is what lasts in time, effects what is broad in frequency.
Command:
    python recipes/simple_baselines.py DATA
    keras-bandit evaluate --preset bandit_demo --data-dir DATA --hop-seconds 3 \
        --oracles mixture,irm
Prints: SNR, SI-SNR and its gain, dB, means over the test split of DATA, a
    prepared film_mix; of all tracks and stems.
"""

import argparse
import pathlib

import numpy as np
from scipy.ndimage import median_filter
from scipy.signal import butter, istft, sosfiltfilt, stft

from keras_bandit.data import open_tracks
from keras_bandit.evaluation.scores import si_snr, snr

STEMS = ("speech", "music", "effects")
SPEECH_HZ = 300, 3400
N_FFT, HOP_LENGTH = 2048, 512
MEDIAN = 31


def baselines(mixture, sample_rate):
    """`{stem: (1, samples)}` of a mixture `(1, samples)`."""
    band = butter(4, SPEECH_HZ, "bandpass", fs=sample_rate, output="sos")
    speech = sosfiltfilt(band, mixture)
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


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data_dir", type=pathlib.Path)
    arguments = parser.parse_args(argv)
    rows = {stem: [] for stem in STEMS}
    for track in open_tracks("film_mix", "test", arguments.data_dir):
        targets = {s: track.read(s, 0, track.num_samples) for s in STEMS}
        mixture = sum(targets.values())
        estimates = baselines(mixture, track.sample_rate)
        for stem, target in targets.items():
            before = si_snr(target, mixture)
            after = si_snr(target, estimates[stem])
            scores = snr(target, estimates[stem]), after, after - before
            rows[stem].append(scores)
    print("| stem | SNR | SI-SNR | gain |\n|---|---|---|---|")
    for stem, scores in rows.items():
        cells = " | ".join(f"{mean:.2f}" for mean in np.mean(scores, 0))
        print(f"| {stem} | {cells} |")


if __name__ == "__main__":
    main()
