"""What is written says which version of the package wrote it."""

import json

import keras_bandit

from .models.conftest import small_bandit


def test_presets_name_the_version(tmp_path):
    separator = small_bandit()
    separator.metadata = {"license": "CC0-1.0"}
    separator.save_to_preset(tmp_path / "preset")
    metadata = json.loads((tmp_path / "preset" / "metadata.json").read_text())
    assert metadata["keras_bandit_version"] == keras_bandit.__version__
    again = keras_bandit.AudioSeparator.from_preset(tmp_path / "preset")
    assert again.metadata == {"license": "CC0-1.0"}
