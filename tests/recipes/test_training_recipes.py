"""The training recipes, each with a tiny model, two steps and a restart."""

import importlib.util
import json
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import soundfile

from keras_bandit.data.track import ArrayTrack
from keras_bandit.models import (
    AudioSeparator,
    BanditAudioSeparator,
    BanditBackbone,
    BSRNNAudioSeparator,
    BSRNNBackbone,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))

import two_devices

RECIPES = Path(__file__).parents[2] / "recipes"
RATE = 8000
SIZES = {
    "sample_rate": RATE,
    "n_fft": 128,
    "embed_dim": 4,
    "rnn_dim": 4,
    "num_pairs": 1,
}
# Few stems: time goes into tracing and compiling their decoders.
DNR = ("music", "effects")
MUSDB = ("vocals", "bass")
# Of the presets that recipes begin with.
ORIGIN = {"license": "that of a test", "scores": {"snr": 12.3}}
SMALL = {
    "crop_seconds": 0.1,
    "batch_size": 2,
    "epoch_size": 4,
    "validation_hop_seconds": 0.1,
    "validation_batch_size": 2,
    "epochs": 1,
}


def tracks(stems, count, channels, seed):
    rng = np.random.default_rng(seed)
    return [
        ArrayTrack(
            f"track {number}",
            RATE,
            {
                stem: 0.1 * rng.standard_normal((channels, 4000))
                for stem in stems
            },
        )
        for number in range(count)
    ]


def prepared(dataset, split, data_dir, config="paths"):
    """Stands in for `open_tracks`: noise under the stems' names."""
    assert Path(data_dir).name == "data"
    stems, channels = {"dnr": (DNR, 1), "musdb18_hq": (MUSDB, 2)}[dataset]
    seeds = {"train": 0, "validation": 1}
    return tracks(stems, 2, channels, seeds[split])


def read_recipe(name):
    """Imports a recipe."""
    path = RECIPES / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def load(monkeypatch):
    """Imports a recipe, its data replaced by noise."""
    pytest.importorskip("grain")

    def load_recipe(name):
        module = read_recipe(name)
        monkeypatch.setattr(module, "open_tracks", prepared)
        return module

    return load_recipe


@pytest.fixture
def bandit(tmp_path):
    """A preset directory of a tiny BandIt of DnR's stems."""
    keras.utils.set_random_seed(0)
    separator = BanditAudioSeparator(
        BanditBackbone(num_bands=4, **SIZES),
        list(DNR),
        hop_length=32,
        mlp_dim=3,
    )
    separator.metadata = ORIGIN
    separator.save_to_preset(tmp_path / "bandit")
    return tmp_path / "bandit"


@pytest.fixture
def bsrnn(tmp_path):
    """Makes a preset directory of a tiny BSRNN of these stems."""

    def make(stems, num_channels):
        keras.utils.set_random_seed(0)
        backbone = BSRNNBackbone(
            list(stems),
            band_layout=[(0, 10), (10, 65)],
            num_channels=num_channels,
            rnn_type="gru",
            **SIZES,
        )
        separator = BSRNNAudioSeparator(
            backbone, list(stems), hop_length=32, mlp_dim=3
        )
        separator.metadata = ORIGIN
        separator.save_to_preset(tmp_path / "bsrnn")
        return tmp_path / "bsrnn"

    return make


def run(recipe, tmp_path, *options, **config):
    """Runs a recipe with its configuration made small."""
    known = {k: v for k, v in SMALL.items() if k in recipe.CONFIG}
    recipe.main(
        [
            "--data-dir",
            str(tmp_path / "data"),
            "--output",
            str(tmp_path / "run"),
            *map(str, options),
        ],
        {**recipe.CONFIG, **known, **config},
    )


def weights(preset):
    separator = AudioSeparator.from_preset(preset)
    return {w.path: keras.ops.convert_to_numpy(w) for w in separator.weights}


