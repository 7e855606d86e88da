"""Separators: stems, training, saving."""

import keras
import numpy as np
import pytest

from keras_bandit.losses import L1SNR, SeparationLoss
from keras_bandit.metrics import SISNR, SNR
from keras_bandit.models import (
    AudioSeparator,
    BanditAudioSeparator,
    BSRNNAudioSeparator,
    BSRNNBackbone,
)

from ..called import called
from ..conv_separator import ConvSeparator
from .conftest import EAGERLY, STEMS, small_bandit, small_bsrnn


def outputs(separator, mixture):
    """`{stem: NumPy array}`, the same to the bit whatever else is computed."""
    return as_arrays(separator(mixture))


def as_arrays(estimates):
    return {
        stem: keras.ops.convert_to_numpy(estimate)
        for stem, estimate in estimates.items()
    }


def weights(model):
    return [keras.ops.convert_to_numpy(w.value) for w in model.weights]


def assert_same(a, b):
    assert set(a) == set(b)
    for stem in a:
        np.testing.assert_array_equal(a[stem], b[stem])


def compile_(separator, loss=None, **kwargs):
    separator.compile(
        keras.optimizers.Adam(1e-3, epsilon=1e-8),
        loss=loss or L1SNR(),
        **kwargs,
    )


# The graph


@pytest.mark.parametrize("make", [small_bandit, small_bsrnn])
def test_outputs_have_the_inputs_shape(make, batch):
    separator = make()
    assert list(separator.decoders) == separator.stems
    assert set(separator.output["waveform"]) == set(separator.stems)
    for samples in (1, 63, 64, 1000):
        mixture = batch[0][..., :samples]
        for estimate in as_arrays(called(separator, mixture)).values():
            assert estimate.shape == mixture.shape
            assert np.isfinite(estimate).all()


def test_bandit_separates_channels_independently(bandit, batch):
    mixture, _ = batch
    stereo = as_arrays(called(bandit, mixture))
    for channel in range(2):
        alone = mixture[:, channel : channel + 1]
        mono = as_arrays(called(bandit, alone))
        for stem in STEMS:
            error = mono[stem][:, 0] - stereo[stem][:, channel]
            assert np.abs(error).max() < 1e-6  # other products, same values


def test_silence_stays_silent(bandit):
    silence = np.zeros((1, 1, 700), "float32")
    for estimate in as_arrays(called(bandit, silence)).values():
        assert not estimate.any()


def test_variables_have_paths_of_their_own(bandit, bsrnn):
    # The torch backend finds variables by path: two with the same one would
    # share their gradient's fate.
    for separator in (bandit, bsrnn):
        paths = [w.path for w in separator.weights]
        assert len(set(paths)) == len(paths)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_keeps_spectra_in_float32(dtype, batch):
    separator = small_bandit(dtype=dtype)
    reference = small_bandit()
    reference.set_weights(weights(separator))
    estimates = called(separator, [batch[0]])
    for values in estimates.values():
        for value in values.values():
            assert keras.backend.standardize_dtype(value.dtype) == "float32"
    exact = outputs(reference, batch[0])
    for stem, estimate in estimates["waveform"].items():
        error = keras.ops.convert_to_numpy(estimate) - exact[stem]
        # bfloat16 has 8 bits: errors of about 2^-8 of the masks' range.
        assert np.abs(error).max() < 0.05 * np.abs(exact[stem]).max()


@pytest.mark.parametrize(
    ("stems", "message"),
    [
        ([], "one name or more"),
        ("speech", "one name or more"),
        (None, "one name or more; got None"),
        (5, "one name or more; got 5"),
        (["a", "a"], "distinct"),
        (["a/b"], "start with a letter"),
        ([""], "start with a letter"),
    ],
)
def test_bad_stems(stems, message):
    with pytest.raises(ValueError, match=message):
        BanditAudioSeparator(small_bandit().backbone, stems)


# Stems


