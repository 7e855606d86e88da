"""The documentation says what the code does."""

import dataclasses
import importlib
import pathlib
import re
import types

import pytest
import soundfile

from keras_bandit import AudioSeparator
from keras_bandit.data import film_clip
from keras_bandit.models.preset_table import preset_table
from keras_bandit.models.presets import PRESETS

ROOT = pathlib.Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAVIGATION = (ROOT / ".mkdocs.yml").read_text()


def test_preset_table_is_that_of_the_command():
    page = (ROOT / "docs" / "presets.md").read_text()
    assert f"\n{preset_table()}\n" in page


def resolve(name):
    """What a dotted name stands for: a module, or an attribute of one.

    Not what a module imports on first use: mkdocstrings reads files.
    """
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            lazy = isinstance(found, types.ModuleType)
            found = vars(found)[part] if lazy else getattr(found, part)
        return found
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_included_docstrings_exist(page):
    names = re.findall(r"^::: (\S+)$", page.read_text(), re.M)
    undocumented = [name for name in names if not resolve(name).__doc__]
    assert not undocumented


def test_every_page_is_in_the_navigation():
    listed = re.findall(r": (\w+\.md)$", NAVIGATION, re.M)
    assert sorted(listed) == [page.name for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
    missing = [link for link in links if not (page.parent / link).is_file()]
    assert not missing


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """A directory with what the pages speak of: a preset and a film.

    The large preset is made small, so that its blocks run at once.
    """
    entry = PRESETS["bandit_musical64"]
    small = {"num_bands": 8, "embed_dim": 4, "rnn_dim": 4, "num_pairs": 1}
    entry = dataclasses.replace(
        entry,
        backbone={**entry.backbone, **small},
        separator={**entry.separator, "mlp_dim": 4},
    )
    monkeypatch.setitem(PRESETS, "bandit_musical64", entry)
    monkeypatch.chdir(tmp_path)
    AudioSeparator.from_preset("bandit_musical64").save_to_preset("DIR")
    film = sum(film_clip(seconds=1.0).values())
    soundfile.write("film.wav", film.T, 44100)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run(page, reader):
    namespace = {}
    for block in PYTHON.findall(page.read_text()):
        exec(compile(block, page.name, "exec"), namespace)
