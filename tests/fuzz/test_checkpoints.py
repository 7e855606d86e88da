"""Damaged checkpoints, pickles with code, and files that are none."""

import builtins
import io
import os
import pathlib
import pickle
import shutil
import subprocess
import zipfile

import pytest
from fuzz import generator, mutate

# What is checked does not depend on Keras's backend.
pytestmark = pytest.mark.once

NAMES = ["bandit_v1_mel16", "bandit_v2_musical12", "bsrnn_lstm_vox7_speech"]


def convert(runs, what, content):
    """Converts a file of this content."""
    shutil.rmtree("out", ignore_errors=True)
    pathlib.Path("a.ckpt").write_bytes(content)
    return runs(what, ["convert", "a.ckpt", "out"])


def parts(path):
    """Names and contents of a checkpoint's archive."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def archive(contents):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, content in contents.items():
            file.writestr(name, content)
    return stream.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_changed_bytes(name, checkpoint, runs):
    pytest.importorskip("torch")
    rng, content = generator(name), checkpoint(name).read_bytes()
    contents = parts(checkpoint(name))
    (described,) = [part for part in contents if part.endswith("data.pkl")]
    for i in range(30):
        pickled = mutate(contents[described], rng)
        convert(runs, f"pickle {i}", archive({**contents, described: pickled}))
    for i in range(8):
        convert(runs, f"archive {i}", mutate(content, rng, head=400))
        # The index of an archive stands at its end.
        end = mutate(content[-2000:], rng)
        convert(runs, f"index {i}", content[:-2000] + end)
    for i in range(4):
        few = {part: contents[part] for part in contents if rng.random() < 0.9}
        convert(runs, f"parts {i}", archive(few))
    runs.check(least=50, failing=30)


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def calls(marker):
    touch = f"touch {marker}"
    python = f"open({str(marker)!r}, 'w').close()"
    return {
        "system": Call(os.system, touch),
        "Popen": Call(subprocess.Popen, ["touch", str(marker)]),
        "eval": Call(builtins.eval, python),
        "exec": Call(builtins.exec, python),
        "open": Call(open, str(marker), "w"),
    }


def test_code(checkpoint, runs):
    pytest.importorskip("torch")
    contents = parts(checkpoint(NAMES[0]))
    (described,) = [part for part in contents if part.endswith("data.pkl")]
    for name, call in calls(runs.marker).items():
        for where, tree in (
            ("alone", call),
            ("state_dict", {"state_dict": call}),
            ("tensor", {"state_dict": {"model.band_split.x": call}}),
            ("beside", {"state_dict": {}, "hyper_parameters": call}),
            ("list", [call]),
        ):
            for protocol in (0, 2, 4):
                content = pickle.dumps(tree, protocol)
                what = f"{name} {where} {protocol}"
                convert(runs, what, content)
                convert(
                    runs,
                    f"{what} zip",
                    archive({**contents, described: content}),
                )
    runs.check(least=150, failing=150)


def test_other_trees_and_files(checkpoint, runs):
    torch = pytest.importorskip("torch")
    tensor = torch.zeros(3, 4)
    known = torch.load(checkpoint(NAMES[0]), weights_only=True)
    state = known.get("state_dict", known)
    first = next(iter(state))
    trees = {
        "none": None,
        "number": 3,
        "tensor": tensor,
        "list": [tensor],
        "empty": {},
        "empty state": {"state_dict": {}},
        "text": {"a": "b"},
        "unknown": {"layer.weight": tensor},
        "complex": {"layer.weight": tensor.to(torch.complex64)},
        "nested": {"state_dict": {"state_dict": {"model": tensor}}},
        "one": {first: state[first]},
        "one shape": dict.fromkeys(state, tensor),
        "no axes": {name: value[None] for name, value in state.items()},
        "empty tensors": {
            name: value[:0] for name, value in state.items() if value.ndim
        },
        "strings": dict.fromkeys(state, "x"),
        "half": {name: state[name] for name in list(state)[::2]},
        "more": {**state, "x": tensor},
    }
    for name, tree in trees.items():
        stream = io.BytesIO()
        torch.save(tree, stream)
        convert(runs, name, stream.getvalue())
    rng = generator("files")
    for name, content in {
        "nothing": b"",
        "text": b"not a checkpoint\n",
        "WAV": b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(30),
        "PNG": b"\x89PNG\r\n\x1a\n" + bytes(30),
        "JSON": b'{"state_dict": {}}',
        "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(100),
        "archive": archive({"a": b"b"}),
        "empty archive": archive({}),
        "pickled text": pickle.dumps("x"),
    }.items():
        convert(runs, name, content)
    for i in range(20):
        convert(runs, f"noise {i}", rng.randbytes(rng.randint(1, 300)))
    for i in range(40):
        content = pickle.dumps(
            {"state_dict": {"a": [1, 2.0, "x", None]}}, i % 5
        )
        convert(runs, f"short pickle {i}", mutate(content, rng))
    pathlib.Path("folder").mkdir()
    runs("folder", ["convert", "folder", "out"])
    runs("missing", ["convert", "missing", "out"])
    runs.check(least=85, failing=83)


def test_trees_of_other_things(checkpoint, runs):
    torch = pytest.importorskip("torch")
    known = torch.load(checkpoint(NAMES[0]), weights_only=True)
    state = known.get("state_dict", known)
    for name, tree in {
        "numbers as names": {1: torch.zeros(3), 2: torch.zeros(3)},
        "sparse": {"layer.weight": torch.zeros(3, 4).to_sparse()},
        "scalars": dict.fromkeys(state, torch.tensor(0.0)),
    }.items():
        stream = io.BytesIO()
        torch.save(tree, stream)
        convert(runs, name, stream.getvalue())
    runs.check(least=3, failing=3)
