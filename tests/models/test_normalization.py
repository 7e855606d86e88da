"""Levels of recordings and of chunks: nothing of them is in the stems."""

import json

import keras
import numpy as np
import pytest

from keras_bandit.losses import L1
from keras_bandit.models import AudioSeparator, BSRNNAudioSeparator
from keras_bandit.models.record import describe_model
from keras_bandit.training import FeatureLearner
from keras_bandit.training.feature_cache import encoder_of

from ..called import called
from .conftest import EAGERLY, small_bandit, small_bsrnn

OPTIONS = {"normalize_recording": "rms_peak", "standardize_spectrogram": True}
MODELS = {"bandit": small_bandit, "bsrnn": small_bsrnn}
RATE = 44100

as_numpy = keras.ops.convert_to_numpy


def noise(channels=2, samples=3000, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.1, (channels, samples)).astype("float32")


def with_masks_of_ones(separator):
    """Its decoders give masks of ones, whatever they are given."""
    for decoder in separator.decoders.values():
        layer = decoder.get_layer("mask_decoder")
        layer.output_kernel.assign(0 * layer.output_kernel)
        bias = []
        for band in layer.bands:
            size = layer.num_channels * (band.stop - band.start)
            # Values of real and imaginary parts; gates, sigmoid(100) = 1.
            bias += [1.0, 0.0] * size + [100.0] * (2 * size)
        layer.output_bias.assign(bias)
    return separator


def estimates_of(separator, audio, scale=1.0, **options):
    audio = np.float32(scale) * audio
    options = {"chunk_seconds": 0.02, **options}
    return separator.separate(audio, RATE, **options)


@pytest.mark.parametrize("model", MODELS)
def test_masks_of_ones_return_the_mixture(model, batch):
    separator = with_masks_of_ones(MODELS[model](**OPTIONS))
    mixture = batch[0]
    for stem, estimate in called(separator, mixture).items():  # as in training
        np.testing.assert_allclose(as_numpy(estimate), mixture, atol=1e-6)
        masked = called(separator, [mixture])["spectrogram"][stem]
        target = separator.domains({stem: mixture})["spectrogram"][stem]
        np.testing.assert_allclose(
            as_numpy(masked), as_numpy(target), atol=1e-6
        )
    audio = noise()
    audio[:, 1000:2500] = 0  # silent chunks, too
    audio[1] *= 0.01
    for estimate in estimates_of(separator, audio).values():
        np.testing.assert_allclose(estimate, audio, atol=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_stems_scale_with_the_recording(model):
    separator, audio = MODELS[model](**OPTIONS), noise()
    estimates = estimates_of(separator, audio)
    for scale in (2.0**-13, 1e-3, 50.0):
        scaled = estimates_of(separator, audio, scale)
        for stem, estimate in estimates.items():
            # Powers of two scale float32 without rounding.
            tolerance = 0 if scale == 2.0**-13 else 1e-5
            error = np.abs(scaled[stem] / np.float32(scale) - estimate)
            assert error.max() <= tolerance * np.abs(estimate).max()


@pytest.mark.parametrize("model", MODELS)
def test_silence_is_silent(model):
    separator = MODELS[model](**OPTIONS)
    silence = np.zeros((2, 1000), "float32")
    for estimate in called(separator, silence[None]).values():
        assert not as_numpy(estimate).any()
    for estimate in estimates_of(separator, silence).values():
        assert not estimate.any()


def test_bandit_still_separates_channels_independently():
    separator, audio = small_bandit(**OPTIONS), noise()
    audio[1] *= 0.01
    stereo = as_numpy(called(separator, audio[None])["music"])[0]
    for channel in range(2):
        one = audio[None, channel : channel + 1]
        mono = as_numpy(called(separator, one)["music"])
        np.testing.assert_allclose(mono[0, 0], stereo[channel], atol=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_a_model_learns_and_comes_back(model, batch, tmp_path):
    separator = MODELS[model](**OPTIONS)
    before = separator.get_weights()
    # TensorFlow's functions of these options: the multitask recipe's test.
    separator.compile(keras.optimizers.SGD(0.1), loss=L1(), run_eagerly=EAGERLY)
    separator.fit(*batch, verbose=0)
    after = separator.get_weights()
    assert all(np.isfinite(x).all() for x in after)
    assert any(np.any(x != y) for x, y in zip(after, before, strict=True))
    separator.save_to_preset(tmp_path / "preset")
    copy = AudioSeparator.from_preset(tmp_path / "preset")
    assert copy.get_config() == separator.get_config()
    stem = separator.stems[-1]
    only = separator.with_stems([stem])
    expected = as_numpy(called(separator, batch[0])[stem])
    for other in (copy, only):
        assert other.normalize_recording == "rms_peak"
        np.testing.assert_allclose(
            as_numpy(called(other, batch[0])[stem]), expected, atol=1e-6
        )
    # Options of a preset from before, and off by default.
    plain = AudioSeparator.from_preset(
        tmp_path / "preset",
        normalize_recording=None,
        standardize_spectrogram=False,
    )
    task = tmp_path / "preset" / "task.json"
    content = json.loads(task.read_text())
    for name in OPTIONS:
        del content["config"][name]
    task.write_text(json.dumps(content))
    former = AudioSeparator.from_preset(tmp_path / "preset")
    assert former.get_config() == plain.get_config()
    assert "normalize_recording" not in describe_model(former)
    assert OPTIONS.items() <= describe_model(copy).items()
    np.testing.assert_array_equal(
        as_numpy(called(former, batch[0])[stem]),
        as_numpy(called(plain, batch[0])[stem]),
    )


def test_features_that_are_cached_are_standardized(batch):
    separator, mixture = small_bandit(**OPTIONS), batch[0]
    features = as_numpy(called(encoder_of(separator), mixture))
    features = features.reshape(len(mixture), -1, *features.shape[1:])
    learner = FeatureLearner(separator)
    estimates = called(learner, {"features": features, "waveform": mixture})
    for stem, expected in called(separator, mixture).items():
        np.testing.assert_allclose(
            as_numpy(estimates[stem]), as_numpy(expected), atol=1e-6
        )


def test_other_levels_and_joining_other_options_are_refused():
    with pytest.raises(ValueError, match=r"normalize_recording.*got 'loud'"):
        small_bandit(normalize_recording="loud")
    separators = [
        small_bsrnn(["vocals"], **OPTIONS),
        small_bsrnn(["bass"]),
    ]
    with pytest.raises(ValueError, match="standardize_spectrogram"):
        BSRNNAudioSeparator.join(separators)
