"""What the network says of our pages; `.ci/scheduled` runs these tests."""

import os
import re
import shlex
import subprocess
import sys

import pytest
import requests

from keras_bandit.models.presets import PRESETS
from keras_bandit.models.released_weights import ReleasedWeights

from .pages import PAGES, ROOT, commands

pytestmark = [
    pytest.mark.once,
    pytest.mark.network,
    pytest.mark.skipif(
        not os.environ.get("KERAS_BANDIT_NETWORK"),
        reason="KERAS_BANDIT_NETWORK is not set",
    ),
]
WEIGHTS = {
    f"{preset.weights.record.url.rstrip('/')}/{file.name}": file.size
    for preset in PRESETS.values()
    if isinstance(preset.weights, ReleasedWeights)
    for file in preset.weights.files
}
LINKS = sorted(
    {
        link.rstrip(".")
        for page in PAGES
        for link in re.findall(r"https?://[^\s)>`\"']+", page.read_text())
    }
)
# Names that a page makes up.
MADE_UP = re.compile(r"https?://(my\.|example\.|localhost|127\.)")
PIP = {
    page: own
    for page in PAGES
    if (own := [c for c in commands(page) if c[0] == "pip"])
}


@pytest.mark.parametrize("url", WEIGHTS)
def test_weights_are_where_presets_say(url):
    with requests.get(url, stream=True, timeout=60) as answer:
        answer.raise_for_status()
        size = answer.headers.get("Content-Length")
    assert WEIGHTS[url] is None or int(size) == WEIGHTS[url]


@pytest.mark.parametrize("url", LINKS)
def test_pages_lead_to_what_is_there(url):
    if MADE_UP.match(url):
        return
    answer = requests.get(url, stream=True, timeout=60)
    answer.close()
    # Some refuse programs (403, 429); what is gone says so.
    assert answer.status_code not in (404, 410)


@pytest.mark.parametrize("page", PIP, ids=lambda page: page.name)
def test_pip_finds_what_pages_ask_for(page, tmp_path):
    """From this checkout, whether or not a release is there."""
    for _, command, *words in PIP[page]:
        words = [
            re.sub(r"^(keras-bandit|\.)(?=\[|$)", str(ROOT), word)
            for word in words
        ]
        # A shell's pattern stays one.
        line = " ".join(w if "*" in w else shlex.quote(w) for w in words)
        dry = "--dry-run" * (command == "install")
        done = subprocess.run(
            f"{shlex.quote(sys.executable)} -m pip {command} {dry} {line}",
            shell=True,
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
