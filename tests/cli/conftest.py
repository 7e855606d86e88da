"""A model behind any preset."""

import pytest

from .command_line import Gains


@pytest.fixture
def model(monkeypatch, tmp_path):
    """A model behind any preset, and an empty working directory."""
    model = Gains()
    name = "keras_bandit.cli.model.load_separator"
    monkeypatch.setattr(name, lambda preset: model)
    monkeypatch.chdir(tmp_path)
    return model
