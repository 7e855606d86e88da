"""Data flows one way: a lower module never imports a higher one."""

import ast
import pathlib
import subprocess
import sys

import pytest

import keras_bandit

PACKAGE = pathlib.Path(keras_bandit.__file__).parent

# docs/architecture.md, lowest first; one line's modules do not see each other
# unless they are in one folder.
LEVELS = [
    {"checks", "files"},
    {"bands", "numpy_spectral", "presets", "hidden_modules"},
    {"preset_sizes"},
    {"preset_table", "backend"},
    {"layers"},
    {"losses"},
    {"metrics"},
    {"models"},
    {"convert", "inference", "data"},
    {"evaluation", "prepare", "training"},
    {"cli"},
    {"__main__"},
]
LEVEL = {name: i for i, names in enumerate(LEVELS) for name in names}

# `AudioSeparator.separate` reaches up, when it is called.
ALLOWED = {("models", "inference")}


def imports(path):
    """Parts of the package that a file imports, by their top-level name."""
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
                home = keras_bandit._HOME.get(parts[1], f"_.{parts[1]}")
                yield home.split(".")[1]


def files():
    return [p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py"]


@pytest.mark.parametrize(
    "path", files(), ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_import_direction(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for other in set(imports(path)) - {own, "__version__"}:
        if (own, other) in ALLOWED:
            continue
        assert LEVEL[other] < LEVEL[own], f"{own} imports {other}"


def test_backend_is_asked_for_in_one_place():
    askers = {
        str(path.relative_to(PACKAGE).parts[0])
        for path in files()
        if "config.backend()" in path.read_text()
    }
    assert askers <= {"backend", "data", "training"}


def modules_after(code):
    """Names of the modules that a fresh process has loaded after `code`."""
    command = [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("name", ["bands", "numpy_spectral"])
def test_tables_and_transforms_need_numpy_alone(name):
    assert "keras" not in modules_after(f"import keras_bandit.{name}")


@pytest.mark.parametrize("name", ["checks", "files"])
def test_lowest_modules_need_the_standard_library_alone(name):
    assert "numpy" not in modules_after(f"import keras_bandit.{name}")


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
