"""The site, built strictly: its links, and how its pages look on a phone.

Screenshots of all pages go to KERAS_BANDIT_SCREENSHOTS, if that is a folder.
"""

import functools
import html.parser
import http.server
import os
import pathlib
import re
import subprocess
import sys
import threading
import urllib.parse

import pytest

from .. import browser
from ..browser import serious_faults, shoot
from .pages import ROOT

pytestmark = [pytest.mark.once, pytest.mark.slow]

chromium = browser.chromium
PHONE = {"width": 390, "height": 844}
LOADED = {
    "audio": "src",
    "iframe": "src",
    "img": "src",
    "link": "href",
    "script": "src",
    "source": "src",
    "track": "src",
    "video": "src",
}
# What axe-core finds in the theme and not in what we write: rule, how the
# element begins, and why it stays.
OF_THE_THEME = [
    ("aria-dialog-name", '<div class="md-search"', "search has no name"),
    ("color-contrast", '<div class="md-copyright"', "4.47 in place of 4.5"),
    (
        "scrollable-region-focusable",
        '<div class="md-typeset__scrollwrap"',
        "wide tables, which no keyboard scrolls",
    ),
]


def of_the_theme(fault):
    rule, element = fault
    return any(
        rule == known and re.match(begin, element)
        for known, begin, _ in OF_THE_THEME
    )


class Page(html.parser.HTMLParser):
    """Anchors of a page, where it leads, and what it loads."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.links, self.loads = {""}, [], []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.anchors |= {given.get("id"), given.get("name")}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        elif given.get(LOADED.get(tag)):
            self.loads.append(given[LOADED[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Folder of the built site."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    command += ["-f", str(ROOT / ".mkdocs.yml"), "--site-dir", str(folder)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site):
    """`{path from the site's folder: Page}`."""
    return {
        path.relative_to(site).as_posix(): Page(path)
        for path in sorted(site.rglob("*.html"))
    }


def test_every_link_leads_somewhere(site, pages):
    """Files and anchors inside the site; nothing is loaded from elsewhere."""
    foreign, broken = [], []
    for name, page in pages.items():
        for link in page.loads + page.links:
            target = urllib.parse.urlsplit(link)
            if target.scheme in ("data", "mailto"):
                continue
            if target.scheme or target.netloc:
                if link in page.loads:
                    foreign.append((name, link))
                continue
            path = urllib.parse.unquote(
                urllib.parse.urljoin(f"/{name}", target.path)
            ).lstrip("/")
            if (site / path).is_dir():
                path = (pathlib.PurePosixPath(path) / "index.html").as_posix()
            there = (site / path).is_file()
            anchor = urllib.parse.unquote(target.fragment)
            if there and path in pages:
                there = anchor in pages[path].anchors
            if not there:
                broken.append((name, link))
    assert len(pages) > 10
    assert not broken
    assert not foreign


def test_styles_load_nothing_from_elsewhere(site):
    foreign = [
        (style.name, url)
        for style in site.rglob("*.css")
        for url in re.findall(
            r"""(?:url\(|@import)\s*["']?((?:https?:)?//[^"')\s]+)""",
            style.read_text(),
        )
    ]
    assert not foreign


@pytest.fixture(scope="module")
def address(site):
    """The site on a port of this machine."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Handler, directory=site)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()


def test_every_page_is_readable_on_a_phone(chromium, address, pages):
    """Nothing sideways, nothing from elsewhere, no serious fault of ours."""
    context = chromium.new_context(viewport=PHONE, base_url=address)
    page = context.new_page()
    foreign, mistakes, wide, faults = [], [], {}, {}
    page.on(
        "request",
        lambda asked: (
            asked.url.startswith((address, "data:", "blob:"))
            or foreign.append(asked.url)
        ),
    )
    page.on("pageerror", lambda error: mistakes.append(str(error)))
    for name in pages:
        page.goto(name)
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > PHONE["width"]:
            wide[name] = width
        # Colours of code are the theme's: thousands of elements, some at 4.47.
        found = serious_faults(page, leave_out=[".highlight"])
        faults[name] = [fault for fault in found if not of_the_theme(fault)]
        shoot(page, f"site_{name.removesuffix('.html').replace('/', '_')}")
    context.close()
    assert not foreign
    assert not mistakes
    assert not wide
    assert not {name: found for name, found in faults.items() if found}