def test_with_stems_shares_and_computes_only_those(bandit, batch):
    speech = bandit.with_stems(["speech"])
    assert speech.decoders["speech"] is bandit.decoders["speech"]
    assert speech.backbone is bandit.backbone
    whole = outputs(bandit, batch[0])
    assert_same(outputs(speech, batch[0]), {"speech": whole["speech"]})
    names = [layer.name for layer in speech.core_model().layers]
    assert "speech_decoder" in names
    assert "music_decoder" not in names


def test_bsrnn_with_stems_runs_only_their_encoders(bsrnn, batch):
    vocals = bsrnn.with_stems(["vocals"])
    names = [layer.name for layer in vocals.core_model().layers]
    assert "vocals_encoder" in names
    assert "bass_encoder" not in names
    whole = outputs(bsrnn, batch[0])
    assert_same(outputs(vocals, batch[0]), {"vocals": whole["vocals"]})


def test_unknown_stem_names_the_known_ones(bandit):
    with pytest.raises(ValueError, match=r"speech.*music.*effects.*drums"):
        bandit.with_stems(["drums"])


def test_add_decoder_shares_all_others(bandit, batch):
    before = outputs(bandit, batch[0])
    bandit.metadata = {"source": "here"}
    more = bandit.add_decoder("vocals")
    assert bandit.stems == STEMS
    assert more.stems == [*STEMS, "vocals"]
    assert more.metadata == bandit.metadata
    assert more.backbone is bandit.backbone
    after = outputs(more, batch[0])
    after.pop("vocals")
    assert_same(before, after)
    again = bandit.add_decoder("mne", more.decoders["vocals"])
    assert again.decoders["mne"] is more.decoders["vocals"]
    with pytest.raises(ValueError, match="has a decoder already"):
        more.add_decoder("vocals")


def test_bsrnn_with_stems_has_their_weights_alone(bsrnn, batch):
    bsrnn.backbone.trainable = False
    vocals = bsrnn.with_stems(["vocals"])
    assert not bsrnn.backbone.encoders["vocals"].trainable
    assert not vocals.backbone.trainable
    own = [
        *bsrnn.backbone.encoders["vocals"].weights,
        *bsrnn.decoders["vocals"].weights,
    ]
    assert {id(w) for w in vocals.weights} == {id(w) for w in own}


def test_bsrnn_join_undoes_with_stems(bsrnn, batch):
    parts = [bsrnn.with_stems([stem]) for stem in bsrnn.stems]
    whole = BSRNNAudioSeparator.join(parts)
    assert whole.stems == bsrnn.stems
    assert whole.decoders["bass"] is bsrnn.decoders["bass"]
    assert_same(outputs(whole, batch[0]), outputs(bsrnn, batch[0]))


def test_bsrnn_join_keeps_what_its_parts_say(bsrnn):
    parts = [bsrnn.with_stems([stem]) for stem in bsrnn.stems]
    assert BSRNNAudioSeparator.join(parts).metadata == {}
    parts[0].metadata = {"training": {"seed": 1}}
    assert BSRNNAudioSeparator.join(parts).metadata == {
        "stems": {bsrnn.stems[0]: {"training": {"seed": 1}}}
    }


def test_bsrnn_join_saves_presets(batch, tmp_path):
    # Of one band layout by name, and of two models with paths alike.
    parts = []
    for stem in ("vocals", "bass"):
        backbone = BSRNNBackbone(
            [stem], n_fft=2048, embed_dim=4, rnn_dim=5, num_pairs=1
        )
        parts.append(BSRNNAudioSeparator(backbone, [stem], mlp_dim=3))
    whole = BSRNNAudioSeparator.join(parts)
    whole.save_to_preset(tmp_path)
    mixture = batch[0][:, :1]
    estimates = outputs(AudioSeparator.from_preset(tmp_path), mixture)
    assert_same(estimates, outputs(whole, mixture))


