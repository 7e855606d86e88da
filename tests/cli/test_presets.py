"""`keras-bandit presets`."""

import pytest

from keras_bandit import cli
from keras_bandit.models.preset_table import preset_table

pytestmark = pytest.mark.once


def test_presets_prints_the_table(capsys):
    assert cli.main(["presets"]) == 0
    assert capsys.readouterr() == (f"{preset_table()}\n", "")
