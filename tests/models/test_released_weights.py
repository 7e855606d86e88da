"""The catalogue of released weights, and fetching them by name."""

import dataclasses
import errno
import hashlib
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from keras_bandit import cli
from keras_bandit.common import download as download_module
from keras_bandit.common.download import BLOCK
from keras_bandit.models import fetch as fetch_module
from keras_bandit.models.fetch import cached_preset, fetch_weights
from keras_bandit.models.presets import PRESETS
from keras_bandit.models.released_weights import (
    RELEASED,
    Record,
    ReleasedWeights,
    WeightsFile,
)

from ..file_server import FileServer

once = pytest.mark.once

# The catalogue


@once
def test_names_of_the_issue_are_there():
    names = {"bandit_plus_dnr", "bsrnn_gru8_vox7_dnr", "bandit_v2_split"}
    languages = ("multi", "eng", "deu", "fra", "spa", "cmn", "fao")
    names |= {f"bandit_v2_{code}" for code in languages}
    assert names <= set(PRESETS)
    assert len({weights.name for weights in RELEASED}) == len(RELEASED) == 41


@once
def test_every_file_is_named_once_and_checked():
    files = [(w.record.url, f) for w in RELEASED for f in w.files]
    assert len({(url, file.name) for url, file in files}) == len(files) == 61
    unchecked = {file.name for _, file in files if file.checksum is None}
    assert unchecked == {"dnr-demucs.ckpt", "dnr-umxhq.ckpt"}
    for url, file in files:
        assert url.startswith("https://")
        assert not url.endswith("/")
        if file.checksum:
            pattern = r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{8}"
            assert re.fullmatch(pattern, file.checksum)


@once
@pytest.mark.parametrize(
    "weights", [w for w in RELEASED if w.size], ids=lambda weights: weights.name
)
def test_sizes_are_those_of_the_architecture(weights):
    """Weights and Adam's two averages, one file with a fourth copy."""
    numbers = weights.size / 4 / PRESETS[weights.name].sizes().parameters
    assert numbers == pytest.approx(3, abs=0.05) or (
        weights.name == "bandit_mel64_dnr"
        and numbers == pytest.approx(4, abs=0.05)
    )


@once
@pytest.mark.parametrize("weights", RELEASED, ids=lambda weights: weights.name)
def test_every_preset_is_of_its_architecture(weights):
    preset, known = PRESETS[weights.name], PRESETS[weights.architecture]
    assert preset.model == known.model
    assert preset.sample_rate == known.sample_rate
    assert preset.paper is None
    if weights.record.name == "10.5281/zenodo.10160698":
        assert weights.record.licence == "CC-BY-NC-4.0"


# Fetching, with a file that is converted to next to nothing


