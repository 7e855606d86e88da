"""Open-Unmix against its authors' PyTorch outputs, and what it promises.

Estimates, features and filtered spectra are within 1e-4 of their peak; most
errors are a hundredth of that.
"""

import functools
import pathlib

import keras
import numpy as np
import pytest

from keras_bandit.convert import from_checkpoint
from keras_bandit.losses import L1SNR, MagnitudeMSE
from keras_bandit.models import AudioSeparator, OpenUnmixAudioSeparator
from keras_bandit.models.open_unmix.open_unmix_checkpoint import separator_pairs
from keras_bandit.models.open_unmix.wiener import wiener

from ..called import called, symbolic

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
as_numpy = keras.ops.convert_to_numpy
BACKEND = keras.config.backend()
# Half a minute of compiling recurrences and their gradients.
THREE = pytest.param("umx_dnr", marks=pytest.mark.slow)
FOLDER = GOLDEN / "umx_stereo3"


def assert_close(ours, reference, tolerance=1e-4, scale=0.0):
    ours = as_numpy(ours)
    assert ours.shape == reference.shape
    error = np.abs(ours - reference).max()
    assert error <= tolerance * max(np.abs(reference).max(), scale)


def convert(name, **settings):
    if name == "umx_stereo3":
        return from_checkpoint(FOLDER)
    if name == "umx_dnr":
        return from_checkpoint(GOLDEN / "umx_dnr.ckpt")
    return from_checkpoint(GOLDEN / f"{name}.pth", stems=["speech"], **settings)


@pytest.fixture(scope="module")
def converted():
    """Converts a checkpoint once; for tests that do not train it."""
    return functools.cache(convert)


def like(separator, **changed):
    """The separator with the same networks and other arguments."""
    config = {**separator.get_config(), "decoders": separator.decoders}
    return OpenUnmixAudioSeparator.from_config({**config, **changed})


def every(data, key, step):
    """`(reference, step)` of what is stored as every n-th sample."""
    prefix = f"{key}_every_{step}th_sample/"
    return {
        k.removeprefix(prefix): v
        for k, v in data.items()
        if k.startswith(prefix)
    }


def test_the_folder_says_all(converted):
    separator = converted("umx_stereo3")
    assert separator.stems == ["speech", "music", "effects"]
    assert (separator.n_fft, separator.hop_length) == (512, 128)
    assert (separator.num_channels, separator.niter) == (2, 1)
    assert separator.sample_rate == 44100
    assert set(separator.metadata["source_sha256"]) == {
        path.name for path in FOLDER.glob("*.pth")
    }


@pytest.mark.parametrize(
    ("key", "step", "changed"),
    [
        ("estimate", 2, {}),
        ("niter0", 10, {"niter": 0}),
        ("niter2_residual", 10, {"niter": 2, "residual": True}),
        ("niter1_whole", 10, {"window_frames": None}),
        ("softmask_niter0", 10, {"niter": 0, "softmask": True}),
    ],
)
def test_stereo_estimates(key, step, changed, golden, converted):
    data = golden("umx_stereo3")
    separator = like(converted("umx_stereo3"), **changed)
    estimates = called(separator, data["mixture"])
    references = every(data, key, step)
    assert list(references) == separator.stems
    for stem, reference in references.items():
        assert_close(as_numpy(estimates[stem])[..., ::step], reference)
    # Filtered together, whichever are asked for.
    some = separator.with_stems(separator.stems[-1:])
    for stem, estimate in called(some, data["mixture"]).items():
        assert_close(estimate, as_numpy(estimates[stem]), 1e-6)


def test_mono_estimates(golden, converted):
    data = golden("umx_mono_uni")
    separator = converted("umx_mono_uni")
    estimates = called(separator, data["mixture"])
    assert_close(estimates["speech"], data["estimate/speech"])
    both = called(separator, data["stereo_input/mixture"])["speech"]
    references = every(data, "stereo_input", 3)
    assert_close(as_numpy(both)[..., ::3], references["speech_niter0"])
    filtered = like(separator, niter=1, residual=True)
    filtered = called(filtered, data["mixture"])
    for stem, reference in every(data, "niter1_residual", 3).items():
        assert_close(as_numpy(filtered[stem])[..., ::3], reference)


