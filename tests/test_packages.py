"""The list of packages in pyproject.toml is complete."""

import pathlib
import tomllib

import pytest

pytestmark = pytest.mark.once

ROOT = pathlib.Path(__file__).parents[1]


def test_every_package_is_installed():
    text = (ROOT / "pyproject.toml").read_text()
    setuptools = tomllib.loads(text)["tool"]["setuptools"]
    own = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "keras_bandit").rglob("__init__.py")
    }
    builders = {
        f"keras_bandit.datasets.{path.parent.name}": str(
            path.parent.relative_to(ROOT)
        )
        for path in (ROOT / "datasets").rglob("__init__.py")
    }
    assert builders
    assert set(setuptools["packages"]) == own | set(builders)
    assert setuptools["package-dir"] == builders