class Converted:
    """Stands in for a separator."""

    def save_to_preset(self, folder):
        (folder / "config.json").write_text("{}")


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """A cache of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("KERAS_BANDIT_CACHE", str(folder))
    monkeypatch.setattr(download_module, "WAITS", ())
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return folder


CONTENT = {"a.ckpt": b"a" * 1000, "b.ckpt": b"b" * 3 * BLOCK}


def described(files):
    """`WeightsFile`s of `{name: bytes}`."""
    return tuple(
        WeightsFile(
            name, f"md5:{hashlib.md5(content).hexdigest()}", len(content)
        )
        for name, content in files.items()
    )


def released(architecture, url, files, **settings):
    """A preset of these files."""
    record = Record(url, "doi", "CC-BY-NC-4.0", "A. Author, 2026")
    weights = ReleasedWeights(
        "small", architecture, "A test.", record, described(files), **settings
    )
    return dataclasses.replace(
        PRESETS[architecture], name="small", weights=weights, paper=None
    )


@pytest.fixture
def server():
    with FileServer(CONTENT) as server:
        yield server


@pytest.fixture
def small(server, monkeypatch):
    """A preset of two files, whose conversion is none."""
    monkeypatch.setattr(fetch_module, "_convert", lambda *_: Converted())
    preset = released("bandit_vox7", server.url, CONTENT)
    monkeypatch.setitem(PRESETS, "small", preset)
    return preset


def kept(cache):
    """What is in the cache, but for locks."""
    paths = [p for p in cache.rglob("*") if p.is_file()]
    return sorted(
        str(p.relative_to(cache)) for p in paths if p.suffix != ".lock"
    )


@once
def test_first_use_says_what_it_fetches(small, server, cache, capsys):
    assert fetch_weights(small) == cached_preset("small")
    assert capsys.readouterr() == (
        "",
        "keras-bandit: small: fetching a.ckpt, b.ckpt (0 MB) from doi\n"
        "keras-bandit: small: licence CC-BY-NC-4.0: not for commercial use\n"
        "keras-bandit: small: please cite A. Author, 2026\n",
    )
    assert kept(cache) == ["presets/small/config.json"]
    fetch_weights(small)
    assert [name for name, _ in server.requests] == list(CONTENT)
    assert capsys.readouterr() == ("", "")


@once
def test_the_checkpoint_is_kept_if_asked_for(small, cache):
    fetch_weights(small, keep_checkpoint=True)
    names = [f"checkpoints/small/{name}" for name in CONTENT]
    assert kept(cache) == [*names, "presets/small/config.json"]


@once
def test_an_interrupted_fetch_goes_on(small, server, cache):
    server.cuts = [None, 2 * BLOCK]
    with pytest.raises(ConnectionError, match=r"b\.ckpt cannot be fetched"):
        fetch_weights(small)
    assert kept(cache) == [
        "checkpoints/small/a.ckpt",
        "checkpoints/small/b.ckpt.part",
    ]
    fetch_weights(small)
    assert server.requests[2:] == [("b.ckpt", f"bytes={2 * BLOCK - 1}-")]
    assert kept(cache) == ["presets/small/config.json"]


@once
def test_another_file_is_not_kept(small, server, cache):
    server.files["b.ckpt"] = b"something else"
    with pytest.raises(ValueError, match=r"b\.ckpt has MD5 .*and not kept$"):
        fetch_weights(small)
    assert kept(cache) == ["checkpoints/small/a.ckpt"]
    server.files["b.ckpt"] = CONTENT["b.ckpt"]
    fetch_weights(small)


@once
def test_files_instead_of_the_network(small, server, cache, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a\.ckpt"):
        fetch_weights(small, source=tmp_path)
    for name, content in CONTENT.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "b.ckpt").write_bytes(b"else")
    with pytest.raises(ValueError, match=r"b\.ckpt has MD5"):
        fetch_weights(small, source=tmp_path)
    (tmp_path / "b.ckpt").write_bytes(CONTENT["b.ckpt"])
    fetch_weights(small, source=tmp_path)
    assert server.requests == []
    assert all((tmp_path / name).is_file() for name in CONTENT)


@once
def test_a_disk_that_is_too_small_is_said_before(small, server, monkeypatch):
    usage = shutil.disk_usage(".")._replace(free=10**8)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match="103 MB needed, 100 MB free"):
        fetch_weights(small)
    assert server.requests == []


@once
def test_a_disk_that_fills_during_conversion(small, server, cache, monkeypatch):
    class Full(Converted):
        def save_to_preset(self, folder):
            super().save_to_preset(folder)
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(fetch_module, "_convert", lambda *_: Full())
        with pytest.raises(OSError, match="No space left"):
            fetch_weights(small)
    # Nothing that looks like a preset; what was fetched is still there.
    assert kept(cache) == [f"checkpoints/small/{name}" for name in CONTENT]
    requests = len(server.requests)
    fetch_weights(small)
    assert len(server.requests) == requests


TWO = """
import sys
from keras_bandit.models import fetch
from keras_bandit.models.presets import PRESETS
from keras_bandit.models.released_weights import Record, ReleasedWeights
from keras_bandit.models.released_weights import WeightsFile
import dataclasses, pathlib, time

class Converted:
    def save_to_preset(self, folder):
        time.sleep(0.5)
        (folder / "config.json").write_text("{}")