def test_dnr_estimates(golden, converted):
    data = golden("umx_dnr")
    separator = converted("umx_dnr")
    domains = called(separator, [data["mixture"]])
    for stem in ("speech", "music", "effects"):
        assert_close(domains["waveform"][stem], data[f"estimate/{stem}"])
        magnitude = as_numpy(domains["magnitude"][stem])[:, :, ::3]
        reference = data[f"magnitude_every_3th_frame/{stem}"]
        assert_close(magnitude, np.swapaxes(reference, 2, 3))


@pytest.mark.parametrize(
    ("name", "step"), [("umx_stereo3", 8), ("umx_mono_uni", 5)]
)
def test_features(name, step, golden, converted):
    data = golden(name)
    separator = converted(name)
    spectrogram = separator.stft(data["mixture"])
    magnitude = separator.core.get_layer("magnitude")
    reference = data[f"spectrogram_every_{step}th_frame/mixture"]
    assert_close(
        as_numpy(spectrogram)[:, :, ::step] * magnitude.scale,
        np.swapaxes(reference, 2, 3),
    )
    network = separator.decoders["speech"]
    names = ["bn1", "lstm", "bn2", "bn3"]
    inner = keras.Model(
        network.input, {n: network.get_layer(n).output for n in names}
    )
    outputs = called(inner, magnitude(spectrogram))
    for layer in names:
        # (batch, frames, values) as the authors have it, frames first
        ours = np.swapaxes(as_numpy(outputs[layer]), 0, 1)
        if layer == "bn3":  # theirs is scaled in place
            scaling = network.get_layer("output_scaling")
            tiles = ours.shape[-1] // scaling.scale.shape[0]
            ours = ours * np.tile(as_numpy(scaling.scale), tiles)
            ours = ours + np.tile(as_numpy(scaling.mean), tiles)
        key = f"features/speech.{layer}"
        if key not in data:
            key = f"features_every_{step}th_value/speech.{layer}"
            ours = ours[..., ::step]
        assert_close(ours.reshape(data[key].shape), data[key])


@pytest.mark.parametrize(
    "options",
    [
        f"niter{niter}{softmask}{residual}"
        for niter in (0, 1, 3)
        for softmask in ("", "_softmask")
        for residual in ("", "_residual")
    ]
    + ["niter1_loud_mix_times_50"],
)
def test_wiener(options, golden):
    data = golden("umx_wiener")
    # (frames, bins, channels, 2) to (batch, channels, windows, frames, bins, 2)
    mixture = data["mix_stft"].transpose(2, 0, 1, 3)[None, :, None]
    magnitudes = data["magnitudes"].transpose(3, 2, 0, 1)[:, None, :, None]
    # The authors' code writes 1 into the mixture's silent bins when it takes
    # their angle, which softmask does not. Real masks are 0 there.
    if "loud" in options:
        mixture, magnitudes = 50 * mixture, 50 * magnitudes
    silent = np.all(mixture == 0, axis=-1)
    assert silent.any()
    if "softmask" not in options:
        mixture[silent, 0] = 1.0
    mixture = keras.ops.convert_to_tensor(mixture)
    magnitudes = keras.ops.convert_to_tensor(magnitudes)
    niter, softmask = int(options[5]), "softmask" in options
    residual = "residual" in options
    sources = wiener(mixture, magnitudes, niter, softmask, residual)
    ours = as_numpy(sources)[:, 0, :, 0].transpose(2, 3, 1, 4, 0)
    assert_close(ours, data[f"wiener/{options}"])


class CoupledAdam(keras.optimizers.Adam):
    """Weight decay added to the gradient, as `torch.optim.Adam` has it."""

    def apply(self, grads, trainable_variables=None):
        variables = trainable_variables or self._trainable_variables
        grads = [g + 1e-5 * v for g, v in zip(grads, variables, strict=True)]
        super().apply(grads, trainable_variables)


def for_training(name):
    """One target (the stored ones), without dropout and filter."""
    separator = convert(name)
    stems = separator.stems if name == "umx_dnr" else ["speech"]
    separator = like(
        separator,
        stems=stems,
        niter=0,
        decoders={stem: separator.decoders[stem] for stem in stems},
    )
    for network in separator.decoders.values():
        network.get_layer("lstm").drop.rate = 0.0
    return separator


