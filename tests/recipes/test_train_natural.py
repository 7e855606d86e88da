"""Training by the clock on mixtures made on the device; PyTorch only."""

import json

import keras
import numpy as np
import pytest
import soundfile

if keras.backend.backend() != "torch":
    pytest.skip("the recipe runs on PyTorch", allow_module_level=True)

import film_crops
import torch
import train_natural

from keras_bandit.models import AudioSeparator

RATE = 44100


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Two sounds of each kind and split."""
    folder = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(0)
    for split in ("train", "validation"):
        for kind, seconds in zip(
            film_crops.FOLDERS, (3.0, 4.0, 0.4, 3.0), strict=True
        ):
            path = folder / split / film_crops.FOLDERS[kind]
            path.mkdir(parents=True)
            for number in range(2):
                audio = 0.1 * rng.standard_normal(round(seconds * RATE))
                soundfile.write(path / f"{number}.flac", audio, RATE)
    return folder


def crops(sounds, **options):
    banks = film_crops.read_banks(sounds / "train", RATE, [1.0, 1.1], "cpu", 2)
    return film_crops.FilmCrops(banks, 1.5, RATE, seed=3, **options)


@pytest.mark.parametrize("augment", [False, True])
def test_stems_add_up_to_the_mixture_at_dnr_levels(sounds, augment):
    mixture, stems = crops(sounds, augment=augment).batch(8)
    assert tuple(mixture.shape) == (8, 1, round(1.5 * RATE))
    torch.testing.assert_close(mixture, sum(stems.values()))
    assert torch.isfinite(mixture).all()
    if not augment:
        power = {k: float(x.square().mean()) for k, x in stems.items()}
        assert power["speech"] > power["music"]
        level = film_crops.loudness(mixture[0, 0].numpy(), RATE)
        assert -33 < level < -21


def test_batches_depend_on_the_seed_alone(sounds):
    first, second = (crops(sounds).batch(2)[0] for _ in range(2))
    torch.testing.assert_close(first, second)


def test_loudness_of_a_tone():
    # BS.1770-4: a full-scale sine at 997 Hz in one channel has -3.01 LUFS.
    time = np.arange(2 * RATE) / RATE
    tone = np.sin(2 * np.pi * 997 * time)
    assert film_crops.loudness(tone, RATE) == pytest.approx(-3.0, abs=0.6)


@pytest.mark.parametrize("sizes", [{}, {"num_pairs": 2}, {"rnn_dim": 6}])
def test_a_grown_separator_does_the_same(presets, sizes):
    small = AudioSeparator.from_preset(presets / "bandit_dnr")
    config = {**small.get_config(), **small.backbone.get_config(), **sizes}
    larger = train_natural.new_separator(config)
    train_natural.grow(larger, small)
    waveform = np.random.default_rng(0).standard_normal((1, 1, 2000))
    waveform = torch.tensor(waveform, dtype=torch.float32)
    expected, found = small(waveform), larger(waveform)
    for stem in small.stems:
        torch.testing.assert_close(found[stem], expected[stem])
    if sizes:
        with pytest.raises(ValueError, match="must"):
            train_natural.grow(small, larger)


def test_it_trains_by_the_clock_and_writes_a_preset(sounds, tmp_path):
    convert = torch.as_tensor
    arguments = ["--data-dir", str(sounds), "--output", str(tmp_path / "run")]
    arguments += ["--config", "tiny", "--seconds", "40", "--batch-size", "2"]
    arguments += ["--crop-seconds", "0.5", "--speeds", "1", "--workers", "2"]
    try:
        train_natural.main([*arguments, "--max-steps", "3"])
    finally:
        torch.as_tensor = convert
    log = (tmp_path / "run/log.jsonl").read_text().splitlines()
    last = json.loads(log[-1])
    assert last["steps"] == 3
    assert np.isfinite(last["loss"])
    separator = AudioSeparator.from_preset(tmp_path / "run/preset")
    assert separator.metadata["training"]["steps"] == 3
    scores = separator.metadata["training"]["logs"]
    assert scores["val_si_snr"] in (
        last["mean"]["si_snr"],
        last["last"]["si_snr"],
    )
