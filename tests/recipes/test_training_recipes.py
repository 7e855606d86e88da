"""The training recipes, each with a tiny model, two steps and a restart."""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import small
import soundfile
from small import DNR, MUSDB, check_origin, run, run_twice

from keras_bandit.metrics import si_snr
from keras_bandit.models import AudioSeparator
from keras_bandit.training.callbacks import read_history

from ..called import called

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))

import two_devices


def same_encoder(preset, other):
    first, second = small.encoder(preset), small.encoder(other)
    assert first.keys() == second.keys()
    return all(np.array_equal(first[name], second[name]) for name in first)


def test_bandit_dnr(load, presets, tmp_path):
    recipe = load("bandit_dnr")
    options = {
        "preset": str(presets / "bandit_dnr"),
        "stems": list(DNR),
        "alternate_stems": True,
        "accumulation_steps": 2,
    }
    output = run(recipe, tmp_path, **options)
    record = json.loads((output / "config.json").read_text())
    assert record["config"]["loss"] == "L1SNR"
    assert record["config"]["accumulation_steps"] == 2
    assert b"music/estimate" in b"".join(
        path.read_bytes() for path in (output / "logs").rglob("*tfevents*")
    )
    check_origin(AudioSeparator.from_preset(output / "best").metadata, DNR)
    before = small.weights(presets / "bandit_dnr")
    after = small.weights(output / "last")
    assert any(not np.array_equal(before[path], after[path]) for path in before)
    # Goes on where it was: another epoch, not a new run.
    run(recipe, tmp_path, "--epochs", 2, **options)
    lines = (output / "history.csv").read_text().splitlines()
    assert len(lines) == 3
    with pytest.raises(ValueError, match="learning_rate"):
        run(recipe, tmp_path, "--learning-rate", "0.5", **options)


@pytest.mark.usefixtures("eagerly")
def test_bsrnn_dnr_joins_its_models(load, presets, tmp_path):
    output = run_twice(
        load("bsrnn_dnr"),
        tmp_path,
        preset=str(presets / "bsrnn_dnr"),
        stems=list(DNR),
    )
    joined = AudioSeparator.from_preset(output / "preset")
    assert joined.stems == list(DNR)
    for stem in DNR:
        check_origin(joined.metadata["stems"][stem], [stem])
    mixture = small.tracks(DNR, 1, 1, 2)[0].read("music")[None]
    estimates = called(joined, mixture)
    for stem in DNR:
        alone = AudioSeparator.from_preset(output / stem / "best")
        assert alone.stems == [stem]
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(estimates[stem]),
            keras.ops.convert_to_numpy(called(alone, mixture)[stem]),
            atol=1e-6,  # one graph of three encoders, and one of one
        )


@pytest.mark.usefixtures("eagerly")
def test_bsrnn_musdb18(load, presets, tmp_path):
    pytest.importorskip("pyloudnorm")
    output = run_twice(
        load("bsrnn_musdb18"),
        tmp_path,
        "--trained-stems",
        "bass",
        preset=str(presets / "bsrnn_musdb"),
        stems=list(MUSDB),
        # Loudness is measured over 0.4 s at least.
        segment_seconds=0.4,
        segment_hop_seconds=0.1,
    )
    joined = AudioSeparator.from_preset(output / "preset")
    assert joined.stems == ["bass"]
    assert set(joined.metadata["stems"]) == {"bass"}
    check_origin(joined.metadata["stems"]["bass"], ["bass"])


