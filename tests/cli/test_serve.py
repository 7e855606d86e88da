"""What `keras-bandit serve` refuses before it listens."""

import json
import os
import pathlib
import re
import socket
import subprocess
import sys

import pytest
import requests

from keras_bandit import cli

from .command_line import error_line

pytestmark = pytest.mark.once

OWN = ["serve", "--preset", "bandit_demo", "--jobs", "jobs", "--port", "0"]


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "a.example"])
def test_the_network_is_not_let_in_by_accident(host, capsys):
    assert cli.main([*OWN, "--host", host]) == 2
    assert "--token new" in error_line(capsys)
    assert not os.listdir()


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["--preset", "bandit_musical64"], "no trained weights"),
        (["--preset", "nothing"], "no such directory"),
        (["--preset", "bandit_demo"], "two presets are called bandit_demo"),
        (["--root", "nowhere"], "nowhere"),
        (["--port", "65536"], "--port"),
        (["--max-hours", "0"], "--max-hours"),
        (["--keep-days", "nan"], "--keep-days"),
        (["--auth", "user"], "USER:PASSWORD"),
        (["--engine", "keras", "--precision", "bfloat16"], "bfloat16"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_bad_argument_is_one_line(args, line, capsys):
    assert cli.main([*OWN, *args]) == 2
    assert line in error_line(capsys)


def test_a_port_that_is_taken_is_one_line(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert cli.main([*OWN[:-1], port]) == 2
    assert f"port {port}: " in error_line(capsys)


def test_a_file_is_no_folder_of_jobs(capsys):
    pathlib.Path("jobs").write_text("mine")
    assert cli.main(OWN) == 2
    assert "not a directory" in error_line(capsys)
    assert pathlib.Path("jobs").read_text() == "mine"


def test_the_command_of_the_docs_serves_a_space(tmp_path):
    root = pathlib.Path(__file__).parents[2]
    page = (root / "docs" / "serve.md").read_text()
    command = json.loads(re.search(r"^CMD (\[.*\])$", page, re.MULTILINE)[1])
    assert command[0] == "keras-bandit"
    command = [sys.executable, "-m", "keras_bandit", *command[1:]]
    server = subprocess.Popen(
        [*command, "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "KERAS_BANDIT_CACHE": str(tmp_path)},
        cwd=root,
    )
    try:
        port = re.search(r":(\d+)/", server.stdout.readline())[1]
        # As the Space's own server asks: under its name, from its page.
        name = "user-stems.hf.space"
        headers = {"Host": name, "Origin": f"https://{name}"}
        address = f"http://127.0.0.1:{port}"
        shown = requests.get(address, headers=headers, timeout=60)
        assert shown.status_code == 200
        policy = shown.headers["content-security-policy"]
        assert "frame-ancestors *" in policy
        offered = requests.get(f"{address}/api/choices", timeout=60).json()
        assert offered["models"][0]["name"] == "bandit_demo"
        assert offered["max_seconds"] == 720
        query = {"name": "a.wav"}
        made = requests.post(
            f"{address}/api/jobs", headers=headers, params=query, timeout=60
        )
        assert "is empty" in made.json()["error"]  # and not refused as foreign
    finally:
        server.terminate()
        server.wait(30)
        server.stdout.close()