def same_encoder(preset, other):
    first, second = (
        AudioSeparator.from_preset(p).backbone.get_weights()
        for p in (preset, other)
    )
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def arrays(path):
    """All arrays of a weights file or of an example's features."""
    if path.suffix == ".npz":
        return dict(np.load(path))
    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: (
                found.__setitem__(name, np.asarray(item))
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
    return found


def kept(output):
    """What runs and presets hold, and when training wrote it."""
    found = {}
    for path in sorted(p for p in output.rglob("*") if p.is_file()):
        name = path.relative_to(output)
        if {"best", "last", "features", "labels"} & set(name.parts):
            found[f"{name}, time"] = path.stat().st_mtime_ns
        if path.suffix == ".h5":
            found[str(name)] = arrays(path)
        elif path.name == "metadata.json":
            found[str(name)] = json.loads(path.read_text())["keras_bandit"]
        elif path.name == "history.csv":
            found[str(name)] = path.read_text()
    return found


def run_twice(recipe, tmp_path, *options, **config):
    """Runs a recipe; again, it trains no more and saves the same preset."""
    run(recipe, tmp_path, *options, **config)
    before = kept(tmp_path / "run")
    run(recipe, tmp_path, *options, **config)
    np.testing.assert_equal(kept(tmp_path / "run"), before)


def check_origin(metadata, stems, initial=ORIGIN):
    """A preset says which stems were trained, and from what."""
    assert set(metadata) == {"initial", "training"}
    assert metadata["initial"] == initial
    assert metadata["training"]["stems"] == list(stems)
    assert metadata["training"]["logs"]["epoch"] == 0
    assert metadata["training"]["sessions"]


def decoder_files(folder):
    return {path.name for path in folder.glob("*.h5")}


@pytest.mark.parametrize("alternate", [False, True])
def test_bandit_dnr(load, bandit, tmp_path, alternate):
    recipe = load("bandit_dnr")
    options = {
        "preset": str(bandit),
        "stems": list(DNR),
        "alternate_stems": alternate,
        "accumulation_steps": 2,
    }
    run(recipe, tmp_path, **options)
    output = tmp_path / "run"
    record = json.loads((output / "config.json").read_text())
    assert record["config"]["loss"] == "L1SNR"
    assert record["config"]["accumulation_steps"] == 2
    assert b"music/estimate" in b"".join(
        path.read_bytes() for path in (output / "logs").rglob("*tfevents*")
    )
    check_origin(AudioSeparator.from_preset(output / "best").metadata, DNR)
    before, after = weights(bandit), weights(output / "last")
    assert any(not np.array_equal(before[path], after[path]) for path in before)
    # Goes on where it was: another epoch, not a new run.
    run(recipe, tmp_path, "--epochs", 2, **options)
    lines = (output / "history.csv").read_text().splitlines()
    assert len(lines) == 3
    with pytest.raises(ValueError, match="learning_rate"):
        run(recipe, tmp_path, "--learning-rate", "0.5", **options)


def test_bsrnn_dnr_joins_its_models(load, bsrnn, tmp_path):
    preset = bsrnn(DNR, 1)
    run_twice(load("bsrnn_dnr"), tmp_path, preset=str(preset), stems=list(DNR))
    joined = AudioSeparator.from_preset(tmp_path / "run" / "preset")
    assert joined.stems == list(DNR)
    for stem in DNR:
        check_origin(joined.metadata["stems"][stem], [stem])
    mixture = tracks(DNR, 1, 1, 2)[0].read("music")[None]
    estimates = joined(mixture)
    for stem in DNR:
        alone = AudioSeparator.from_preset(tmp_path / "run" / stem / "best")
        assert alone.stems == [stem]
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(estimates[stem]),
            keras.ops.convert_to_numpy(alone(mixture)[stem]),
            atol=1e-6,  # one graph of three encoders, and one of one
        )


def test_bsrnn_musdb18(load, bsrnn, tmp_path):
    pytest.importorskip("pyloudnorm")
    preset = bsrnn(MUSDB, 2)
    run_twice(
        load("bsrnn_musdb18"),
        tmp_path,
        "--trained-stems",
        "bass",
        preset=str(preset),
        stems=list(MUSDB),
        # Loudness is measured over 0.4 s at least.
        segment_seconds=0.4,
        segment_hop_seconds=0.1,
    )
    joined = AudioSeparator.from_preset(tmp_path / "run" / "preset")
    assert joined.stems == ["bass"]
    assert set(joined.metadata["stems"]) == {"bass"}
    check_origin(joined.metadata["stems"]["bass"], ["bass"])


@pytest.mark.parametrize("option", ["--cache-features", "--dtype=float32"])
def test_transfer_mne(load, bandit, tmp_path, option):
    run_twice(load("transfer_mne"), tmp_path, "--preset", bandit, option)
    output = tmp_path / "run"
    # The decoder alone, no encoder.
    assert decoder_files(output / "best") == {"mne.weights.h5"}
    assert same_encoder(bandit, output / "preset")
    separator = AudioSeparator.from_preset(output / "preset")
    assert separator.stems == [*DNR, "mne"]
    assert separator.backbone.trainable
    check_origin(separator.metadata, ["mne"])


def run_shared(recipe, folder, preset, devices):
    """What two devices are to do as one does, in `share_recipe.py`."""
    if recipe.__name__ == "transfer_mne":
        options, config = ["--cache-features"], {"epochs": 2}
    else:
        unlabelled = Path(preset).with_name("unlabelled")
        options, config = ["--unlabelled", unlabelled], FINETUNE
    run(
        recipe,
        folder,
        "--preset",
        preset,
        *options,
        # Ten chunks in batches of three: the last batch has one.
        validation_batch_size=3,
        devices=devices,
        **config,
    )


