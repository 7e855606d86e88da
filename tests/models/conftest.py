"""A model small enough for any test."""

import keras
import numpy as np
import pytest

from keras_bandit.models import (
    BanditAudioSeparator,
    BanditBackbone,
    BSRNNAudioSeparator,
    BSRNNBackbone,
)

STEMS = ["speech", "music", "effects"]
# Tracing takes TensorFlow longer than all steps do without. For tests of what
# training does; that it can be traced, others show.
EAGERLY = keras.config.backend() == "tensorflow"


def small_bandit(stems=STEMS, dtype=None, **kwargs):
    backbone = BanditBackbone(
        num_bands=6,
        n_fft=256,
        embed_dim=4,
        rnn_dim=5,
        num_pairs=1,
        dtype=dtype,
    )
    kwargs = {"hop_length": 64, "mlp_dim": 3, **kwargs}
    return BanditAudioSeparator(backbone, list(stems), **kwargs)


def small_bsrnn(stems=("vocals", "bass"), num_channels=2, **kwargs):
    backbone = BSRNNBackbone(
        list(stems),
        band_layout={
            stem: [(0, 20 + i), (20 + i, 129)] for i, stem in enumerate(stems)
        },
        num_channels=num_channels,
        n_fft=256,
        embed_dim=4,
        rnn_dim=5,
        num_pairs=1,
    )
    kwargs = {"hop_length": 64, "mlp_dim": 3, **kwargs}
    return BSRNNAudioSeparator(backbone, list(stems), **kwargs)


@pytest.fixture
def bandit():
    return small_bandit()


@pytest.fixture
def bsrnn():
    return small_bsrnn()


@pytest.fixture(scope="module")
def batch():
    """Mixtures `(4, 2, 1000)` and targets of every stem used here."""
    rng = np.random.default_rng(0)
    names = [*STEMS, "vocals", "bass", "mne"]
    targets = {
        name: rng.normal(0, 0.1, (4, 2, 1000)).astype("float32")
        for name in names
    }
    return sum(targets[s] for s in STEMS), targets