def test_bsrnn_join_refuses_models_that_differ(bsrnn):
    vocals = bsrnn.with_stems(["vocals"])
    with pytest.raises(
        ValueError, match=r"of its own; got .*'vocals', 'vocals"
    ):
        BSRNNAudioSeparator.join([vocals, vocals])
    with pytest.raises(ValueError, match=r"one or more; got \[\]"):
        BSRNNAudioSeparator.join([])
    bass = BSRNNAudioSeparator(
        bsrnn.backbone.with_stems(["bass"]), ["bass"], hop_length=32, mlp_dim=3
    )
    with pytest.raises(ValueError, match=r"hop_length.* got .*64.*32"):
        BSRNNAudioSeparator.join([vocals, bass])
    drums = small_bsrnn(["drums"], num_channels=1)
    message = r"the same \['num_channels'\]; got \[2\] and \[1\]"
    with pytest.raises(ValueError, match=message):
        BSRNNAudioSeparator.join([vocals, drums])


def test_bsrnn_refuses_a_stem_without_encoder(bsrnn):
    with pytest.raises(ValueError, match="one encoder per stem"):
        bsrnn.add_decoder("drums")


def test_decoder_files(bandit, batch, tmp_path):
    path = tmp_path / "speech.weights.h5"
    bandit.save_decoder("speech", path)
    other = BanditAudioSeparator(
        bandit.backbone, ["music"], hop_length=64, mlp_dim=3
    )
    other = other.load_decoder("speech", path)  # attached
    assert other.load_decoder("music", path) is other  # filled
    expected = outputs(bandit, batch[0])["speech"]
    assert_same(
        outputs(other, batch[0]), {"speech": expected, "music": expected}
    )
    with pytest.raises(ValueError, match=r"end in \.weights\.h5"):
        bandit.save_decoder("speech", tmp_path / "speech.h5")
    wide = BanditAudioSeparator(
        bandit.backbone, ["music"], hop_length=64, mlp_dim=9
    )
    expected = weights(wide)
    for stem in ("speech", "music"):
        with pytest.raises(ValueError, match="does not fit"):
            wide.load_decoder(stem, path)
    assert wide.stems == ["music"]
    for old, new in zip(expected, weights(wide), strict=True):
        np.testing.assert_array_equal(old, new)


# Training


# Fewer stems are sooner traced, and two are as good as three here.
PAIR = STEMS[:2]


@pytest.fixture
def pair():
    return small_bandit(PAIR)


def test_fit_lowers_the_loss_and_logs_each_stem(pair, batch):
    compile_(pair, metrics=[SNR(), SISNR()])
    logs = pair.fit(*batch, epochs=3, validation_data=batch, verbose=0).history
    assert logs["val_loss"][-1] < logs["val_loss"][0]
    for name in ("snr", "si_snr"):
        stems = [logs[f"val_{name}_{stem}"][-1] for stem in PAIR]
        assert logs[f"val_{name}"][-1] == pytest.approx(np.mean(stems), 1e-4)


def test_evaluate_is_the_loss_of_the_masked_spectrograms(bandit, batch):
    mixture, targets = batch
    compile_(bandit, run_eagerly=EAGERLY)
    estimates = bandit([mixture])
    waveforms = {stem: targets[stem] for stem in STEMS}
    truth = {
        "waveform": waveforms,
        "spectrogram": {s: bandit.stft(x) for s, x in waveforms.items()},
    }
    by_hand = keras.ops.convert_to_numpy(L1SNR()(truth, estimates))
    value = bandit.evaluate(mixture, targets, batch_size=4, verbose=0)
    assert value == pytest.approx(float(by_hand), abs=1e-5)


def test_one_batch_methods(pair, batch):
    with pytest.raises(ValueError, match=r"empty; got shape \(0, 2, 800\)"):
        pair.predict_on_batch(np.zeros((0, 2, 800), "float32"))
    compile_(pair, metrics=[SNR()])
    first = pair.train_on_batch(*batch, return_dict=True)
    second = pair.test_on_batch(*batch, return_dict=True)
    assert float(second["loss"]) < float(first["loss"])
    assert set(second) >= {"loss", "snr", "snr_speech"}
    estimates = pair.predict_on_batch(batch[0])
    assert set(estimates) == set(PAIR)


