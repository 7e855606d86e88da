"""The preset that ships: its size, its origin, and that it separates."""

import json

import keras
import numpy as np

from keras_bandit.data import film_clip
from keras_bandit.metrics import si_snr
from keras_bandit.models import AudioSeparator
from keras_bandit.models.presets import PRESETS, weights_directory

FOLDER = weights_directory("bandit_demo")


def test_size_and_origin():
    sizes = [path.stat().st_size for path in FOLDER.glob("*.h5")]
    assert 0 < sum(sizes) <= 4e6
    metadata = json.loads((FOLDER / "metadata.json").read_text())
    origin = metadata["keras_bandit"]
    assert origin["license"] == "Apache-2.0"
    assert "not film-grade" in origin["purpose"]
    assert {"config", "training_data", "training_time", "scores"} <= set(origin)


def test_architecture_is_the_one_in_the_table():
    separator = AudioSeparator.from_preset("bandit_demo")
    expected = PRESETS["bandit_demo"].sizes().parameters
    assert separator.count_params() == expected
    config = separator.backbone.get_config()
    for name, value in PRESETS["bandit_demo"].backbone.items():
        assert config[name] == value
    # Initial weights where they are asked for.
    other = AudioSeparator.from_preset("bandit_demo", load_weights=False)
    assert other.count_params() == expected
    assert not np.array_equal(
        other.decoders["speech"].get_weights()[2],
        separator.decoders["speech"].get_weights()[2],
    )


def test_separates_scenes_it_was_not_trained_on():
    # Scenes are as hard as they come; on three, each stem has its chance.
    scenes = [film_clip(12.0, seed=[0, 1, scene]) for scene in range(3)]
    targets = {
        stem: np.concatenate([scene[stem] for scene in scenes], axis=-1)
        for stem in scenes[0]
    }
    mixture = sum(targets.values())
    separator = AudioSeparator.from_preset("bandit_demo")
    # Chunks that overlap would take twice as long.
    hop_seconds = separator.chunk_seconds
    estimates = separator.separate(mixture, 44100, hop_seconds=hop_seconds)
    for stem, target in targets.items():
        before, after = (
            float(keras.ops.mean(si_snr(*map(keras.ops.convert_to_tensor, x))))
            for x in ((target, mixture), (target, estimates[stem]))
        )
        assert after > before + 2, stem