def start_shared(load, name, preset, tmp_path):
    """Runs a recipe on one device and on two; returns both outputs."""
    if keras.config.backend() == "tensorflow":
        pytest.skip("TensorFlow takes one device")
    script = Path(__file__).with_name("share_recipe.py")
    processes = two_devices.start(script, name, preset, tmp_path / "two")
    run_shared(load(name), tmp_path / "one", preset, devices=1)
    two_devices.finish(processes)
    return [tmp_path / folder / "run" for folder in ("one", "two")]


def test_recipe_on_two_devices_does_what_one_does(load, bandit, tmp_path):
    one, two = start_shared(load, "transfer_mne", bandit, tmp_path)
    names = ["best/mne.weights.h5", "last/mne.weights.h5"]
    for part in ("train", "validation"):
        names += [f"features/{part}/{i:07}.npz" for i in range(10)]
    for name in names:
        found, expected = arrays(two / name), arrays(one / name)
        assert set(found) == set(expected)
        for key, value in expected.items():
            # Ten steps of Adam, each of at most 1e-3; float32 sums in
            # another order differ by 1e-7.
            np.testing.assert_allclose(found[key], value, atol=1e-5)
    rows = [
        np.genfromtxt(run / "history.csv", delimiter=",") for run in (one, two)
    ]
    np.testing.assert_allclose(rows[1], rows[0], atol=1e-4)  # losses and dB
    assert same_encoder(bandit, two / "preset")


def test_finetuning_on_two_devices_does_what_one_does(load, bandit, tmp_path):
    folder = tmp_path / "unlabelled"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("film", "short", "third"):
        mixture = 0.1 * rng.standard_normal(6000)
        soundfile.write(folder / f"{name}.wav", mixture, RATE, subtype="FLOAT")
    one, two = start_shared(load, "finetune_semi_supervised", bandit, tmp_path)
    labels = sorted(
        path.relative_to(one) for path in one.glob("*/labels/*/*.wav")
    )
    assert len(labels) == 2 * 3 * len(DNR)
    for path in labels:
        # Of teachers two steps apart, see below.
        np.testing.assert_allclose(
            soundfile.read(two / path)[0],
            soundfile.read(one / path)[0],
            atol=1e-4,
        )
    for preset in ("round_1/last", "round_2/last", "preset"):
        found, expected = weights(two / preset), weights(one / preset)
        for path, value in expected.items():
            # Steps of Adam of at most 1e-4; float32 sums in another order.
            np.testing.assert_allclose(found[path], value, atol=1e-5)


def test_transfer_musdb18(load, bandit, tmp_path):
    pytest.importorskip("pyloudnorm")
    run_twice(
        load("transfer_musdb18"),
        tmp_path,
        "--preset",
        bandit,
        stems=list(MUSDB),
        segment_seconds=0.4,
        segment_hop_seconds=0.1,
    )
    output = tmp_path / "run"
    assert decoder_files(output / "best") == {
        f"{stem}.weights.h5" for stem in MUSDB
    }
    assert same_encoder(bandit, output / "preset")
    separator = AudioSeparator.from_preset(output / "preset")
    assert separator.stems == list(MUSDB)
    check_origin(separator.metadata, MUSDB)


def test_multitask_musdb18(load, bandit, tmp_path):
    separator = BanditAudioSeparator(
        BanditBackbone(num_bands=4, **SIZES),
        list(MUSDB),
        hop_length=32,
        mlp_dim=3,
    )
    separator.metadata = ORIGIN
    separator.save_to_preset(tmp_path / "shared")
    run_twice(
        load("multitask_musdb18"),
        tmp_path,
        preset=str(tmp_path / "shared"),
        stems=["vocals"],
    )
    output = tmp_path / "run"
    first = AudioSeparator.from_preset(output / "shared" / "best")
    assert first.stems == ["vocals"]
    # The encoder of the first stage, and its decoders, to the last bit.
    assert same_encoder(output / "shared" / "best", output / "preset")
    whole = AudioSeparator.from_preset(output / "preset")
    assert whole.stems == ["vocals", "bass"]
    check_origin(first.metadata, ["vocals"])
    check_origin(whole.metadata, ["bass"], first.metadata)


FINETUNE = {
    "stems": list(DNR),
    "dataset": "dnr",
    "rounds": 2,
    "hop_seconds": 3.0,
}


