"""Public functions have annotations, and a type checker understands them."""

import ast
import importlib
import inspect
import pathlib
import subprocess
import sys

import pytest

import keras_bandit

ROOMS = [
    "keras_bandit",
    *(
        f"keras_bandit.{room}"
        for room in (
            "bands",
            "convert",
            "data",
            "evaluation",
            "export",
            "inference",
            "layers",
            "losses",
            "media",
            "metrics",
            "models",
            "training",
        )
    ),
]


def methods(cls):
    """Functions that a user of a class calls, its bases' of this package too."""
    for base in cls.__mro__:
        if not base.__module__.startswith("keras_bandit"):
            continue
        for name, value in vars(base).items():
            if name.startswith("_") and name != "__init__":
                continue
            if isinstance(value, property):
                value = value.fget
            value = getattr(value, "__func__", value)
            if inspect.isfunction(value):
                yield value


def unannotated(function):
    """Names of arguments, and "return", that have no annotation."""
    signature = inspect.signature(function)
    empty = inspect.Parameter.empty
    for name, parameter in signature.parameters.items():
        if name not in ("self", "cls") and parameter.annotation is empty:
            yield name
    if signature.return_annotation is empty:
        yield "return"


@pytest.mark.parametrize("room", ROOMS)
def test_public_functions_are_annotated(room):
    module = importlib.import_module(room)
    missing, count = {}, 0
    for name in module.__all__:
        value = getattr(module, name)
        functions = [value] if inspect.isfunction(value) else []
        if inspect.isclass(value):
            functions = list(methods(value))
        for function in functions:
            count += 1
            if names := list(unannotated(function)):
                missing[function.__qualname__] = names
    assert not missing
    assert count


def test_options_of_a_file_are_annotated():
    from keras_bandit.inference.options import SeparationOptions

    parameters = inspect.signature(SeparationOptions).parameters
    assert len(parameters) > 20
    assert not list(unannotated(SeparationOptions.__init__))
    assert not list(unannotated(SeparationOptions.some))


LAZY = ["__init__", "models/__init__", "inference/__init__", "export/__init__"]


@pytest.mark.once
@pytest.mark.parametrize("path", LAZY)
def test_type_checkers_see_what_is_imported_on_first_use(path):
    file = pathlib.Path(keras_bandit.__file__).parent / f"{path}.py"
    module = importlib.import_module(
        ".".join(["keras_bandit", *path.split("/")[:-1]])
    )
    [block] = [
        node
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name)
    ]
    assert block.test.id == "TYPE_CHECKING"
    seen = {
        alias.asname: node.module
        for node in block.body
        for alias in node.names
        if alias.asname == alias.name
    }
    lazy = getattr(module, "_HOME", {"export_core": "exporting"})
    assert set(seen) == set(lazy)
    for name, home in lazy.items():
        # mypy took `from_checkpoint` of `convert` for the module.
        assert home in seen[name]


# NumPy's stubs and this package, read once: ten seconds.
CACHE = pathlib.Path(__file__).parents[1] / ".pytest_cache" / "mypy"
USER = """
import numpy as np

import keras_bandit
from keras_bandit import L1SNR, SISNR, AudioSeparator, from_checkpoint
from keras_bandit.data import film_clip, open_tracks
from keras_bandit.evaluation import evaluate
from keras_bandit.inference import separate_file

separator: AudioSeparator = AudioSeparator.from_preset("bandit_demo")
audio: np.ndarray = film_clip(3.0)["speech"]
stems: dict[str, np.ndarray] = separator.separate(audio, 44100)
done = separate_file("film.wav", "out", separator, mne=True)
paths: dict = done.paths
converted: AudioSeparator = from_checkpoint("a.ckpt", stems=["speech"])
scores: dict = evaluate(separator, open_tracks("dnr", "test", "data"), "out")
separator.compile("adam", loss=L1SNR(epsilon=1e-3), metrics=[SISNR()])
names: list[str] = keras_bandit.list_presets()
"""
WRONG = [
    "AudioSeparator.from_preset(3)",
    'separator.separate(audio, "44100")',
    "number: int = separator.separate(audio, 44100)",
    "separate_file('film.wav', 'out')",
    'L1SNR(epsilon="small")',
    "keras_bandit.nothing_such",
]


@pytest.mark.once
def test_mypy_understands_a_user(tmp_path):
    """What is right passes, and each wrong line is found."""
    pytest.importorskip("mypy")
    program = tmp_path / "user.py"
    program.write_text("\n".join([USER, *WRONG, ""]))
    first = USER.count("\n") + 2
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--ignore-missing-imports"),
            "--follow-imports=silent",  # what matters is the user's file
            *(f"--cache-dir={CACHE}", str(program)),
        ],
        cwd=tmp_path,
        env={"MYPYPATH": str(pathlib.Path(keras_bandit.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    found = {
        int(line.split(":")[1])
        for line in done.stdout.splitlines()
        if ": error:" in line
    }
    assert found == set(range(first, first + len(WRONG))), done.stdout
