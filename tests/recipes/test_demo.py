"""The demo recipe: its data, its clock, its report, and one run, made small."""

import importlib.util
import re
import types
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile

RECIPE = Path(__file__).parents[2] / "recipes" / "demo.py"
STEMS = ["speech", "music", "effects"]


@pytest.fixture(scope="module")
def demo():
    pytest.importorskip("matplotlib")  # the extra `plot`
    spec = importlib.util.spec_from_file_location("demo", RECIPE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def config(demo):
    return demo.CONFIG | {
        "num_bands": 8,
        "embed_dim": 8,
        "rnn_dim": 8,
        "num_pairs": 1,
        "mlp_dim": 8,
        "clips": 2,
        "clip_seconds": 1.5,
        "crop_seconds": 0.5,
        "batch_size": 2,
        "steps_per_epoch": 2,
    }


def test_mixtures_are_sums_and_new_every_epoch(demo, config):
    clips = demo.render(config, 2, seed=1)
    mixtures = demo.RandomMixtures(clips, config, seed=1)
    assert len(mixtures) == 2
    mixture, targets = mixtures[0]
    assert mixture.shape == (2, 1, 11025)
    assert list(targets) == STEMS
    # A sum of three float32 numbers below 1: a few of its roundings.
    np.testing.assert_allclose(mixture, sum(targets.values()), atol=1e-6)
    np.testing.assert_array_equal(mixture, mixtures[0][0])
    assert not np.array_equal(mixture, mixtures[1][0])
    mixtures.on_epoch_end()
    assert not np.array_equal(mixture, mixtures[0][0])


def test_unseen_clip_is_not_among_the_training_clips(demo, config, monkeypatch):
    seeds = []
    monkeypatch.setattr(
        demo, "film_clip", lambda *_, seed: seeds.append(tuple(seed))
    )
    demo.render(config, 3, seed=5)
    assert seeds == [(5, 1), (5, 2), (5, 3)]
    seeds.clear()
    scene = {stem: np.zeros((1, 4), "float32") for stem in STEMS}
    monkeypatch.setattr(
        demo, "film_clip", lambda *_, seed: seeds.append(tuple(seed)) or scene
    )
    unseen = demo.render_unseen(config | {"scenes": 2}, seed=5)
    assert seeds == [(5, 0, 0), (5, 0, 1)]
    assert {audio.shape for audio in unseen.values()} == {(1, 8)}


def test_schedule_stops_on_time_and_ends_on_small_steps(demo, monkeypatch):
    clock = iter([100.0, 100.0, 105.0, 109.0, 109.9, 110.0])
    # The recipe's alone: JAX reads the clock, too.
    monkeypatch.setattr(
        demo, "time", types.SimpleNamespace(monotonic=lambda: next(clock))
    )
    schedule = demo.TimedSchedule(10.0, learning_rate=1.0, warmup=0.1)
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


def test_scores_of_known_estimates(demo):
    rng = np.random.default_rng(0)
    target, noise = rng.standard_normal((2, 1, 20000)).astype("float32")
    mixture = target + noise
    better = 0.5 * target + 0.05 * noise
    scores = demo.score(mixture, {"speech": target}, {"speech": better})
    # The ratio of two noise powers over 20,000 samples has a standard
    # deviation of sqrt(4 / 20000) = 1.4 %, 0.06 dB: within 0.2 dB.
    assert scores["speech"]["SNR"] == pytest.approx((0.0, 5.98), abs=0.2)
    assert scores["speech"]["SI-SNR"] == pytest.approx((0.0, 20.0), abs=0.2)
    assert re.search(
        r"speech +-?0\.\d +\d\.\d +\+\d\.\d +-?0\.\d +\d\d\.\d +\+\d\d\.\d",
        demo.table(scores),
    )


def test_silence_gains_snr_but_fails_the_demo(
    demo, config, tmp_path, monkeypatch, capsys
):
    """The demo must not be passed by an estimate that is merely quiet."""

    class Silent:
        def fit(self, *args, **kwargs):
            pass

        def separate(self, audio, sample_rate):
            return {stem: 1e-3 * audio for stem in STEMS}

    monkeypatch.setattr(demo, "build", lambda config: Silent())
    assert demo.main(["--output", str(tmp_path)], config) == 1
    assert "no gain in SI-SNR" in capsys.readouterr().err


def test_short_run_writes_stems_and_picture(demo, config, tmp_path, capsys):
    # Too short to learn: status 1 is allowed here, an exception is not.
    status = demo.main(
        ["--seconds", "1", "--output", str(tmp_path), "--seed", "3"], config
    )
    assert status in (0, 1)
    names = {"mixture.wav", "spectrograms.png"}
    names |= {f"{k}_{s}.wav" for k in ("target", "estimate") for s in STEMS}
    assert {path.name for path in tmp_path.iterdir()} == names
    for path in tmp_path.glob("*.wav"):
        audio, sample_rate = soundfile.read(path)
        assert sample_rate == config["sample_rate"]
        assert len(audio) == config["scenes"] * round(1.5 * sample_rate)
        assert np.isfinite(audio).all()
    text = capsys.readouterr().out
    for stem in STEMS:
        assert re.search(rf"^{stem} ( +[+-]?\d+\.\d){{6}}$", text, re.MULTILINE)


@pytest.mark.parametrize("seconds", ["0", "121", "nan"])
def test_training_time_is_at_most_two_minutes(demo, seconds, capsys):
    with pytest.raises(SystemExit, match="2"):
        demo.main(["--seconds", seconds])
    assert "(0, 120]" in capsys.readouterr().err
