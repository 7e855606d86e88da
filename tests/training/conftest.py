"""A run so small that a whole training takes a second or two."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import tiny


@pytest.fixture
def separator():
    return tiny.build()
