"""The filters that a trained separator has to beat."""

import json

import numpy as np
import pytest
import simple_baselines

from keras_bandit.data.track import ArrayTrack

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


def test_table_has_filters_beside_evaluations(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    audio = {
        stem: rng.standard_normal((1, 90000)) for stem in simple_baselines.STEMS
    }
    monkeypatch.setattr(
        simple_baselines,
        "open_tracks",
        lambda *_: [ArrayTrack("a", RATE, audio)],
    )
    stems = dict.fromkeys((*simple_baselines.STEMS, "average"), 7.0)
    scores = {"snr": stems, "si_snr": stems}
    mean = {"mixture": scores, "model": scores, "irm": scores}
    folder = tmp_path / "ours"
    folder.mkdir()
    (folder / "summary.json").write_text(json.dumps({"mean": mean}))
    simple_baselines.main([str(tmp_path), str(folder)])
    lines = capsys.readouterr().out.splitlines()
    names = {line.split("|")[1].strip() for line in lines[2:]}
    assert names == {
        "mixture",
        "band-pass and median filters",
        "ours",
        "ideal ratio mask",
    }
    (ours,) = [line.split("|") for line in lines if "ours" in line]
    # SI-SNR of one of three equal parts: -3.0 dB, within 0.1 dB.
    assert [float(cell) for cell in ours[2:6]] == [7.0] * 4
    assert [float(x) for x in ours[6:10]] == pytest.approx([10.0] * 4, abs=0.3)
