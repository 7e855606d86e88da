"""The contract of the house: any model fits, and nothing of it is lost."""

import json

import keras
import numpy as np
import pytest
import soundfile

from keras_bandit.cli import main
from keras_bandit.losses import L1SNR
from keras_bandit.metrics import SISNR
from keras_bandit.models import AudioSeparator, BanditAudioSeparator

from ..conv_separator import ConvSeparator
from .conftest import STEMS, small_bandit

as_numpy = keras.ops.convert_to_numpy


def small_batch():
    rng = np.random.default_rng(0)
    targets = {
        stem: rng.normal(0, 0.1, (2, 1, 400)).astype("float32")
        for stem in ("speech", "rest")
    }
    return sum(targets.values()), targets


@pytest.fixture
def preset(tmp_path):
    separator = ConvSeparator(["speech", "rest"])
    separator.metadata = {"license": "CC0-1.0"}
    separator.save_to_preset(tmp_path / "preset")
    return separator, tmp_path / "preset"


def test_another_kind_of_model_trains_and_comes_back(preset):
    separator, path = preset
    mixture, targets = small_batch()
    separator.compile(keras.optimizers.Adam(1e-2), L1SNR(), [SISNR()])
    logs = separator.fit(mixture, targets, epochs=5, verbose=0).history
    assert logs["loss"][-1] < logs["loss"][0]
    scores = separator.evaluate(mixture, targets, verbose=0, return_dict=True)
    assert {"si_snr", "si_snr_speech", "si_snr_rest"} <= set(scores)
    separator.save_to_preset(path)
    copy = AudioSeparator.from_preset(path)
    assert isinstance(copy, ConvSeparator)
    assert copy.get_config() == separator.get_config()
    assert copy.metadata == separator.metadata
    for stem, estimate in separator(mixture).items():
        np.testing.assert_array_equal(
            as_numpy(copy(mixture)[stem]), as_numpy(estimate)
        )


def test_another_kind_of_model_separates(preset):
    separator, _ = preset
    # Chunks of silence are computed, since they do not come out silent.
    audio = np.zeros(12000, "float32")
    audio[:400] = small_batch()[0][0, 0]
    estimates = separator.separate(audio, 8000)
    assert estimates["speech"][6000:] == pytest.approx(1, abs=1e-6)
    only = separator.with_stems(["rest"])
    np.testing.assert_array_equal(
        only.separate(audio, 8000)["rest"], estimates["rest"]
    )


def test_a_selection_of_stems_is_saved_and_trained(preset, tmp_path):
    separator, _ = preset
    mixture, targets = small_batch()
    rest = separator.with_stems(["rest"])
    rest.compile("adam", L1SNR())
    rest.fit(mixture, targets, verbose=0)
    rest.save_to_preset(tmp_path / "rest")
    copy = AudioSeparator.from_preset(tmp_path / "rest")
    expected = as_numpy(separator(mixture)["rest"])  # shared, so trained too
    np.testing.assert_array_equal(as_numpy(copy(mixture)["rest"]), expected)
    with pytest.raises(ValueError, match=r"speech.*rest.*drums"):
        separator.with_stems(["drums"])


def test_another_kind_of_model_on_the_command_line(preset, tmp_path, capsys):
    _, path = preset
    audio = np.random.default_rng(1).normal(0, 0.1, (3000, 2))
    soundfile.write(tmp_path / "film.wav", audio, 8000)
    arguments = ["--preset", str(path), "--output", str(tmp_path / "out")]
    status = main(["separate", str(tmp_path / "film.wav"), *arguments])
    assert status == 0, capsys.readouterr().err
    for stem in ("speech", "rest"):
        assert soundfile.info(tmp_path / f"out/film/{stem}.wav").frames == 3000


@keras.saving.register_keras_serializable(package="tests")
class WithGain(BanditAudioSeparator):
    """A BandIt with a trainable layer outside encoder and decoders."""

    def __init__(self, backbone, stems, start=1.0, **kwargs):
        super().__init__(backbone, stems, **kwargs)
        self.start = start
        self.gain = self.add_weight((), "zeros", name="gain")

    def call(self, inputs, training=None, mask=None):
        estimates = super().call(inputs, training=training, mask=mask)
        factor = self.start + self.gain
        return keras.tree.map_structure(lambda x: x * factor, estimates)

    def get_config(self):
        return {**super().get_config(), "start": self.start}


def test_weights_outside_encoder_and_decoders_are_kept(batch, tmp_path):
    whole = small_bandit()
    separator = WithGain(
        whole.backbone, STEMS, start=0.5, hop_length=64, mlp_dim=3
    )
    separator.gain.assign(0.25)
    separator.save_to_preset(tmp_path / "preset")
    copy = AudioSeparator.from_preset(tmp_path / "preset")
    for other in (
        copy,
        separator.with_stems(["music"]),
        separator.add_decoder("mne"),
    ):
        assert isinstance(other, WithGain)
        assert other.start == 0.5
        np.testing.assert_array_equal(
            as_numpy(other(batch[0])["music"]),
            as_numpy(separator(batch[0])["music"]),
        )


CODE = [
    {"class_name": "__lambda__", "config": {"value": "gASV"}},
    {"class_name": "function", "config": "system", "module": "os"},
    {"class_name": "Popen", "config": {"args": "x"}, "module": "subprocess"},
    {"class_name": "eval", "config": ["1"], "module": "builtins"},
]


def keys_of(value, path=()):
    """Paths of all keys of nested dicts."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key)
            yield from keys_of(inner, (*path, key))


@pytest.mark.parametrize("code", CODE, ids=lambda code: code["class_name"])
def test_code_in_the_place_of_a_value_is_refused(code, bandit, tmp_path):
    bandit.save_to_preset(tmp_path)
    path = tmp_path / "task.json"
    task = json.loads(path.read_text())
    checked = ("registered_name", "config")  # Keras's other keys are hints
    places = [place for place in keys_of(task) if set(checked) & set(place)]
    assert len(places) > 20
    for place in places:
        damaged = json.loads(json.dumps(task))
        inner = damaged
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = code
        path.write_text(json.dumps(damaged))
        if place[-1] in ("name", "trainable", "module", "class_name"):
            continue
        with pytest.raises(ValueError, match=r"."):
            AudioSeparator.from_preset(tmp_path)
