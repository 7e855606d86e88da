"""Data flows one way: a lower module never imports a higher one."""

import ast
import pathlib
import re
import subprocess
import sys

import pytest

import keras_bandit

PACKAGE = pathlib.Path(keras_bandit.__file__).parent

# docs/architecture.md, lowest first; one line's modules do not see each other
# unless they are in one folder.
LEVELS = [
    {"common"},
    {"bands", "media"},
    {"backend"},
    {"layers"},
    {"losses"},
    {"metrics"},
    {"models"},
    {"export"},
    {"convert", "inference", "data"},
    {"bulk", "datasets", "evaluation", "training"},
    {"serve"},
    {"cli"},
    {"__main__"},
]

# Inside `cli`, the same; `__init__` is the package itself.
CLI_LEVELS = [
    {"console"},
    {"arguments", "backend"},
    {"model", "separation_options"},
    {
        "bulk",
        "convert",
        "evaluate",
        "export",
        "fetch",
        "info",
        "prepare",
        "presets",
        "separate",
        "serve",
    },
    {"__init__"},
]


def level_of(levels):
    return {name: i for i, names in enumerate(levels) for name in names}


LEVEL, CLI_LEVEL = level_of(LEVELS), level_of(CLI_LEVELS)

# `AudioSeparator.separate`, `export_core` and the first use of released weights
# reach up, when they are called.
ALLOWED = {("models", up) for up in ("convert", "export", "inference")}


def imports(path):
    """Parts of the package that a file imports, each as a list of names.

    `from keras_bandit.cli.model import X` gives `["cli", "model", "X"]`.
    """
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "keras_bandit" and len(parts) > 1:
                # `from keras_bandit import X` names X, not where it lives.
                home = keras_bandit._HOME.get(parts[1])
                yield home.split(".")[1:] if home else parts[1:]


def files():
    return [p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py"]


@pytest.mark.once
@pytest.mark.parametrize(
    "path", files(), ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_import_direction(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    others = {parts[0] for parts in imports(path)}
    for other in others - {own, "__version__"}:
        if (own, other) in ALLOWED:
            continue
        assert LEVEL[other] < LEVEL[own], f"{own} imports {other}"


@pytest.mark.once
@pytest.mark.parametrize(
    "path", [*(PACKAGE / "cli").glob("*.py")], ids=lambda p: p.name
)
def test_import_direction_inside_cli(path):
    for first, *rest in imports(path):
        if first != "cli":
            continue
        # What is no module there stands in `__init__.py`.
        other = rest[0] if rest and rest[0] in CLI_LEVEL else "__init__"
        assert CLI_LEVEL[other] < CLI_LEVEL[path.stem], f"imports {other}"


# Outside `backend/`: a way of training for each backend, and records of which
# one ran.
ASKERS = {
    "training/devices.py",
    "training/alternating_stems.py",
    "training/run.py",
    "models/record.py",
    "cli/backend.py",
    "export/whole_model.py",
}


@pytest.mark.once
def test_backend_is_asked_for_in_few_places():
    askers = {
        path.relative_to(PACKAGE).as_posix()
        for path in files()
        if re.search(r"(config|backend)\.backend\(\)", path.read_text())
    }
    assert {p for p in askers if not p.startswith("backend/")} == ASKERS


def modules_after(code):
    """Names of the modules that a fresh process has loaded after `code`."""
    command = [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.once
@pytest.mark.parametrize(
    "name",
    [
        "bands",
        "common.numpy_spectral",
        "models.core_transforms",
        "models.presets",
    ],
)
def test_tables_and_transforms_need_numpy_alone(name):
    assert "keras" not in modules_after(f"import keras_bandit.{name}")


@pytest.mark.once
@pytest.mark.parametrize("name", ["common.checks", "common.files"])
def test_lowest_modules_need_the_standard_library_alone(name):
    assert "numpy" not in modules_after(f"import keras_bandit.{name}")


@pytest.mark.once
def test_layers_do_not_load_keras_hub():
    code = (
        "import keras_bandit.layers, keras_bandit.losses, keras_bandit.metrics"
    )
    assert "keras_hub" not in modules_after(code)


def test_public_names_exist():
    for name in keras_bandit.__all__:
        assert getattr(keras_bandit, name) is not None
    with pytest.raises(AttributeError, match="nothing_such"):
        keras_bandit.nothing_such  # noqa: B018
