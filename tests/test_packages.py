"""What is published: the wheel, the sdist, the version, the extras."""

import os
import pathlib
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile

import pytest

import keras_bandit

pytestmark = pytest.mark.once

ROOT = pathlib.Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
VERSION = keras_bandit.__version__

# Most of it are the weights of `bandit_demo`.
WHEEL_MB, PRESET_MB = 4.0, 4.0


def run(*command, **kwargs):
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, **kwargs
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Path of the wheel, built without network."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index"]
    own = ["--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    run(*pip, *own, str(ROOT))
    [path] = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder with the wheel installed, and the environment that finds it."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index"]
    run(*pip, "--no-deps", "--target", str(folder), str(wheel))
    return folder, {**os.environ, "PYTHONPATH": str(folder)}


def package_files():
    """The package's files, as they are to be in the wheel."""
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "keras_bandit").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_wheel_holds_the_package_and_nothing_else(wheel):
    files = package_files()
    # Guards the comparison below: a file of each kind.
    assert {
        "keras_bandit/py.typed",
        "keras_bandit/datasets/dnr/CITATIONS.bib",
        "keras_bandit/datasets/dnr/dnr_dataset_builder.py",
        "keras_bandit/models/open_unmix/__init__.py",
        "keras_bandit/serve/page/page.js",
        "keras_bandit/weights/bandit_demo/core.onnx",
        "keras_bandit/weights/bandit_demo/model.weights.h5",
    } <= files
    about = f"keras_bandit-{VERSION}.dist-info"
    kinds = ("METADATA", "RECORD", "WHEEL", "entry_points.txt")
    files |= {f"{about}/{kind}" for kind in (*kinds, "licenses/LICENSE")}
    assert set(zipfile.ZipFile(wheel).namelist()) == files


def test_wheel_is_small(wheel):
    assert wheel.stat().st_size < 1e6 * WHEEL_MB
    for preset in (ROOT / "keras_bandit" / "weights").iterdir():
        sizes = [path.stat().st_size for path in preset.iterdir()]
        assert sum(sizes) < 1e6 * PRESET_MB, preset.name


def test_wheel_runs_in_another_folder(installed, tmp_path):
    folder, environment = installed
    where = {"cwd": tmp_path, "env": environment}
    code = "import keras_bandit.models.presets as p; print(p.__file__)"
    code += "; print(p.weights_directory('bandit_demo'))"
    module, weights = run(sys.executable, "-c", code, **where).splitlines()
    for path in map(pathlib.Path, (module, weights)):
        assert path.is_relative_to(folder)
    assert pathlib.Path(weights, "model.weights.h5").is_file()
    command = str(folder / "bin" / "keras-bandit")
    text = run(sys.executable, command, "--help", **where)
    assert "usage: keras-bandit" in text
    assert "separate" in text
    version = run(sys.executable, command, "--version", **where)
    assert version == f"keras-bandit {VERSION}\n"


def test_sdist_holds_the_package_and_nothing_else(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "sdist"]
    run(*build, "-d", str(tmp_path), cwd=ROOT)
    [path] = tmp_path.iterdir()
    top = f"keras_bandit-{VERSION}"
    assert path.name == f"{top}.tar.gz"
    kinds = (".gitignore", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml")
    with tarfile.open(path) as archive:
        names = set(archive.getnames())
    assert names == {f"{top}/{name}" for name in package_files() | {*kinds}}


def test_metadata_name_version_and_pythons(wheel):
    about = f"keras_bandit-{VERSION}.dist-info/METADATA"
    lines = zipfile.ZipFile(wheel).read(about).decode().splitlines()
    assert f"Version: {VERSION}" in lines
    classifier = "Classifier: Programming Language :: Python :: 3."
    minors = [int(x.split(".")[-1]) for x in lines if x.startswith(classifier)]
    assert minors == list(range(minors[0], minors[-1] + 1))
    ends = f">=3.{minors[0]},<3.{minors[-1] + 1}"
    assert PROJECT["requires-python"] == ends
    page = (ROOT / "docs" / "install.md").read_text()
    assert f"Python 3.{minors[0]} to 3.{minors[-1]}" in page


def test_version_stands_in_one_place():
    """Not in what is written by hand; the demo's weights say who made them."""
    assert "version" in PROJECT["dynamic"]
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    path = ROOT / tables["hatch"]["version"]["path"]
    assert path == ROOT / "keras_bandit" / "__init__.py"
    assert f'__version__ = "{VERSION}"' in path.read_text()
    found = [
        str(other)
        for folder in ("keras_bandit", "recipes")
        for other in (ROOT / folder).rglob("*.py")
        if f'"{VERSION}"' in other.read_text()
    ]
    assert found == [str(path)]


def test_records_have_the_version_of_the_code():
    from keras_bandit.common.versions import versions

    assert versions("keras-bandit")["keras-bandit"] == VERSION


def test_builders_are_found_where_tfds_users_look():
    builders = {
        path.parent.name
        for path in (ROOT / "keras_bandit" / "datasets").glob("*/__init__.py")
    }
    links = {path.name: path for path in (ROOT / "datasets").iterdir()}
    assert set(links) == builders
    for name, link in links.items():
        target = ROOT / "keras_bandit" / "datasets" / name
        assert link.resolve() == target.resolve()


def test_table_of_extras_is_that_of_pyproject():
    page = (ROOT / "docs" / "install.md").read_text()
    rows = re.findall(
        r"^\| .+ \| `keras-bandit\[([\w,]+)\]` \| (.+) \|$", page, re.M
    )
    extras = PROJECT["optional-dependencies"]
    assert sorted(name for name, _ in rows) == sorted(extras)
    for name, packages in rows:
        for requirement in extras[name]:
            package = re.match(r"[\w.-]+", requirement)[0]
            own = package == "keras-bandit"
            if name not in ("dev", "docs") and not own:
                assert package in packages, f"{name}: {package}"


def test_citation_names_title_and_version():
    page = (ROOT / "docs" / "install.md").read_text()
    [entry] = re.findall(r"^@software\{.*?^\}$", page, re.M | re.S)
    assert f"version = {{{VERSION}}}" in entry
    assert "Apache-2.0" in entry
