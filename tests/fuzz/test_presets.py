"""Presets with damaged files, and with code in the place of values."""

import base64
import json
import marshal
import pathlib
import shutil

import numpy as np
import pytest
import soundfile
from fuzz import generator, mutate, mutated_json, places, replaced

# What is checked does not depend on Keras's backend.
pytestmark = pytest.mark.once

SHARES = {"keras": 1.0, "openvino": 0.5}
ENGINES = ["keras", "openvino"]


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory):
    """Files of a small BandIt's preset, by name."""
    from keras_bandit.models import BanditAudioSeparator, BanditBackbone

    backbone = BanditBackbone(
        num_bands=4,
        n_fft=64,
        sample_rate=8000,
        embed_dim=3,
        rnn_dim=3,
        num_pairs=1,
    )
    separator = BanditAudioSeparator(
        backbone, ["speech", "music"], hop_length=16, mlp_dim=3
    )
    folder = tmp_path_factory.mktemp("preset")
    separator.save_to_preset(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(params=ENGINES)
def separate(request, runs, undamaged):
    """Separates with a preset of changed files: `separate(what, changes)`."""
    pytest.importorskip(request.param)
    rng = np.random.default_rng(0)
    soundfile.write("a.wav", rng.uniform(-0.5, 0.5, 400), 8000)
    argv = ["separate", "a.wav", "--preset", "p", "--engine", request.param]
    argv += ["--output", "out", "--quiet", "--chunk-seconds", "0.05"]

    def run(what, changes):
        for folder in ("out", "p"):
            shutil.rmtree(folder, ignore_errors=True)
        pathlib.Path("p").mkdir()
        for name, content in {**undamaged, **changes}.items():
            if content is not None:
                pathlib.Path("p", name).write_bytes(content)
        return runs(f"{request.param} {what}", argv)

    assert run("undamaged", {}) == 0
    run.runs, run.share = runs, SHARES[request.param]
    return run


def code(marker):
    """What Keras writes of functions and objects, and calls when it reads."""
    touch = f"touch {marker}"
    python = f"open({str(marker)!r}, 'w').close()"
    pickled = marshal.dumps(compile(python, "code", "exec"))
    lambda_ = {
        "class_name": "__lambda__",
        "config": {
            "code": base64.b64encode(pickled).decode(),
            "defaults": None,
            "closure": None,
        },
    }
    function = {"module": "builtins", "class_name": "function"}
    return {
        "lambda": lambda_,
        "Lambda": {
            "module": "keras.layers",
            "class_name": "Lambda",
            "config": {"function": lambda_, "name": "x"},
            "registered_name": None,
        },
        "system": {**function, "config": "system", "registered_name": "system"},
        "os": {
            "module": "os",
            "class_name": "system",
            "config": {"command": touch},
            "registered_name": "system",
        },
        "Popen": {
            "module": "subprocess",
            "class_name": "Popen",
            "config": {"args": ["touch", str(marker)]},
            "registered_name": "Popen",
        },
        "eval": {
            "module": "builtins",
            "class_name": "eval",
            "config": {"source": python},
            "registered_name": None,
        },
    }


@pytest.mark.parametrize("name", ["config.json", "task.json"])
def test_code_in_the_place_of_a_value(name, separate, undamaged):
    tree, rng = json.loads(undamaged[name]), generator(f"code {name}")
    payloads = code(separate.runs.marker)
    everywhere = list(places(tree))
    for path in everywhere:
        for kind in rng.sample(sorted(payloads), round(2 * separate.share)):
            content = json.dumps(replaced(tree, path, payloads[kind])).encode()
            changes = {name: content}
            if name == "config.json" and path[0] == "config":
                # The same in the task, which is what a separator is made of.
                task = json.loads(undamaged["task.json"])
                inner = ("config", "backbone", *path)
                task = replaced(task, inner, payloads[kind])
                changes["task.json"] = json.dumps(task).encode()
            separate(f"{name} {path} {kind}", changes)
    separate.runs.check(least=len(everywhere), failing=len(everywhere) // 2)


@pytest.mark.parametrize(
    ("name", "count"),
    [("config.json", 12), ("task.json", 40), ("metadata.json", 6)],
)
def test_other_values_and_keys(name, count, separate, undamaged):
    tree, rng = json.loads(undamaged[name]), generator(f"values {name}")
    for i in range(round(count * separate.share)):
        content = mutated_json(tree, rng)
        separate(f"{name} {i}", {name: content.encode()})
    for content in (b"", b"null", b"[]", b"\xff\xfe", b"[" * 100_000, None):
        separate(f"{name} {str(content)[:9]}", {name: content})
    separate.runs.check(least=10)


def test_weights(separate, undamaged):
    rng = generator("weights")
    names = sorted(name for name in undamaged if name.endswith(".h5"))
    for i in range(round(24 * separate.share)):
        name = rng.choice(names)
        head = rng.choice([200, 2000, None])
        content = mutate(undamaged[name], rng, head)
        separate(f"{name} {i}", {name: content})
    for name in names:
        other = names[names.index(name) - 1]
        for content in (None, b"", b"x" * 99, undamaged[other]):
            separate(f"{name} {str(content)[:9]}", {name: content})
    separate.runs.check(least=20, failing=12)
