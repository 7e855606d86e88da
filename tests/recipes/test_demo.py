"""The demo recipe: its clip, its report, and a run with a tiny preset."""

import importlib
import re

import keras
import numpy as np
import pytest
import soundfile

from keras_bandit.models import BanditAudioSeparator, BanditBackbone

STEMS = ["speech", "music", "effects"]


@pytest.fixture(scope="module")
def demo():
    pytest.importorskip("matplotlib")  # the extra `plot`
    return importlib.import_module("demo")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A preset directory of a model that has learnt nothing."""
    keras.utils.set_random_seed(0)
    backbone = BanditBackbone(
        num_bands=4,
        sample_rate=8000,
        n_fft=256,
        embed_dim=4,
        rnn_dim=4,
        num_pairs=1,
    )
    separator = BanditAudioSeparator(backbone, STEMS, 64, mlp_dim=3)
    folder = tmp_path_factory.mktemp("presets") / "tiny"
    separator.save_to_preset(folder)
    return str(folder)


def write_clip(folder, names, rate=8000, samples=9000):
    folder.mkdir()
    rng = np.random.default_rng(0)
    audio = {name: 0.1 * rng.standard_normal(samples) for name in names}
    audio["mix"] = sum(audio.values())
    for name, x in audio.items():
        soundfile.write(folder / f"{name}.wav", x, rate, subtype="FLOAT")
    return folder


def test_scores_of_known_estimates(demo):
    rng = np.random.default_rng(0)
    target, noise = rng.standard_normal((2, 1, 20000)).astype("float32")
    mixture = target + noise
    better = 0.5 * target + 0.05 * noise
    scores = demo.score(mixture, {"speech": target}, {"speech": better})
    # The ratio of two noise powers over 20,000 samples has a standard
    # deviation of sqrt(4 / 20000) = 1.4 %, 0.06 dB: within 0.2 dB.
    assert scores["speech"] == pytest.approx(
        [0.0, 5.98, 5.98, 0.0, 20.0, 20.0], abs=0.2
    )
    assert re.search(
        r"speech +-?0\.\d +\d\.\d +\+\d\.\d +-?0\.\d +\d\d\.\d +\+\d\d\.\d",
        demo.table(scores),
    )


def test_silence_gains_snr_but_fails_the_demo(
    demo, tmp_path, monkeypatch, capsys
):
    """The demo must not be passed by an estimate that is merely quiet."""

    class Silent:
        def separate(self, audio, sample_rate, hop_seconds):
            return {stem: 1e-3 * audio for stem in STEMS}

    monkeypatch.setattr(
        demo.AudioSeparator, "from_preset", lambda *_, stems: Silent()
    )
    monkeypatch.setattr(demo, "save", lambda *_: None)
    assert demo.main(["--output", str(tmp_path)]) == 1
    assert "no gain in SI-SNR" in capsys.readouterr().err


def check_output(folder, samples, rate, text):
    names = {"mixture.wav", "spectrograms.png"}
    names |= {f"{k}_{s}.wav" for k in ("target", "estimate") for s in STEMS}
    assert {path.name for path in folder.iterdir()} == names
    for path in folder.glob("*.wav"):
        audio, sample_rate = soundfile.read(path)
        assert sample_rate == rate
        assert len(audio) == samples
        assert np.isfinite(audio).all()
    for stem in STEMS:
        assert re.search(rf"^{stem} ( +[+-]?\d+\.\d){{6}}$", text, re.MULTILINE)


def test_the_clip_of_the_project(demo):
    mixture, targets, rate = demo.read_clip(demo.CLIP)
    assert list(targets) == STEMS
    assert (rate, mixture.shape) == (44100, (1, 30 * 44100))
    assert np.abs(mixture).max() < 1
    # Near DnR's levels.
    for stem, expected in zip(STEMS, (1.0, -6.9, -4.2), strict=True):
        error = mixture - targets[stem]
        found = 10 * np.log10(np.sum(targets[stem] ** 2) / np.sum(error**2))
        assert found == pytest.approx(expected, abs=0.2)
    size = sum(path.stat().st_size for path in demo.CLIP.iterdir())
    assert size < 1.5e6


def test_run_writes_stems_and_picture(demo, tiny, tmp_path, capsys):
    clip = write_clip(tmp_path / "clip", ["speech", "music", "sfx"])
    options = ["--preset", tiny, "--output", str(tmp_path / "out")]
    options += ["--mp3", str(tmp_path / "mp3")]
    # It has learnt nothing: status 1 is allowed here, an exception is not.
    assert demo.main(["--clip", str(clip), *options]) in (0, 1)
    check_output(tmp_path / "out", 9000, 8000, capsys.readouterr().out)
    written = {path.stem for path in (tmp_path / "out").glob("*.wav")}
    assert {path.stem for path in (tmp_path / "mp3").iterdir()} == written
    assert soundfile.info(tmp_path / "mp3" / "mixture.mp3").format == "MP3"


def test_clip_that_is_not_one(demo, tmp_path):
    clip = write_clip(tmp_path / "a", ["speech", "music"])
    with pytest.raises(ValueError, match="effects or sfx"):
        demo.read_clip(clip)
    clip = write_clip(tmp_path / "b", ["speech", "music", "sfx"])
    soundfile.write(clip / "music.wav", np.zeros(8999), 8000)
    with pytest.raises(ValueError, match=r"music.wav must have.*8999"):
        demo.read_clip(clip)
    soundfile.write(clip / "music.wav", np.zeros(9000), 16000)
    with pytest.raises(ValueError, match=r"music.wav must have.*16000 Hz"):
        demo.read_clip(clip)
