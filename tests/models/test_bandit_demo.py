"""The preset that ships: its size, its origin, and that it separates."""

import json
from pathlib import Path

import numpy as np
import soundfile

from keras_bandit.evaluation.scores import si_snr
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


def test_separates_the_clip_of_the_demo():
    folder = Path(__file__).parents[2] / "recipes" / "demo_clip"
    stems = ("speech", "music", "effects")
    targets = {
        stem: soundfile.read(folder / f"{stem}.ogg", dtype="float32")[0][None]
        for stem in stems
    }
    mixture = sum(targets.values())
    separator = AudioSeparator.from_preset("bandit_demo")
    # Chunks that overlap would take twice as long.
    hop_seconds = separator.chunk_seconds
    estimates = separator.separate(mixture, 44100, hop_seconds=hop_seconds)
    for stem, target in targets.items():
        gain = si_snr(target, estimates[stem]) - si_snr(target, mixture)
        assert gain > 2, stem


def test_a_quiet_recording_is_separated_alike():
    rng = np.random.default_rng(0)
    loud = 0.1 * rng.standard_normal((1, 44100)).astype("float32")
    separator = AudioSeparator.from_preset("bandit_demo")
    expected, found = (separator.separate(x, 44100) for x in (loud, loud / 8))
    for stem, estimate in expected.items():
        scale = np.abs(estimate).max()
        np.testing.assert_allclose(8 * found[stem], estimate, atol=1e-4 * scale)