def test_an_ordinary_keras_loss_sees_waveforms(bandit, batch):
    metrics = {"speech": ["mae"]}
    compile_(bandit, loss="mse", metrics=metrics, run_eagerly=EAGERLY)
    value = bandit.evaluate(*batch, batch_size=4, verbose=0, return_dict=True)
    expected = sum(
        np.mean((estimate - batch[1][stem]) ** 2)
        for stem, estimate in outputs(bandit, batch[0]).items()
    )
    assert value["loss"] == pytest.approx(expected, rel=1e-4)
    assert "speech_mae" in value


def test_custom_separation_loss(bandit, batch):
    class WaveformPeak(SeparationLoss):
        def distance(self, target, estimate):
            return keras.ops.max(keras.ops.abs(estimate - target), axis=(1, 2))

        def spectrogram_distance(self, target, estimate):
            return keras.ops.zeros_like(target[:, 0, 0, 0, 0])

    compile_(bandit, loss=WaveformPeak(), run_eagerly=EAGERLY)
    value = bandit.evaluate(*batch, batch_size=4, verbose=0)
    expected = sum(
        np.abs(estimate - batch[1][stem]).max((1, 2)).mean()
        for stem, estimate in outputs(bandit, batch[0]).items()
    )
    assert value == pytest.approx(expected, rel=1e-5)


def test_targets_are_checked(bandit, batch):
    mixture, targets = batch
    # Traced calls fail alike: the next test.
    compile_(bandit, run_eagerly=EAGERLY)
    with pytest.raises(ValueError, match="must be a dict"):
        bandit.fit(mixture, targets["speech"], verbose=0)
    others = {stem: targets[stem] for stem in STEMS if stem != "music"}
    with pytest.raises(ValueError, match="music"):
        bandit.fit(mixture, others, verbose=0)


def small_convolution():
    return ConvSeparator(STEMS)


# What keeps them knows no model: a convolution is soon traced and compiled.
@pytest.mark.parametrize(
    ("make", "method"),
    [
        (small_bandit, "fit"),
        (small_convolution, "fit"),
        (small_convolution, "evaluate"),
        (small_convolution, "predict"),
    ],
)
def test_failed_call_keeps_weights(make, batch, method):
    # JAX alone takes the values out of the variables meanwhile.
    mixture = batch[0][:, :1]
    targets = {stem: batch[1][stem][:, :1] for stem in STEMS}
    separator = make()
    compile_(separator)
    before = separator.get_weights()
    bad = {
        "fit": (mixture, {"speech": targets["speech"]}),
        "evaluate": (mixture, {"speech": targets["speech"]}),
        "predict": (mixture[0],),
    }[method]
    with pytest.raises(ValueError):  # noqa: PT011 -- Keras's own for predict
        getattr(separator, method)(*bad, verbose=0)
    for was, now in zip(before, separator.get_weights(), strict=True):
        np.testing.assert_array_equal(now, was)
    separator.fit(mixture, targets, batch_size=2, verbose=0)


def pairs(batch):
    mixture, targets = batch
    for i in range(len(mixture)):
        yield mixture[i], {stem: targets[stem][i] for stem in STEMS}


class Dataset(keras.utils.PyDataset):
    def __init__(self, batch):
        super().__init__()
        self.batch = batch

    def __len__(self):
        return 2

    def __getitem__(self, i):
        chosen = slice(2 * i, 2 * i + 2)
        mixture, targets = self.batch
        return mixture[chosen], {s: targets[s][chosen] for s in STEMS}


def as_tf_data(batch):
    tf = pytest.importorskip("tensorflow")
    targets = {stem: batch[1][stem] for stem in STEMS}
    return tf.data.Dataset.from_tensor_slices((batch[0], targets)).batch(2)


def as_grain(batch):
    grain = pytest.importorskip("grain")
    return grain.MapDataset.source(list(pairs(batch))).batch(2)


