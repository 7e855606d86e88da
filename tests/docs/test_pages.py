"""The documentation says what the code does."""

import dataclasses
import importlib
import re
import types

import pytest
import soundfile

from keras_bandit import AudioSeparator
from keras_bandit.data import film_clip
from keras_bandit.models.preset_table import preset_table
from keras_bandit.models.presets import PRESETS

from .pages import DOCS, PAGES, ROOT, python_blocks

NAVIGATION = (ROOT / ".mkdocs.yml").read_text()
EACH = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def test_preset_table_is_that_of_the_command():
    page = (DOCS / "presets.md").read_text()
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


@EACH
def test_included_docstrings_exist(page):
    names = re.findall(r"^::: (\S+)$", page.read_text(), re.M)
    undocumented = [name for name in names if not resolve(name).__doc__]
    assert not undocumented


def test_every_page_is_in_the_navigation():
    listed = re.findall(r": ([\w/]+\.md)$", NAVIGATION, re.M)
    pages = [str(p.relative_to(DOCS)) for p in PAGES if DOCS in p.parents]
    assert sorted(listed) == sorted(pages)


def headings(page):
    """Anchors of a page's headings, as GitHub and the site make them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    plain = [re.sub(r"[^\w -]", "", title).strip().lower() for title in titles]
    return [re.sub(r"[ -]+", "-", title) for title in plain]


@EACH
def test_links_lead_to_files(page):
    """And to headings, where they name one; the site's own test sees more."""
    links = re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", page.read_text())
    missing = []
    for name, anchor in links:
        if "://" in name or name.startswith("mailto:"):
            continue
        file = page.parent / name if name else page
        known = file.is_file()
        if known and anchor and file.suffix == ".md" and "." not in anchor:
            known = anchor in headings(file)
        if not known:
            missing.append(f"{name}#{anchor}")
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
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if DOCS in page.parents and python_blocks(page)],
    ids=lambda page: page.name,
)
def test_python_blocks_run(page, reader):
    namespace = {}
    for block in python_blocks(page):
        exec(compile(block, page.name, "exec"), namespace)
