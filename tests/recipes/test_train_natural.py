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

from keras_bandit.models import AudioSeparator, BanditAudioSeparator

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


@pytest.fixture
def preset(tmp_path):
    """A preset of a separator that has learnt nothing."""
    keras.utils.set_random_seed(0)
    sizes = {"num_bands": 4, "sample_rate": RATE, "n_fft": 1024}
    sizes |= {"embed_dim": 4, "rnn_dim": 4, "num_pairs": 1}
    separator = BanditAudioSeparator.from_architecture(
        sizes, {"stems": list(film_crops.STEMS), "hop_length": 512}
    )
    separator.save_to_preset(tmp_path / "initial")
    return tmp_path / "initial"


def test_it_trains_by_the_clock_and_writes_a_preset(sounds, preset, tmp_path):
    run = tmp_path / "run"
    arguments = ["--data-dir", str(sounds), "--output", str(run)]
    arguments += ["--initial", str(preset), "--seconds", "90"]
    arguments += ["--batch-size", "2", "--crop-seconds", "0.5"]
    arguments += ["--speeds", "1", "--workers", "2", "--max-steps", "3"]
    train_natural.main(arguments)
    log = (run / "log.jsonl").read_text().splitlines()
    last = json.loads(log[-1])
    assert last["steps"] == 3
    assert np.isfinite(last["loss"])
    separator = AudioSeparator.from_preset(run / "preset")
    assert separator.metadata["training"]["steps"] == 3
    scores = separator.metadata["training"]["logs"]
    assert scores["val_si_snr"] in (
        last["mean"]["si_snr"],
        last["last"]["si_snr"],
    )
    before, after = (
        AudioSeparator.from_preset(path).get_weights()
        for path in (preset, run / "preset")
    )
    assert not all(map(np.array_equal, before, after))