def test_finetune_semi_supervised(load, bandit, tmp_path):
    folder = tmp_path / "unlabelled"
    folder.mkdir()
    rng = np.random.default_rng(0)
    mixture = 0.1 * rng.standard_normal(6000)
    soundfile.write(folder / "film.wav", mixture, RATE, subtype="FLOAT")
    recipe = load("finetune_semi_supervised")
    options = ("--preset", bandit, "--unlabelled")
    run_twice(recipe, tmp_path, *options, folder, **FINETUNE)
    output = tmp_path / "run"
    labels = output / "round_1/labels/film.wav"
    estimates = [soundfile.read(labels / f"{stem}.wav")[0] for stem in DNR]
    # What the teacher says sums to the mixture: float32 of values near 0.1.
    np.testing.assert_allclose(sum(estimates), mixture, atol=1e-6)
    known = {"bandit": ORIGIN}
    for name in ("round_1", "round_2"):
        record = json.loads((output / name / "config.json").read_text())
        teacher = AudioSeparator.from_preset(record["config"]["teacher"])
        best = AudioSeparator.from_preset(output / name / "best")
        check_origin(best.metadata, DNR, teacher.metadata)
        known[name] = best.metadata
    separator = AudioSeparator.from_preset(output / "preset")
    assert separator.stems == list(DNR)
    assert separator.metadata in known.values()
    # Another folder's mixtures may have the same names.
    other = folder.rename(tmp_path / "other")
    with pytest.raises(ValueError, match=r"unlabelled: '.*unlabelled' in the"):
        run(recipe, tmp_path, *options, other, **FINETUNE)


def test_finetuning_refuses_validation_at_another_rate(
    load, bandit, tmp_path, monkeypatch
):
    recipe = load("finetune_semi_supervised")
    noise = ArrayTrack("track", 2 * RATE, {s: np.ones((1, 9000)) for s in DNR})
    monkeypatch.setattr(recipe, "open_tracks", lambda *options: [noise])
    with pytest.raises(ValueError, match=r"sample_rate=16000; all .* 8000"):
        run(
            recipe,
            tmp_path,
            "--preset",
            bandit,
            "--unlabelled",
            tmp_path,
            **FINETUNE,
        )


def test_unlabelled_at_another_rate_is_refused(load, bandit, tmp_path):
    folder = tmp_path / "unlabelled"
    folder.mkdir()
    soundfile.write(folder / "film.wav", np.zeros(6000), 44100)
    with pytest.raises(ValueError, match=r"film.wav.*8000 Hz; got 44100"):
        run(
            load("finetune_semi_supervised"),
            tmp_path,
            "--preset",
            bandit,
            "--unlabelled",
            folder,
            stems=list(DNR),
            dataset="dnr",
        )


def test_transfer_demo(bandit, tmp_path):
    spec = importlib.util.spec_from_file_location(
        "transfer_demo", RECIPES / "transfer_demo.py"
    )
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    rng = np.random.default_rng(0)
    for number, split in enumerate(("tr", "tr", "cv", "tt", "tt")):
        folder = tmp_path / "clips" / split / str(number)
        folder.mkdir(parents=True)
        audio = {
            stem: 0.1 * rng.standard_normal(4000)
            for stem in ("speech", "drums", "melody", "sfx")
        }
        if number == 4:
            audio["drums"] *= 0
        audio["music"] = audio["drums"] + audio["melody"]
        audio["mix"] = audio["speech"] + audio["music"] + audio["sfx"]
        for name, x in audio.items():
            soundfile.write(folder / f"{name}.wav", x, RATE, subtype="FLOAT")
    config = {**recipe.CONFIG, "chunk_seconds": 0.2, "batch_size": 2}
    config = {**config, "epochs": 1}
    arguments = ["--clips", str(tmp_path / "clips"), "--preset", str(bandit)]
    output = tmp_path / "run"
    recipe.main([*arguments, "--output", str(output)], config)
    before = kept(output), (output / "scores.json").read_text()
    recipe.main([*arguments, "--output", str(output)], config)
    after = kept(output), (output / "scores.json").read_text()
    np.testing.assert_equal(after, before)
    scores = json.loads((output / "scores.json").read_text())
    assert set(scores["mne"]) == {"mixture", "new decoder", "sum of stems"}
    assert set(scores["drums"]) == {"mixture", "new decoder"}
    # One clip's drums are silent.
    assert scores["drums"]["mixture"]["clips"] == 1
    assert scores["mne"]["mixture"]["clips"] == 2
    # Drums are one of four equal parts: 10 log10(1 / 3) = -4.8 dB. The ratio
    # of two powers of 4,000 samples is within 0.4 dB.
    assert scores["drums"]["mixture"]["SNR"] == pytest.approx(-4.8, abs=0.4)
