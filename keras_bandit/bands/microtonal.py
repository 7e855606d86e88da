"""The microtonal layout of the refined BSRNN: bands between quarter tones."""

import itertools

import numpy as np

from keras_bandit.bands.band import as_bands

MICROTONAL = "microtonal"
DEFAULT_NUM_EDGES = 41  # the paper's experiments
NUM_NOTES = 120  # quarter tones -107, -105, ... 131 from 440 Hz


def microtonal_bands(num_edges, n_fft, sample_rate):
    """Bands between notes that lie halfway between two semitones.

    The notes are those of the listing in Sec. III-A, which walks from 20 Hz
    to 20 kHz in quarter tones and keeps the odd ones. Which `num_edges` of
    them are chosen follows the authors' repository, sahandevs/BandSplit-RNN.
    Arguments, values and errors as in `band_layout`.
    """
    if num_edges > NUM_NOTES:
        raise ValueError(
            f"num_bands of layout {MICROTONAL!r} must be {NUM_NOTES} at most, "
            f"the number of its notes; got {num_edges}"
        )
    picks = [int(i * NUM_NOTES / num_edges) for i in range(num_edges)]
    notes_hz = 440 * 2 ** ((2 * np.array(picks) - 107) / 24)
    num_bins = n_fft // 2 + 1
    bins_hz = np.arange(num_bins) * sample_rate / n_fft
    # Number of bins below each note. Two notes above the same bin leave no
    # band between them.
    edges = np.searchsorted(bins_hz, notes_hz, side="left").tolist()
    edges = sorted({0, *edges, num_bins})
    return as_bands(itertools.pairwise(edges))
