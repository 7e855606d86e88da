"""Converted checkpoints against the authors' PyTorch outputs.

Tolerances are the issue's: 1e-5 absolute and 1e-4 of the reference's peak for
what the network returns, 1e-4 relative for gradients, 1e-3 for five steps of
Adam. Measured errors are about a hundredth of that.
"""

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


def run_domains(separator, mixture):
    """Waveforms and masked spectrograms, as the loss sees them."""
    return separator([mixture])


@pytest.mark.parametrize("name", [*TRAINED, "bandit_v2_musical12"])
def test_waveforms(name, golden, checkpoint):
    data = golden(name)
    estimates = from_checkpoint(checkpoint(name))(data["mixture"])
    for stem, estimate in estimates.items():
        assert_close(estimate, data[f"estimate/{stem}"])


@pytest.mark.parametrize("name", TRAINED)
def test_spectrograms_and_losses(name, golden, checkpoint):
    data = golden(name)
    separator = from_checkpoint(checkpoint(name))
    spectrogram = separator.stft(data["mixture"])
    assert_close(spectrogram, bins_last(data["spectrogram"]))
    estimates = run_domains(separator, data["mixture"])
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
def test_band_split_features_and_masks(name, golden, checkpoint):
    data = golden(name)
    separator = from_checkpoint(checkpoint(name))
    spectrogram = separator.stft(data["mixture"])
    band_split = separator.backbone.get_layer("band_split")
    assert_close(band_split(spectrogram), data["band_split"])
    features = separator.backbone(spectrogram)
    assert_close(features, data["features"])
    mask = separator.decoders["speech"](features)
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


@pytest.mark.parametrize("name", TRAINED)
def test_gradients_through_fit(name, golden, checkpoint):
    data = golden(name)
    separator = from_checkpoint(checkpoint(name))
    targets = {s: data[f"target/{s}"] for s in separator.stems}
    # One step of plain descent moves each weight by rate times gradient. A
    # huge rate keeps the weight itself from rounding the gradient away.
    rate = 2.0**20
    separator.compile(keras.optimizers.SGD(rate), loss=L1SNR())
    before = {w.path: as_numpy(w.value) for w in separator.weights}
    batch_size = len(data["mixture"])
    separator.fit(data["mixture"], targets, batch_size=batch_size, verbose=0)
    reference = flat_gradients(data, separator)
    assert set(reference) == set(before)
    for weight in separator.weights:
        gradient = (before[weight.path] - as_numpy(weight.value)) / rate
        error = np.abs(gradient - reference[weight.path]).max()
        assert error <= 1e-4 * np.abs(reference[weight.path]).max(), weight.path


@pytest.mark.parametrize("name", TRAINED)
def test_five_adam_steps_through_fit(name, golden, checkpoint):
    data = golden(name)
    separator = from_checkpoint(checkpoint(name))
    targets = {s: data[f"target/{s}"] for s in separator.stems}
    separator.compile(
        keras.optimizers.Adam(1e-3, epsilon=1e-8, global_clipnorm=5.0),
        loss=L1SNR(),
    )
    history = separator.fit(
        data["mixture"],
        targets,
        batch_size=len(data["mixture"]),
        epochs=5,
        verbose=0,
    )
    losses = [float(loss) for loss in history.history["loss"]]
    reference = data["adam_loss_and_gradnorm"][:, 0]
    np.testing.assert_allclose(losses, reference, rtol=1e-3)


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
