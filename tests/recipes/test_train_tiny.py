"""The tiny training recipe: its data, its clock, and one run, made small."""

import importlib
import types

import keras
import numpy as np
import pytest

from keras_bandit import AudioSeparator

STEMS = ["speech", "music", "effects"]


@pytest.fixture(scope="module")
def recipe():
    pytest.importorskip("grain")
    pytest.importorskip("matplotlib")  # the extra `plot`
    return importlib.import_module("train_tiny")


@pytest.fixture
def config(recipe):
    sizes = {"num_bands": 8, "embed_dim": 8, "rnn_dim": 8}
    return recipe.CONFIG | {
        "backbone": recipe.CONFIG["backbone"] | sizes,
        "mlp_dim": 8,
        "clips": 2,
        "clip_seconds": 1.5,
        "crop_seconds": 0.5,
        "batch_size": 2,
        "steps_per_epoch": 2,
    }


def test_mixtures_are_sums_and_new_every_epoch(recipe, config):
    mixtures = recipe.training_data(config, seed=1)
    assert len(mixtures) == 2
    mixture, targets = mixtures[0]
    assert mixture.shape == (2, 1, 11025)
    assert list(targets) == STEMS
    # A sum of three float32 numbers below 1: a few of its roundings.
    np.testing.assert_allclose(mixture, sum(targets.values()), atol=1e-6)
    np.testing.assert_array_equal(mixture, mixtures[0][0])
    assert not np.array_equal(mixture, mixtures[1][0])
    assert not np.array_equal(mixture, mixtures[2][0])


def test_training_clips_have_seeds_of_their_own(recipe, config, monkeypatch):
    seeds = []

    def clip(seconds, sample_rate, seed):
        seeds.append(tuple(seed))
        return dict.fromkeys(STEMS, np.zeros((1, 33075)))

    monkeypatch.setattr("train_tiny.film_clip", clip)
    recipe.training_data(config | {"clips": 3}, seed=5)
    assert seeds == [(1, 5), (2, 5), (3, 5)]
    seeds.clear()
    recipe.scenes(config | {"scenes": 2}, seed=5)
    assert seeds == [(0, 5, 0), (0, 5, 1)]


def test_schedule_stops_on_time_and_ends_on_small_steps(recipe, monkeypatch):
    clock = iter([100.0, 100.0, 105.0, 109.0, 109.9, 110.0])
    # The recipe's alone: JAX reads the clock, too.
    monkeypatch.setattr(
        recipe, "time", types.SimpleNamespace(monotonic=lambda: next(clock))
    )
    schedule = recipe.TimedSchedule(10.0, learning_rate=1.0, warmup=0.1)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    schedule.set_model(model)
    schedule.on_train_begin()
    rates = []
    for epoch in range(3):
        schedule.on_epoch_begin(epoch)
        rates.append(float(model.optimizer.learning_rate))
    assert rates[0] < 0.2
    # Half the time gone: half of the cosine.
    assert rates[1] == pytest.approx(0.5)
    assert rates[2] < 0.05
    schedule.on_train_batch_end(0)
    assert not model.stop_training
    schedule.on_train_batch_end(1)
    assert model.stop_training


def test_short_run_writes_a_preset(recipe, config, tmp_path, capsys):
    output = tmp_path / "tiny"
    # It may have learnt nothing, status 1.
    options = ["--seconds", "1", "--output", str(output)]
    assert recipe.main(options, config) in (0, 1)
    assert AudioSeparator.from_preset(output).stems == STEMS
    assert (output / "scenes" / "spectrograms.png").exists()
    assert "estimate_speech.wav" in {p.name for p in output.rglob("*.wav")}
    with pytest.raises(SystemExit, match="2"):
        recipe.main(["--seconds", "1", "--output", str(output)], config)
    assert "must be new" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["0", "121", "nan"])
def test_training_time_is_at_most_two_minutes(recipe, seconds, capsys):
    with pytest.raises(SystemExit, match="2"):
        recipe.main(["--seconds", seconds])
    assert "(0, 120]" in capsys.readouterr().err