def test_bsrnn_musdb18_of_mdx23(load, tmp_path, monkeypatch):
    """The settings' name gives frames of 3 s and reversed stems."""
    bsrnn_musdb18 = load("bsrnn_musdb18")
    started = []
    monkeypatch.setattr(
        bsrnn_musdb18, "train_each_stem", lambda *x: started.append(x[0])
    )
    paths = ["--data-dir", "data", "--output", str(tmp_path / "run")]
    for options in ([], ["--crop-seconds", "2", "--settings", "mdx23"]):
        bsrnn_musdb18.main([*paths, *options])
    before, mdx23 = started
    assert before.config == bsrnn_musdb18.CONFIG
    changed = {k: v for k, v in mdx23.config.items() if v != before.config[k]}
    assert changed == {
        "crop_seconds": 2.0,  # given
        "validation_hop_seconds": 2.5,
        "reverse_probability": 0.5,
    }
    # A run from before there was the option goes on.
    assert "reverse_probability" not in before.open_run("vocals").config
    assert mdx23.open_run("bass").config["reverse_probability"] == 0.5


def test_mdx23_reverses_stems(load, monkeypatch):
    pytest.importorskip("pyloudnorm")
    bsrnn_musdb18 = load("bsrnn_musdb18")
    made = {}

    class Started:
        config = bsrnn_musdb18.CONFIG | bsrnn_musdb18.SETTINGS["mdx23"]
        tracks = staticmethod(lambda split: [])
        chunks = staticmethod(lambda *x: None)
        crops = staticmethod(lambda *x, **options: made.update(options))

    bsrnn_musdb18.data(Started, "bass", 8000)
    gain, reverse = made["augmentations"]
    assert (gain.p, gain.gain_db) == (1, (-10, 10))
    assert (reverse.p, reverse.together) == (0.5, False)


@pytest.mark.usefixtures("eagerly")
def test_transfer_musdb18(load, presets, tmp_path):
    pytest.importorskip("pyloudnorm")
    preset = presets / "bandit_dnr"
    output = run_twice(
        load("transfer_musdb18"),
        tmp_path,
        "--preset",
        preset,
        stems=list(MUSDB),
        segment_seconds=0.4,
        segment_hop_seconds=0.1,
    )
    names = {path.name for path in (output / "best").glob("*.h5")}
    assert names == {f"{stem}.weights.h5" for stem in MUSDB}
    assert same_encoder(preset, output / "preset")
    separator = AudioSeparator.from_preset(output / "preset")
    assert separator.stems == list(MUSDB)
    check_origin(separator.metadata, MUSDB)


@pytest.mark.usefixtures("eagerly")
def test_multitask_musdb18(load, presets, tmp_path):
    output = run_twice(
        load("multitask_musdb18"),
        tmp_path,
        preset=str(presets / "bandit_musdb"),
        stems=["vocals"],
    )
    first = AudioSeparator.from_preset(output / "shared" / "best")
    assert first.stems == ["vocals"]
    # The encoder of the first stage, and its decoders, to the last bit.
    assert same_encoder(output / "shared" / "best", output / "preset")
    whole = AudioSeparator.from_preset(output / "preset")
    assert whole.stems == ["vocals", "bass"]
    check_origin(first.metadata, ["vocals"])
    check_origin(whole.metadata, ["bass"], first.metadata)
    for separator in (first, whole):
        assert separator.normalize_recording == "rms_peak"
        assert separator.standardize_spectrogram
        assert separator.chunk_seconds == small.CONFIG["crop_seconds"]