def fit(separator, data, optimizer, epochs=1):
    targets = {s: data[f"target/{s}"] for s in separator.stems}
    # TensorFlow takes long to trace recurrences: one model's are enough.
    eager = BACKEND == "tensorflow" and separator.bidirectional
    separator.compile(optimizer, MagnitudeMSE(), run_eagerly=eager)
    history = separator.fit(
        data["mixture"],
        targets,
        batch_size=len(data["mixture"]),
        epochs=epochs,
        verbose=0,
    )
    return [float(loss) for loss in history.history["loss"]]


@pytest.mark.parametrize("name", ["umx_stereo3", "umx_mono_uni", THREE])
def test_one_step_of_training(name, golden):
    """Loss, gradients and running statistics, through `fit`."""
    data = golden(name)
    separator = for_training(name)
    kind = "" if separator.centred_training else "_no_center"
    # Plain descent at a huge rate shows the gradients unrounded.
    rate = 2.0**20
    before = {w.path: as_numpy(w.value) for w in separator.weights}
    (loss,) = fit(separator, data, keras.optimizers.SGD(rate))
    assert loss == pytest.approx(float(data[f"loss/mse_train{kind}"]), rel=1e-5)
    # Some gradients are nothing but rounding: normalization comes after them.
    stored = [k for k in data if k.startswith("grad_")]
    scale = 1e-3 * max(np.abs(data[k]).max() for k in stored)
    gradients, moved = 0, 0
    for variable, names in separator_pairs(separator):
        names = [n.removeprefix("target_models.") for n in names]
        after = as_numpy(variable.value)
        prefix = "batchnorm_after_one_step/"
        if prefix + names[0] in data:
            assert_close(after, data[prefix + names[0]], 1e-5)
            moved += 1
        prefix = f"grad_mse_train{kind}/"
        for i, key in enumerate(names):
            if prefix + key not in data:
                continue
            gradient = (before[variable.path] - after) / rate
            if len(names) > 1:
                gradient = gradient[i]
            assert_close(gradient.T, data[prefix + key], scale=scale)
            gradients += 1
    assert gradients == len(stored)
    assert moved == sum(k.startswith("batchnorm") for k in data)


def test_adam_steps(golden):
    data = golden("umx_mono_uni")
    optimizer = CoupledAdam(1e-3, epsilon=1e-8)
    losses = fit(for_training("umx_mono_uni"), data, optimizer, 5)
    reference = data["adam_loss_and_gradnorm"][:, 0]
    np.testing.assert_allclose(losses, reference, rtol=1e-4)


@pytest.mark.parametrize("name", ["umx_stereo3", "umx_mono_uni", "umx_dnr"])
def test_loss_of_evaluation(name, golden, converted):
    data = golden(name)
    separator = like(converted(name), niter=0, centred_training=True)
    if name == "umx_stereo3":  # the stored one
        separator = separator.with_stems(["speech"])
    targets = {s: data[f"target/{s}"] for s in separator.stems}
    key = "loss/mse_eval" if name == "umx_dnr" else "loss/mse_eval_center"
    targets = separator.domains(targets)
    estimates = called(separator, [data["mixture"]])
    loss = MagnitudeMSE()(targets, estimates)
    loss = float(as_numpy(loss))
    assert loss == pytest.approx(float(data[key]), rel=1e-5)


def small(stems=("speech", "music"), **kwargs):
    settings = {"n_fft": 128, "hop_length": 32, "hidden_dim": 8, **kwargs}
    return OpenUnmixAudioSeparator(list(stems), sample_rate=8000, **settings)


def noise(*shape):
    return np.random.default_rng(0).normal(0, 0.1, shape).astype("float32")


def test_stems_add_up_and_silence_stays_silent():
    separator = small(niter=1)
    mixture = noise(2, 2, 1000)
    estimates = called(separator, mixture)
    assert_close(sum(as_numpy(x) for x in estimates.values()), mixture)
    silence = np.zeros((1, 2, 1000), "float32")
    for estimate in called(separator, silence).values():
        assert not as_numpy(estimate).any()


