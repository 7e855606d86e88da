"""The notebooks run, made small, and are kept without what they printed."""

import json
import pathlib
import socket

import keras
import numpy as np
import pytest
import soundfile

from keras_bandit import AudioSeparator

FOLDER = pathlib.Path(__file__).parents[2] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))

# In place of `bandit_demo`, so that a test takes seconds.
TINY = """
from keras_bandit import BanditAudioSeparator, BanditBackbone

sizes = {"num_bands": 8, "embed_dim": 4, "rnn_dim": 4, "num_pairs": 1}
stems = ["speech", "music", "effects"]
tiny = BanditAudioSeparator(
    BanditBackbone(**sizes), stems, mlp_dim=4, chunk_seconds=1.0
)
tiny.save_to_preset("tiny")
PRESET = "tiny"
"""
CHOICE = 'os.environ["KERAS_BACKEND"] = "tensorflow"'
SMALLER = {
    "separate.ipynb": {
        CHOICE: "",
        "SECONDS = 12.0": "SECONDS = 1.0",
        'PRESET = "bandit_demo"': TINY,
    },
    "new_stem.ipynb": {
        CHOICE: "",
        "SECONDS = 3.0": "SECONDS = 1.0",
        "CLIPS = 24": "CLIPS = 2",
        "range(1000, 1004)": "range(1000, 1001)",
        "EPOCHS = 8": "EPOCHS = 1",
        "BATCH = 4": "BATCH = 2",
        'PRESET = "bandit_demo"': TINY,
        # Not smaller, but looked at below.
        "encoder_before =": "decoder_before = separator.decoders['mne']"
        ".get_weights()\nencoder_before =",
    },
}


def cells(name, kind):
    notebook = json.loads((FOLDER / name).read_text())
    return [c for c in notebook["cells"] if c["cell_type"] == kind]


def smaller_code(name):
    """The code cells, with the settings of `SMALLER`."""
    sources = ["".join(cell["source"]) for cell in cells(name, "code")]
    for found, smaller in SMALLER[name].items():
        assert sum(source.count(found) for source in sources) == 1, found
        sources = [source.replace(found, smaller) for source in sources]
    return sources


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """Runs a notebook's code in an empty folder without network."""
    pytest.importorskip("IPython")
    pytest.importorskip("matplotlib").use("agg")

    def refuse(*args):
        raise AssertionError("a notebook asked for the network")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    namespace = {}

    def run(name):
        for source in smaller_code(name):
            exec(compile(source, name, "exec"), namespace)
        return namespace

    yield run
    import matplotlib.pyplot

    matplotlib.pyplot.close("all")


def test_separate(reader):
    found = reader("separate.ipynb")
    assert list(found["estimates"]) == ["speech", "music", "effects"]
    for stem, estimate in found["estimates"].items():
        audio, rate = soundfile.read(f"{stem}.wav", always_2d=True)
        assert (rate, audio.T.shape) == (44100, (1, 44100))
        assert estimate.shape == found["mixture"].shape
        assert np.abs(estimate).max() > 0
    # A picture of the mixture, two of each stem.
    assert sum(bool(axis.images) for axis in found["axes"].flat) == 7


def test_new_stem(reader):
    found = reader("new_stem.ipynb")
    before = AudioSeparator.from_preset("tiny")
    separator, again = found["separator"], found["again"]
    assert separator.stems == [*before.stems, "mne"]
    assert again.stems == ["speech", "mne"]
    # The other stems are as they were; what was saved is what was trained.
    for part in ("speech", "music", "effects"):
        for old, new in zip(
            before.decoders[part].get_weights(),
            separator.decoders[part].get_weights(),
            strict=True,
        ):
            np.testing.assert_array_equal(old, new)
    mixture = found["unheard_mixtures"][:1]
    now = separator.predict_on_batch(mixture)
    loaded = again.predict_on_batch(mixture)["mne"]
    np.testing.assert_allclose(loaded, now["mne"], atol=1e-5)
    trained = separator.decoders["mne"].get_weights()
    pairs = zip(found["decoder_before"], trained, strict=True)
    assert any(np.abs(a - b).max() > 0 for a, b in pairs)
    history = found["history"].history
    for name in ("loss", "val_loss", "si_snr", "val_si_snr"):
        assert np.isfinite(history[name]).all()
        assert len(history[name]) == 1


def test_a_kernel_runs_the_cells_on_the_backend_they_choose(
    tmp_path, monkeypatch
):
    """As in Jupyter: a process of its own, in which the cell chooses."""
    if keras.config.backend() != "jax":
        pytest.skip("one kernel is enough; started by the tests on JAX")
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.delenv("KERAS_BACKEND")
    sources = ['import os\n\nos.environ["KERAS_BACKEND"] = "jax"']
    sources += smaller_code("separate.ipynb")
    sources += ['import keras\n\nassert keras.config.backend() == "jax"']
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in sources]
    )
    where = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources=where
    ).execute()
    outputs = [
        out for cell in notebook.cells for out in cell.get("outputs", [])
    ]
    kinds = {kind for out in outputs for kind in out.get("data", {})}
    assert {"image/png", "text/html"} <= kinds  # the picture, the players


def test_notebooks_are_those_that_run():
    assert [path.name for path in NOTEBOOKS] == sorted(SMALLER)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_nothing_printed_is_kept(path):
    for cell in cells(path.name, "code"):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_backend_is_chosen_before_the_first_import(path):
    note = "".join(cells(path.name, "markdown")[0]["source"])
    for word in ("Colab", "Kaggle", "keras-bandit[plot]", "restart"):
        assert word in note
    first, *others = ["".join(c["source"]) for c in cells(path.name, "code")]
    assert CHOICE in first
    assert "keras" not in first.replace(CHOICE, "")
    assert any("import" in source for source in others)