def test_tracks_are_trained_on_at_the_level_that_separate_gives(load):
    multitask = load("multitask_musdb18")
    stereo = small.tracks(MUSDB, 1, 2, 0)

    class Started:
        config = {"normalize_recording": "rms"}
        tracks = staticmethod(lambda split: stereo)

    (track,) = multitask.mono_tracks(Started, "train")
    mixture = multitask.mixture_of(track)
    assert mixture.shape == (1, stereo[0].num_samples)
    assert np.sqrt(np.mean(mixture**2)) == pytest.approx(0.1, rel=1e-5)
    found = track.read("bass", 100, 200)
    expected = stereo[0].read("bass", 100, 200).mean(axis=0, keepdims=True)
    expected *= found[0, 0] / expected[0, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.usefixtures("eagerly")
def test_transfer_of_two_kinds_of_bands(load, presets, tmp_path):
    pytest.importorskip("matplotlib")
    recipe = load("transfer_bands_musdb18")
    bands = {"generic": [[0, 10], [10, 65]], "v7": [[0, 30], [30, 65]]}
    config = {"preset": str(presets / "bandit_musdb"), "bands": bands}
    config |= {"stems": ["vocals"], "epochs": 2}
    output = run_twice(recipe, tmp_path, **config)
    curves = json.loads((output / "usdr.json").read_text())
    assert list(curves) == ["generic", "v7"]
    for name, curve in curves.items():
        path = output / name / "new" / "history.csv"
        rows = np.genfromtxt(path, delimiter=",", names=True)
        np.testing.assert_array_equal(curve, rows["val_usdr"])
        assert len(curve) == 2
        # The encoder of the first stage, and bands of its own.
        base = output / name / "shared" / "best"
        assert same_encoder(base, output / name / "preset")
        separator = AudioSeparator.from_preset(output / name / "preset")
        assert separator.stems == ["vocals", "bass"]
        found = [[b.start, b.stop] for b in separator.backbone.bands]
        assert found == bands[name]
    assert (output / "usdr.png").stat().st_size > 10_000
    # The score is that of whole tracks, by the last decoder.
    assert len(set(curves["generic"])) == 2
    (axis,) = recipe.plot(curves, "Bass").axes
    assert [line.get_label() for line in axis.lines] == [
        "generic bands",
        "v7 bands",
    ]
    for line, curve in zip(axis.lines, curves.values(), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), curve)
        np.testing.assert_array_equal(line.get_xdata(), [1, 2])
    assert axis.get_ylabel() == "uSDR (dB)"
    # A third epoch goes on after the second.
    run(recipe, tmp_path, **{**config, "epochs": 3})
    longer = json.loads((output / "usdr.json").read_text())
    for name, curve in curves.items():
        assert len(longer[name]) == 3
        assert longer[name][:2] == curve


def test_score_of_whole_tracks(load):
    recipe = load("transfer_bands_musdb18")
    tracks = small.tracks(MUSDB, 2, 1, 0)

    class Halves:
        def separate(self, audio, sample_rate, batch_size):
            assert (audio.shape, sample_rate, batch_size) == (
                (1, 4000),
                8000,
                3,
            )
            return {"bass": audio / 2}

    score = recipe.TrackScore(tracks, "bass", 3)
    score.set_model(Halves())
    logs = {}
    score.on_epoch_end(0, logs)
    expected = []
    for track in tracks:
        bass, vocals = (track.read(stem)[0] for stem in ("bass", "vocals"))
        error = bass - (bass + vocals) / 2
        expected.append(10 * np.log10(np.sum(bass**2) / np.sum(error**2)))
    assert logs["val_usdr"] == pytest.approx(np.mean(expected), abs=1e-4)


@pytest.fixture(scope="module")
def shared(presets, tmp_path_factory):
    """A folder, and processes that run recipes on two devices into it.

    TensorFlow has one device and no such processes. One device's runs can go
    into the same folder meanwhile.
    """
    folder, processes = tmp_path_factory.mktemp("shared"), []
    if keras.config.backend() != "tensorflow":
        script = Path(__file__).with_name("share_recipes.py")
        preset = presets / "bandit_dnr"
        processes = two_devices.start(script, preset, folder / "two")
    yield folder, processes
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def one(load, presets, shared):
    """Runs a recipe on one device, or goes on; returns its output."""

    def run_one(name, how=run):
        preset, folder = presets / "bandit_dnr", shared[0] / "one"
        return small.run_shared(load(name), folder, preset, 1, how)

    return run_one


@pytest.fixture(scope="module")
def two(shared):
    """Finds what a recipe wrote on two devices."""
    folder, processes = shared
    if not processes:
        pytest.skip("TensorFlow takes one device")
    two_devices.finish(processes)
    return lambda name: folder / "two" / name / "run"


