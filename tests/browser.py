"""Debian's Chromium, for tests of pages: a fixture to import."""

import os
import pathlib
import shutil

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

NAMES = "chromium", "chromium-browser", "google-chrome"


@pytest.fixture(scope="module")
def chromium():
    """A Playwright browser; its tests fail where none is installed."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    assert path, "install Chromium, such as: sudo apt-get install chromium"
    with sync_playwright() as playwright:
        options = {"executable_path": path, "args": ["--no-sandbox"]}
        browser = playwright.chromium.launch(**options)
        yield browser
        browser.close()


def shoot(page, name, **options):
    """Writes a screenshot to KERAS_BANDIT_SCREENSHOTS, if that is a folder."""
    folder = os.environ.get("KERAS_BANDIT_SCREENSHOTS")
    if folder:
        page.screenshot(path=pathlib.Path(folder, f"{name}.png"), **options)


def serious_faults(page, leave_out=()):
    """What axe-core finds: `[(rule, HTML of an element)]`.

    `leave_out` are selectors of what it does not look at.
    """
    context = {"exclude": [[selector] for selector in leave_out]}
    found = Axe().run(page, context).response["violations"]
    return [
        (fault["id"], node["html"])
        for fault in found
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]