def test_preset_and_selection(tmp_path):
    separator = small(niter=2, residual=True, num_channels=1)
    mixture = noise(1, 2, 1000)
    estimates = called(separator, mixture)
    stems = ["speech", "music", "residual"]
    assert list(separator(symbolic(mixture))) == stems
    separator.save_to_preset(tmp_path / "preset")
    copy = AudioSeparator.from_preset(tmp_path / "preset")
    assert copy.get_config() == separator.get_config()
    only = separator.with_stems(["residual"])
    assert only.linked_channels
    assert only.crossfade == "middle"
    for other in (copy, only):
        np.testing.assert_array_equal(
            as_numpy(called(other, mixture)["residual"]),
            as_numpy(estimates["residual"]),
        )
    plain = AudioSeparator.from_preset(
        tmp_path / "preset", niter=0, residual=False
    )
    assert list(plain.add_decoder("effects")(symbolic(mixture))) == [
        "speech",
        "music",
        "effects",
    ]


def test_channels_are_linked_and_chunks_equal_the_whole():
    separator = small(num_channels=1, niter=1)
    audio = noise(2, 40000)
    whole = separator.separate(audio, 8000)  # it fits in a chunk
    direct = separator.predict_on_batch(audio[None])
    chunked = separator.separate(audio, 8000, chunk_seconds=7.2 / 4)
    for stem, estimate in whole.items():
        assert_close(estimate, as_numpy(direct[stem])[0], 1e-6)
        # LSTMs know little of what is 0.3 s away; nor do windows differ much.
        assert_close(chunked[stem], estimate, 0.05)
    unfiltered = like(separator, niter=0)
    whole = unfiltered.separate(audio, 8000)
    chunked = unfiltered.separate(audio, 8000, chunk_seconds=7.2 / 4)
    for stem, estimate in whole.items():
        assert_close(chunked[stem], estimate)


def test_another_loss_trains_it():
    separator = small(["speech"], dropout=0.0)
    targets = {"speech": noise(4, 2, 512)}
    eager = BACKEND == "tensorflow"
    separator.compile(keras.optimizers.Adam(1e-2), L1SNR(), run_eagerly=eager)
    history = separator.fit(2 * noise(4, 2, 512), targets, epochs=3, verbose=0)
    losses = history.history["loss"]
    assert losses[-1] < losses[0]


def test_initial_weights_are_pytorchs():
    network = small(hidden_dim=64).decoders["speech"]
    for name, fan_in in {"fc1": 130, "fc2": 128, "fc3": 64}.items():
        kernel = np.abs(as_numpy(network.get_layer(name).kernel))
        bound = 1 / np.sqrt(fan_in)
        assert 0.99 * bound < kernel.max() <= bound
        assert kernel.mean() == pytest.approx(bound / 2, rel=0.05)
    scaling = network.get_layer("output_scaling")
    assert np.all(as_numpy(scaling.scale) == 1)
    assert np.all(as_numpy(scaling.mean) == 1)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"num_channels": 3}, "num_channels must be 1 or 2"),
        ({"niter": -1}, "niter must be an integer"),
        ({"stems": ["speech"], "niter": 1}, "niter needs two stems"),
        ({"num_input_bins": 66}, "at most 65"),
        ({"stems": ["residual"], "residual": True}, "must not hold"),
        ({"hop_length": 48}, "must divide n_fft / 2"),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        small(**kwargs)


def test_what_files_do_not_say():
    path = GOLDEN / "umx_mono_uni.pth"
    with pytest.raises(ValueError, match="does not say which stem"):
        from_checkpoint(path)
    separator = from_checkpoint(path, 16000, 512, ["voice"])
    assert separator.stems == ["voice"]
    assert (separator.sample_rate, separator.hop_length) == (16000, 512)
    with pytest.raises(ValueError, match=r"among .*got \['drums'\]"):
        from_checkpoint(FOLDER, stems=["drums"])
    assert from_checkpoint(FOLDER, stems=["music"]).stems == ["music"]


def test_folders_that_do_not_fit(tmp_path):
    with pytest.raises(ValueError, match=r"no file <target>\.pth"):
        from_checkpoint(tmp_path)
    for name in ("a-01234567.pth", "a.pth"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match="one file for each target"):
        from_checkpoint(tmp_path)
