"""Converted checkpoints against the authors' PyTorch outputs.

Tolerances are the issue's: 1e-5 absolute and 1e-4 of the reference's peak for
what the network returns, 1e-4 relative for gradients, 1e-3 for five steps of
Adam. Measured errors are about a hundredth of that.
"""

import functools

import keras
import numpy as np
import pytest

from keras_bandit.convert import from_checkpoint
from keras_bandit.losses import L1, L1SNR, L2SNR, MSE
from keras_bandit.models import BSRNNAudioSeparator
from keras_bandit.models.band_split_checkpoint import (
    decoder_rows,
    encoder_rows,
    read_sizes,
    variables,
)
from keras_bandit.models.bandit.bandit_checkpoint import v1_names
from keras_bandit.models.bsrnn.bsrnn_checkpoint import split_stems

from ..called import compiled
from ..conftest import optimize_graphs

SHARED_ENCODER = ["bandit_v1_mel16", "bandit_v1_musical12", "bandit_v1_vox7"]
SEPARATE_ENCODERS = ["bsrnn_gru_musdb_stereo", "bsrnn_lstm_vox7_speech"]
TRAINED = [*SHARED_ENCODER, *SEPARATE_ENCODERS]
LOSSES = {"l1snr": L1SNR, "l2snr": L2SNR, "l1": L1, "l2": MSE}

as_numpy = keras.ops.convert_to_numpy


def assert_close(ours, reference):
    """Within 1e-5 and within 1e-4 of the reference's peak."""
    ours = as_numpy(ours)
    assert ours.shape == reference.shape
    error = np.abs(ours - reference).max()
    assert error <= min(1e-5, 1e-4 * np.abs(reference).max())


def bins_last(spectrogram):
    """The authors' `(…, bins, frames, 2)` as our `(…, frames, bins, 2)`."""
    return np.swapaxes(spectrogram, -2, -3)


@pytest.fixture(autouse=True, scope="module")
def optimized_graphs():
    """On TensorFlow, graphs as users have them."""
    if keras.config.backend() != "tensorflow":
        yield
        return
    optimize_graphs(True)
    yield
    optimize_graphs(False)


@pytest.fixture(scope="module")
def estimated(golden, checkpoint):
    """Golden data, the converted separator, its estimates in all domains."""

    @functools.cache
    def estimate(name):
        data, separator = golden(name), from_checkpoint(checkpoint(name))
        run = compiled(lambda mixture: separator([mixture]))
        return data, separator, run(data["mixture"])

    return estimate


@pytest.mark.parametrize("name", [*TRAINED, "bandit_v2_musical12"])
def test_waveforms(name, estimated):
    data, _, estimates = estimated(name)
    for stem, estimate in estimates["waveform"].items():
        assert_close(estimate, data[f"estimate/{stem}"])


@pytest.mark.parametrize("name", TRAINED)
def test_spectrograms_and_losses(name, estimated):
    data, separator, estimates = estimated(name)
    spectrogram = separator.stft(data["mixture"])
    assert_close(spectrogram, bins_last(data["spectrogram"]))
    for stem in separator.stems:
        key = f"estimate_spectrogram/{stem}"
        if key in data:
            estimate = estimates["spectrogram"][stem]
            assert_close(estimate, bins_last(data[key]))
    waveforms = {s: data[f"target/{s}"] for s in separator.stems}
    targets = {
        "waveform": waveforms,
        "spectrogram": {s: separator.stft(x) for s, x in waveforms.items()},
    }
    for key, loss in LOSSES.items():
        value = as_numpy(loss()(targets, estimates))
        assert abs(value - data[f"loss/{key}"]) <= 1e-5


@pytest.mark.parametrize("name", SHARED_ENCODER)
def test_band_split_features_and_masks(name, estimated):
    data, separator, _ = estimated(name)
    band_split = separator.backbone.get_layer("band_split")

    def run(spectrogram):
        features = separator.backbone(spectrogram)
        mask = separator.decoders["speech"](features)
        return band_split(spectrogram), features, mask

    split, features, mask = compiled(run)(separator.stft(data["mixture"]))
    assert_close(split, data["band_split"])
    assert_close(features, data["features"])
    assert_close(mask, bins_last(data["mask/speech"]))


def flat_gradients(data, separator):
    """The authors' gradients in our variables' layout, `{path: array}`.

    Gradients move between the layouts as weights do, since that only
    transposes and concatenates.
    """
    prefix = "grad_l1snr/"
    gradients = {
        name.removeprefix(prefix): value
        for name, value in data.items()
        if name.startswith(prefix)
    }
    models = {None: v1_names(gradients)}
    if isinstance(separator, BSRNNAudioSeparator):
        models = split_stems(gradients)
    found = {}
    for encoded, tensors in models.items():
        sizes = read_sizes(tensors)
        encoder, stems = separator.backbone, separator.stems
        if encoded is not None:
            encoder, stems = encoder.encoders[encoded], [encoded]
        parts = [(encoder, encoder_rows(sizes))]
        parts += [
            (separator.decoders[s], decoder_rows(sizes, s)) for s in stems
        ]
        for part, rows in parts:
            for variable, array in variables(part, rows, tensors):
                found[variable.path] = array
    return found


class KeepsGradients(keras.optimizers.Adam):
    """Keeps the last step's gradients, as they were before clipping."""

    def build(self, variables):
        super().build(variables)
        self.gradients = [
            self.add_variable_from_reference(v, name="gradient")
            for v in variables
        ]

    def apply(self, grads, trainable_variables=None):
        for kept, gradient in zip(self.gradients, grads, strict=True):
            kept.assign(gradient)
        return super().apply(grads, trainable_variables)


@pytest.mark.parametrize("name", TRAINED)
def test_gradients_and_five_adam_steps_through_fit(name, golden, checkpoint):
    data = golden(name)
    separator = from_checkpoint(checkpoint(name))
    targets = {s: data[f"target/{s}"] for s in separator.stems}
    optimizer = KeepsGradients(1e-3, epsilon=1e-8, global_clipnorm=5.0)
    separator.compile(optimizer, loss=L1SNR())

    def losses(steps):
        history = separator.fit(
            data["mixture"],
            targets,
            batch_size=len(data["mixture"]),
            epochs=steps,
            verbose=0,
        )
        return [float(loss) for loss in history.history["loss"]]

    first = losses(1)
    reference = flat_gradients(data, separator)
    paths = [weight.path for weight in separator.trainable_weights]
    assert set(reference) == set(paths)
    for path, gradient in zip(paths, optimizer.gradients, strict=True):
        error = np.abs(as_numpy(gradient) - reference[path]).max()
        assert error <= 1e-4 * np.abs(reference[path]).max(), path
    np.testing.assert_allclose(
        first + losses(4), data["adam_loss_and_gradnorm"][:, 0], rtol=1e-3
    )


@pytest.mark.slow
def test_chunked_separation(golden, checkpoint):
    """The authors' overlap-add: 6 s chunks every 0.5 s over 13 s."""
    data = golden("chunked_inference_13s")
    separator = from_checkpoint(checkpoint("bandit_v1_musical12"))
    estimates = separator.separate(
        data["mixture"][0], separator.sample_rate, hop_seconds=0.5
    )
    for stem, estimate in estimates.items():
        reference = data[f"estimate_every_13th_sample/{stem}"][0]
        error = np.abs(estimate[:, ::13] - reference).max()
        assert error <= 1e-4 * np.abs(reference).max()
