"""Recipes of Table 1's baselines: each learns four rendered clips."""

import json

import keras
import numpy as np
import pytest
import small
from small import run, run_twice

from keras_bandit.data import film_clip
from keras_bandit.data.track import ArrayTrack
from keras_bandit.evaluation.scores import si_snr
from keras_bandit.models import (
    AudioSeparator,
    HybridDemucsAudioSeparator,
    MRXAudioSeparator,
    OpenUnmixAudioSeparator,
)

CONFIG = {
    "crop_seconds": 1.0,
    "validation_hop_seconds": 1.0,
    "batch_size": 4,
    "validation_batch_size": 4,
    "epoch_size": 60,
    "epochs": 2,
    "learning_rate": 1e-2,
}


@pytest.fixture
def learn(load, monkeypatch, tmp_path):
    """Runs a recipe on clips of two stems; returns its output.

    What it saved separates them: the mean gain in SI-SNR is above 3 dB.
    """
    import recipe

    def learn(name, separator, preset="best", how=run, **config):
        stems = separator.stems
        clips = []
        for number in range(4):
            clip = film_clip(1.0, small.RATE, channels=2, seed=number)
            audio = dict(zip(stems, clip.values(), strict=False))
            if separator.num_channels in (None, 1):
                audio = {stem: x[:1] for stem, x in audio.items()}
            clips.append(ArrayTrack(f"clip {number}", small.RATE, audio))
        monkeypatch.setattr(recipe, "open_tracks", lambda *_: clips)
        separator.save_to_preset(tmp_path / "preset")
        config = {**CONFIG, "stems": stems, **config}
        config["preset"] = str(tmp_path / "preset")
        output = how(load(name), tmp_path, **config)
        trained = AudioSeparator.from_preset(output / preset)
        gains = []
        for clip in clips:
            targets = {stem: clip.read(stem) for stem in stems}
            mixture = sum(targets.values())
            estimates = trained.separate(mixture, small.RATE)
            gains += [
                si_snr(x, estimates[s]) - si_snr(x, mixture)
                for s, x in targets.items()
            ]
        assert np.mean(gains) > 3
        return output

    return learn


def open_unmix(stems, **kwargs):
    return OpenUnmixAudioSeparator(
        stems, n_fft=256, hop_length=128, sample_rate=small.RATE, **kwargs
    )


def test_open_unmix_dnr(learn):
    separator = open_unmix(
        ["speech", "music"], num_channels=1, hidden_dim=16, crossfade="hann"
    )
    output = learn("open_unmix_dnr", separator)
    record = json.loads((output / "config.json").read_text())
    assert record["config"]["loss"] == "MagnitudeMSE"


def test_mrx_dnr(learn):
    separator = MRXAudioSeparator(
        ["speech", "music"],
        [256, 512],
        hop_length=128,
        hidden_dim=16,
        num_layers=1,
        sample_rate=small.RATE,
    )
    learn("mrx_dnr", separator)


def test_open_unmix_musdb18(learn, load):
    stems = ["vocals", "bass"]
    separator = open_unmix(stems, hidden_dim=16, num_input_bins=100, niter=1)
    output = learn(
        "open_unmix_musdb18",
        separator,
        "preset",
        run_twice,
        trained_stems=stems,
    )
    joined = AudioSeparator.from_preset(output / "preset")
    assert (joined.stems, joined.niter) == (stems, 1)
    assert set(joined.metadata["stems"]) == {*stems}


def test_statistics_are_those_of_whole_tracks(load):
    recipe = load("open_unmix_musdb18")
    rng = np.random.default_rng(0)
    audio = {"a": rng.normal(size=(2, 70_000)), "b": np.ones((2, 70_000))}
    tracks = [ArrayTrack("noise", small.RATE, audio)]
    mean, deviation = recipe.input_statistics(tracks, ["a", "b"], 256, 128)
    separator = open_unmix(["a"], hidden_dim=4)
    spectrogram = separator.stft(np.float32(audio["a"] + audio["b"])[None])
    magnitude = separator.core.get_layer("magnitude")(spectrogram)
    x = keras.ops.convert_to_numpy(magnitude)[0].mean(axis=0)[1:-1]
    np.testing.assert_allclose(mean, x.mean(axis=0), rtol=1e-3)
    np.testing.assert_allclose(deviation, x.std(axis=0), rtol=1e-2)
    recipe.standardize(separator, mean, deviation)
    scaling = separator.decoders["a"].get_layer("input_scaling")
    y = keras.ops.convert_to_numpy(scaling(magnitude)).reshape(-1, 2, 129)
    assert np.abs(y.mean(axis=(0, 1))).max() < 0.05


def test_augmentation_changes_levels_and_channels(load):
    augment = load("open_unmix_musdb18").augment
    rng = np.random.default_rng(0)
    audio = np.float32([[1.0], [2.0]])
    changed = [augment(rng, {"a": audio}, 8000)["a"] for _ in range(400)]
    ratios = np.array([x[1, 0] / x[0, 0] for x in changed])
    assert set(ratios) == {0.5, 2.0}
    assert 150 < np.sum(ratios == 2) < 250
    gains = np.array([x.min() for x in changed])
    assert 0.25 <= gains.min() < 0.26
    assert 1.24 < gains.max() <= 1.25


def hybrid_demucs(stems, num_channels):
    """As shallow as can be: one level in each branch, and one that joins."""
    return HybridDemucsAudioSeparator(
        stems,
        num_channels,
        small.RATE,
        n_fft=64,
        channels=8,
        depth=2,
        norm_starts=1,
    )


def test_hybrid_demucs_dnr(learn):
    separator = hybrid_demucs(["speech", "music"], 1)
    output = learn("hybrid_demucs_dnr", separator, epochs=3)
    record = json.loads((output / "config.json").read_text())
    assert record["config"]["loss"] == "L1"


def test_hybrid_demucs_musdb18(load, tmp_path):
    hybrid_demucs(small.MUSDB, 2).save_to_preset(tmp_path / "preset")
    options = {"preset": str(tmp_path / "preset"), "stems": list(small.MUSDB)}
    output = run(load("hybrid_demucs_musdb18"), tmp_path, **options)
    before = small.weights(tmp_path / "preset")
    after = small.weights(output / "last")
    assert any(not np.array_equal(before[path], after[path]) for path in before)


def test_levels_are_those_that_separate_takes_away(load):
    recipe = load("hybrid_demucs_musdb18")
    rng = np.random.default_rng(0)
    audio = {s: 3 + rng.normal(size=(2, 800)) for s in ("a", "b")}
    track = recipe.LevelledTrack(ArrayTrack("x", small.RATE, audio), audio)
    mono = sum(track.read(stem) for stem in audio).mean(axis=0)
    assert mono.std(ddof=1) == pytest.approx(1, rel=1e-4)
    ratio = np.ptp(track.read("a")) / np.ptp(audio["a"])
    assert np.ptp(track.read("b", 0, 9)) == pytest.approx(
        ratio * np.ptp(audio["b"][:, :9]), rel=1e-4
    )