def test_transfer_mne(one, presets):
    output = one("transfer_mne", run_twice)
    # The decoder alone, no encoder.
    names = {path.name for path in (output / "best").glob("*.h5")}
    assert names == {"mne.weights.h5"}
    assert same_encoder(presets / "bandit_dnr", output / "preset")
    separator = AudioSeparator.from_preset(output / "preset")
    assert separator.stems == [*DNR, "mne"]
    assert separator.backbone.trainable
    check_origin(separator.metadata, ["mne"], epochs=2)


@pytest.mark.usefixtures("eagerly")
def test_finetune_semi_supervised(one, presets):
    output = one("finetune_semi_supervised", run_twice)
    labels = output / "round_1" / "labels" / "film.wav"
    estimates = [soundfile.read(labels / f"{stem}.wav")[0] for stem in DNR]
    mixture, _ = soundfile.read(presets / "unlabelled" / "film.wav")
    # What the teacher says sums to the mixture: float32 of values near 0.1.
    np.testing.assert_allclose(sum(estimates), mixture, atol=1e-6)
    known = [small.ORIGIN]
    for name in ("round_1", "round_2"):
        record = json.loads((output / name / "config.json").read_text())
        teacher = AudioSeparator.from_preset(record["config"]["teacher"])
        best = AudioSeparator.from_preset(output / name / "best")
        check_origin(best.metadata, DNR, teacher.metadata)
        known.append(best.metadata)
    separator = AudioSeparator.from_preset(output / "preset")
    assert separator.stems == list(DNR)
    assert separator.metadata in known


def test_transfer_on_two_devices_does_what_one_does(one, two, presets):
    one, two = one("transfer_mne"), two("transfer_mne")
    names = ["best/mne.weights.h5", "last/mne.weights.h5"]
    for part in ("train", "validation"):
        names += [f"features/{part}/{i:07}.npz" for i in range(10)]
    for name in names:
        found, expected = small.arrays(two / name), small.arrays(one / name)
        assert set(found) == set(expected)
        for key, value in expected.items():
            # Ten steps of Adam, each of at most 1e-3; float32 sums in
            # another order differ by 1e-7.
            np.testing.assert_allclose(found[key], value, atol=1e-5)
    rows = [
        np.genfromtxt(run / "history.csv", delimiter=",") for run in (one, two)
    ]
    np.testing.assert_allclose(rows[1], rows[0], atol=1e-4)  # losses and dB
    assert same_encoder(presets / "bandit_dnr", two / "preset")


def test_finetuning_on_two_devices_does_what_one_does(one, two):
    name = "finetune_semi_supervised"
    one, two = one(name), two(name)
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
        found, expected = (
            small.weights(folder / preset) for folder in (two, one)
        )
        for path, value in expected.items():
            # Steps of Adam of at most 1e-4; float32 sums in another order.
            np.testing.assert_allclose(found[path], value, atol=1e-5)


def finetune(load, presets, folder, unlabelled):
    return run(
        load("finetune_semi_supervised"),
        folder,
        "--preset",
        presets / "bandit_dnr",
        "--unlabelled",
        unlabelled,
        **small.FINETUNE,
    )