fetch._convert = lambda *_: Converted()
record = Record(sys.argv[1], "doi", "MIT", "A. Author")
weights = ReleasedWeights("two", "", "", record, (WeightsFile("a.ckpt"),))
preset = dataclasses.replace(PRESETS["bandit_vox7"], name="two", weights=weights)
print("ready", flush=True)
sys.stdin.readline()
assert (fetch.fetch_weights(preset) / "config.json").is_file()
"""


@once
def test_two_processes_at_once(server, cache):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TWO, server.url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = sorted(process.communicate()[1] for process in processes)
    assert [process.returncode for process in processes] == [0, 0], said
    assert server.requests == [("a.ckpt", None)]
    assert said[0].startswith("keras-bandit: two: fetching a.ckpt from doi\n")
    assert said[1] == (
        "keras-bandit: two: waiting for another process that fetches it\n"
    )
    assert kept(cache) == ["presets/two/config.json"]


# The command


@once
def test_fetch_command(small, server, cache, tmp_path, capsys):
    assert cli.main(["fetch", "small"]) == 0
    assert capsys.readouterr().out == f"small -> {cached_preset('small')}\n"
    assert cli.main(["fetch", "small"]) == 0
    assert capsys.readouterr().err == ""
    shutil.rmtree(cache)
    for name, content in CONTENT.items():
        (tmp_path / name).write_bytes(content)
    args = ["fetch", "small", "--keep-checkpoint"]
    assert cli.main([*args, "--from", str(tmp_path)]) == 0
    assert "checkpoints/small/a.ckpt" in kept(cache)
    shutil.rmtree(cache)
    requests = len(server.requests)
    assert cli.main(["fetch", "small", "--mirror", server.url + "/"]) == 0
    assert len(server.requests) == requests + 2


@once
@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nothing"], "nothing: no released weights of that name"),
        (["bandit_musical64"], "bandit_musical64: no released weights"),
        (["small", "--mirror", "a", "--from", "b"], "--mirror and --from"),
        (["small", "--from", "nowhere"], "nowhere: No such file"),
    ],
)
def test_fetch_refuses_in_one_line(args, message, small, capsys):
    assert cli.main(["fetch", *args]) == 2
    errors = [
        line
        for line in capsys.readouterr().err.splitlines()
        if "error: " in line
    ]
    assert len(errors) == 1
    assert message in errors[0]


@once
def test_what_cannot_be_fetched_is_one_line(small, server, capsys):
    server.statuses = [404]
    assert cli.main(["export", "small", "out", "--format", "onnx"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(
        f"keras-bandit: error: {server.url}/a.ckpt cannot be"
    )


@once
def test_presets_says_what_is_cached(small, capsys):
    def weights():
        assert cli.main(["presets"]) == 0
        (line,) = re.findall(r"^\| small .*$", capsys.readouterr().out, re.M)
        return [cell.strip() for cell in line.split("|")][2:4]

    assert weights() == ["to be fetched, 0 MB", "CC-BY-NC-4.0"]
    fetch_weights(small)
    capsys.readouterr()
    assert weights() == ["cached", "CC-BY-NC-4.0"]


# Conversion, with small checkpoints of the authors' code


@pytest.fixture
def golden_preset(checkpoint, monkeypatch, server):
    """Makes a preset of golden files, and serves them."""

    def make(architecture, files, **settings):
        server.files |= files
        preset = released(architecture, server.url, files, **settings)
        monkeypatch.setitem(PRESETS, "small", preset)

    return make


def assert_same(separator, other):
    for weight, expected in zip(
        separator.get_weights(), other.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(weight, expected)


def test_a_name_is_fetched_converted_and_then_offline(
    golden_preset, checkpoint, server, cache
):
    from keras_bandit import AudioSeparator, from_checkpoint

    path = checkpoint("bandit_v2_musical12")
    golden_preset("bandit_v2_musical64", {"x.ckpt": path.read_bytes()})
    separator = AudioSeparator.from_preset("small")
    assert len(server.requests) == 1
    server.files.clear()
    other = AudioSeparator.from_preset("small")
    assert_same(separator, from_checkpoint(path))
    assert_same(other, separator)
    assert separator.stems == ["speech", "music", "sfx"]
    metadata = json.loads(
        (cached_preset("small") / "metadata.json").read_text()
    )
    found = metadata["keras_bandit"]
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    assert found["license"] == "CC-BY-NC-4.0"
    assert found["citation"] == "A. Author, 2026"
    assert (found["record"], found["url"]) == ("doi", server.url)
    assert found["checksums"] == {"x.ckpt": f"md5:{md5}"}
    assert found["source_sha256"]
    assert not (cache / "checkpoints" / "small").exists()


def test_files_that_are_joined(golden_preset, checkpoint, tmp_path):
    import torch

    from keras_bandit import AudioSeparator

    path = checkpoint("bsrnn_lstm_vox7_speech")
    saved = torch.load(path, weights_only=True)
    saved["state_dict"] = {
        name.replace("bsrnn.speech.", "bsrnn.music."): value
        for name, value in saved["state_dict"].items()
    }
    torch.save(saved, tmp_path / "music.ckpt")
    golden_preset(
        "bsrnn_lstm12_vox7",
        {
            "speech.ckpt": path.read_bytes(),
            "music.ckpt": (tmp_path / "music.ckpt").read_bytes(),
        },
    )
    separator = AudioSeparator.from_preset("small")
    assert separator.stems == ["speech", "music"]
    assert separator.metadata["license"] == "CC-BY-NC-4.0"


def test_a_file_for_each_target(golden_preset, checkpoint):
    from keras_bandit import AudioSeparator, from_checkpoint

    folder = checkpoint("umx_dnr").parent / "umx_stereo3"
    files = {path.name: path.read_bytes() for path in folder.glob("*.pth")}
    golden_preset("open_unmix_hq", files, settings={"hop_length": 128})
    separator = AudioSeparator.from_preset("small")
    assert separator.hop_length == 128
    assert_same(separator, from_checkpoint(folder))


def test_a_bag(golden_preset, checkpoint):
    from keras_bandit import AudioSeparator

    folder = checkpoint("umx_dnr").parent
    files = {
        f"{name}-01234567.th": (folder / f"hdemucs_{name}.th").read_bytes()
        for name in ("cac", "mag")
    }
    golden_preset("hybrid_demucs_musdb18", files, bag={"segment": 44})
    separator = AudioSeparator.from_preset("small")
    assert len(separator.get_layer("mean").members) == 2
    assert separator.chunk_seconds == 44