def as_grain_iterator(batch):
    return as_grain(batch).to_iter_dataset()


def as_data_loader(batch):
    torch = pytest.importorskip("torch")
    return torch.utils.data.DataLoader(list(pairs(batch)), batch_size=2)


SOURCES = [
    as_tf_data,
    as_grain,
    pytest.param(
        as_grain_iterator,
        # It has no length, so Keras finds its end by running into it.
        marks=pytest.mark.filterwarnings("ignore:Your input ran out of data"),
    ),
    Dataset,
    as_data_loader,
]


@pytest.fixture(scope="module")
def losses_of(batch):
    """Losses of one epoch and of its evaluation, a function of the source.

    Always from the same weights, by one separator: each would compile anew.
    """
    pair = small_bandit(PAIR)
    compile_(pair)
    pair.optimizer.build(pair.trainable_variables)
    variables = [*pair.variables, *pair.optimizer.variables]
    initial = [keras.ops.convert_to_numpy(v) for v in variables]

    def losses(source=None):
        for variable, value in zip(variables, initial, strict=True):
            variable.assign(value)

        def data():
            return (source(batch),) if source else batch

        options = {} if source else {"batch_size": 2}
        # One epoch: Keras has no length of a grain iterator, and on TensorFlow
        # gives what is left of it, nothing, to the next.
        unshuffled = {"shuffle": False} if source in (None, Dataset) else {}
        fitted = pair.fit(
            *data(), epochs=1, verbose=0, **unshuffled, **options
        ).history
        value = pair.evaluate(*data(), verbose=0, **options)
        return [*map(float, fitted["loss"]), float(value)]

    return losses


@pytest.fixture(scope="module")
def losses_of_arrays(losses_of):
    return losses_of()


@pytest.mark.parametrize("source", SOURCES, ids=lambda f: f.__name__)
def test_every_kind_of_data(source, losses_of, losses_of_arrays):
    losses = losses_of(source)
    np.testing.assert_allclose(losses, losses_of_arrays, rtol=1e-4)


def test_predict_takes_datasets(bandit, batch):
    expected = bandit.predict(batch[0], verbose=0)
    found = bandit.predict(Dataset(batch), verbose=0)
    for stem in STEMS:
        np.testing.assert_allclose(found[stem], expected[stem], atol=1e-6)


def test_few_predictions_are_not_traced(bandit, batch):
    mixture, _ = batch
    compiled = small_bandit()
    compiled.set_weights(bandit.get_weights())
    assert compiled.predictor(4) == compiled.predict_on_batch
    expected = compiled.predict_on_batch(mixture)
    # One and two calls, and then a fourth, which pays for a function.
    for predict in (bandit.predictor(1), bandit.predictor(2)):
        found = predict(mixture)
        for stem in STEMS:
            assert isinstance(found[stem], np.ndarray)
            np.testing.assert_allclose(found[stem], expected[stem], atol=1e-6)
    traced = bandit.predict_function is not None
    assert traced == (keras.config.backend() != "tensorflow")
    assert bandit.predictor(1) == bandit.predict_on_batch


# Freezing


@pytest.mark.parametrize("make", [small_bandit, small_bsrnn])
def test_frozen_encoder_does_not_move(make, batch):
    separator = make()
    separator.backbone.trainable = False
    compile_(separator, run_eagerly=EAGERLY)
    before = weights(separator.backbone)
    decoders = weights(separator)[len(before) :]
    separator.fit(*batch, epochs=2, verbose=0)
    for old, new in zip(before, weights(separator.backbone), strict=True):
        np.testing.assert_array_equal(old, new)
    after = weights(separator)[len(before) :]
    assert any((a != b).any() for a, b in zip(decoders, after, strict=True))


class CountBackward(keras.layers.Layer):
    """Identity that notes when a gradient comes back through it."""

    reached = 0

    def call(self, x):
        @keras.ops.custom_gradient
        def identity(x):
            def grad(*args, upstream=None):
                CountBackward.reached += 1
                return upstream if upstream is not None else args[0]

            return x, grad

        return identity(x)