def test_finetuning_refuses_labels_of_other_mixtures(load, presets, tmp_path):
    """Mixtures of another folder may have the same names."""
    record = {"config": {}, "seed": 42, "backend": keras.config.backend()}
    recipe = load("finetune_semi_supervised")
    record["config"] = {**recipe.CONFIG, **small.CONFIG, **small.FINETUNE}
    record["config"] |= {
        "teacher": str(presets / "bandit_dnr"),
        "unlabelled": "others",
    }
    folder = tmp_path / "run" / "round_1"
    (folder / "labels").mkdir(parents=True)
    record["sessions"] = []
    (folder / "config.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"unlabelled: 'others' before"):
        finetune(load, presets, tmp_path, presets / "unlabelled")


def test_finetuning_refuses_validation_at_another_rate(
    load, presets, tmp_path, monkeypatch
):
    import recipe

    noise = small.ArrayTrack(
        "track", 16000, {s: np.ones((1, 9000)) for s in DNR}
    )
    load("finetune_semi_supervised")
    monkeypatch.setattr(recipe, "open_tracks", lambda *_: [noise])
    monkeypatch.setattr(small, "prepared", recipe.open_tracks)
    with pytest.raises(ValueError, match=r"sample_rate=16000; all .* 8000"):
        finetune(load, presets, tmp_path, tmp_path)


def test_unlabelled_at_another_rate_is_refused(load, presets, tmp_path):
    folder = tmp_path / "unlabelled"
    folder.mkdir()
    soundfile.write(folder / "film.wav", np.zeros(6000), 44100)
    with pytest.raises(ValueError, match=r"film.wav.*8000 Hz; got 44100"):
        finetune(load, presets, tmp_path, folder)


def test_score_of_a_sum(load):
    stems = ["a_again", "b_again", "ab"]
    target, estimate = (
        np.random.default_rng(0)
        .normal(size=(2, 3, 2, 1, 100))
        .astype("float32")
    )
    target, estimate = map(keras.ops.convert_to_tensor, (target, estimate))
    metric = load("transfer_demo").SumSISNR(stems)
    metric.update_state(
        *(dict(zip(stems, x, strict=True)) for x in (target, estimate))
    )
    expected = si_snr(target[0] + target[1], estimate[0] + estimate[1])
    expected = float(keras.ops.mean(expected))
    assert float(metric.result()) == pytest.approx(expected, abs=1e-4)


def test_transfer_demo(load, presets, tmp_path, monkeypatch):
    recipe = load("transfer_demo")

    def tracks(dataset, split, data_dir, config="paths"):
        assert dataset == "film_mix"
        assert Path(data_dir).name == ("test" if split == "test" else "data")
        rng = np.random.default_rng(len(split))
        found = []
        for number in range(2):
            audio = {
                stem: 0.1 * rng.standard_normal((1, 4000))
                for stem in ("speech", "music", "effects")
            }
            if split == "test" and number:  # no target to be judged by
                audio |= {s: np.zeros((1, 4000)) for s in ("music", "effects")}
            audio["mixture"] = sum(audio.values())
            found.append(small.ArrayTrack(str(number), small.RATE, audio))
        return found

    monkeypatch.setattr("recipe.open_tracks", tracks)
    monkeypatch.setattr(recipe, "open_tracks", tracks)
    config = {"crop_seconds": 0.2, "validation_hop_seconds": 0.2}
    config |= {"batch_size": 2, "epochs": 1}
    arguments = ["--data-dir", tmp_path / "data", "--output", tmp_path / "run"]
    arguments += ["--test-dir", tmp_path / "test", "--retrain-parts"]
    arguments += ["--preset", presets / "bandit_dnr"]
    kept, scores = [], []
    for _ in range(2):
        recipe.main(list(map(str, arguments)), {**recipe.CONFIG, **config})
        kept.append(small.kept(tmp_path / "run"))
        rows = json.loads((tmp_path / "run" / "scores.json").read_text())
        scores.append({(row["stem"], row["from"]): row for row in rows})
    np.testing.assert_equal(*kept)  # trained no more
    found, again = scores
    for key, row in found.items():
        # Scored again: threads sum float32 in another order each time.
        assert again[key] == pytest.approx(row, abs=1e-6)
    assert found.keys() == {
        ("mne", "mixture"),
        ("mne", "new decoder"),
        ("mne", "stems of the preset"),
        ("mne", "retrained stems"),
    }
    (row,) = read_history(tmp_path / "run" / "run" / "history.csv")
    assert -60 < float(row["val_si_snr_of_sum"]) < 60
    assert (tmp_path / "run" / "curve.png").stat().st_size > 5000
    row = found["mne", "mixture"]
    assert row["clips"] == 1
    # Two of three equal parts: 10 log10(2) = 3.0 dB. The ratio of two powers of
    # 4,000 samples is within 0.4 dB.
    assert row["SNR (dB)"] == pytest.approx(3.0, abs=0.4)
