"""The filters that a trained separator has to beat."""

import numpy as np
import pytest
import simple_baselines

pytestmark = pytest.mark.once

RATE = 44100


def loudest(mixture):
    estimates = simple_baselines.baselines(mixture[None], RATE)
    power = {stem: np.mean(x**2) for stem, x in estimates.items()}
    return max(power, key=power.get)


def test_stems_add_up_and_sounds_land_where_they_belong():
    time = np.arange(RATE) / RATE
    clicks = np.zeros(RATE)
    clicks[::9000] = 1.0
    high = np.sin(2 * np.pi * 6000 * time)
    assert loudest(np.sin(2 * np.pi * 1000 * time)) == "speech"
    assert loudest(high) == "music"
    assert loudest(clicks) == "effects"
    mixture = (high + clicks)[None]
    estimates = simple_baselines.baselines(mixture, RATE)
    np.testing.assert_allclose(sum(estimates.values()), mixture, atol=1e-9)