@pytest.mark.parametrize("trainable", [True, False])
def test_gradient_of_a_frozen_encoder_is_not_computed(trainable, batch):
    bandit = small_bandit()
    # In place of the dense layer after the recurrence, inside the encoder.
    block = bandit.backbone.get_layer("pair_0").over_bands
    project = block.projection.call
    block.projection.call = lambda x, **_: CountBackward()(project(x))
    bandit.backbone.trainable = trainable
    compile_(bandit, run_eagerly=EAGERLY)
    CountBackward.reached = 0
    bandit.train_on_batch(*batch)
    assert bool(CountBackward.reached) == trainable


def test_frozen_survives_saving(bandit):
    bandit.backbone.trainable = False
    again = BanditAudioSeparator.from_config(bandit.get_config())
    assert not again.backbone.trainable_variables
    assert len(again.trainable_variables) == 3 * 6


# Saving


@pytest.mark.parametrize("make", [small_bandit, small_bsrnn])
def test_preset_round_trip(make, batch, tmp_path):
    separator = make()
    separator.metadata = {"license": "Apache-2.0"}
    separator.save_to_preset(tmp_path / "preset")
    files = {path.name for path in (tmp_path / "preset").iterdir()}
    decoders = {f"decoder_{stem}.weights.h5" for stem in separator.stems}
    assert files == decoders | {
        "config.json",
        "metadata.json",
        "model.weights.h5",
        "task.json",
    }
    again = AudioSeparator.from_preset(str(tmp_path / "preset"))
    assert type(again) is type(separator)
    assert again.metadata == separator.metadata
    assert_same(outputs(again, batch[0]), outputs(separator, batch[0]))


def test_preset_with_fewer_stems_reads_only_those(bandit, batch, tmp_path):
    bandit.save_to_preset(tmp_path)
    (tmp_path / "decoder_music.weights.h5").unlink()
    speech = AudioSeparator.from_preset(tmp_path, stems=["speech"])
    expected = outputs(bandit, batch[0])["speech"]
    assert_same(outputs(speech, batch[0]), {"speech": expected})
    with pytest.raises(ValueError, match=r"no file decoder_music"):
        AudioSeparator.from_preset(tmp_path)


def test_failed_save_leaves_the_former_preset(bandit, batch, tmp_path):
    bandit.save_to_preset(tmp_path / "preset")
    expected = outputs(bandit, batch[0])
    other = small_bandit(["vocals"])
    other.metadata = {"not": {"for", "JSON"}}
    with pytest.raises(TypeError):
        other.save_to_preset(tmp_path / "preset")
    again = AudioSeparator.from_preset(tmp_path / "preset")
    assert_same(outputs(again, batch[0]), expected)
    assert [p.name for p in tmp_path.iterdir()] == ["preset"]


def test_keras_file_of_a_model_that_was_never_fitted(bandit, tmp_path):
    compile_(bandit)
    # Warnings are errors.
    bandit.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.optimizer.built
    assert int(again.optimizer.iterations) == 0


def test_keras_file_round_trip_with_compilation(bandit, batch, tmp_path):
    compile_(bandit, metrics=[SNR()], run_eagerly=EAGERLY)
    bandit.fit(*batch, verbose=0)
    bandit.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert_same(outputs(again, batch[0]), outputs(bandit, batch[0]))
    a = again.evaluate(*batch, verbose=0, return_dict=True)
    b = bandit.evaluate(*batch, verbose=0, return_dict=True)
    assert set(a) == set(b) >= {"snr_speech", "loss"}
    assert a["loss"] == pytest.approx(b["loss"], rel=1e-6)


def test_separate_is_the_inference_function(bandit, batch):
    audio = batch[0][0]
    estimates = bandit.separate(audio, 44100, chunk_seconds=0.01)
    assert list(estimates) == STEMS
    for estimate in estimates.values():
        assert estimate.shape == audio.shape
