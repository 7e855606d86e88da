"""The program of docs/export.md separates as Keras does."""

import pathlib
import re

import numpy as np
import pytest
import soundfile

from .exported_models import bandit_v2, distances, noise

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "export.md"


def test_the_example_equals_keras(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime", reason="an extra that is not installed")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(
        r"^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S
    )
    (program,) = [block for block in blocks if "onnxruntime" in block]
    assert len([line for line in program.splitlines() if line.strip()]) <= 44
    separator = bandit_v2()
    separator.export_core("exported", chunk_seconds=0.01)
    film = noise(2, 1000)
    soundfile.write("film.wav", film.T, 48000, subtype="FLOAT")
    namespace = {}
    exec(compile(program, "export.md", "exec"), namespace)
    expected = separator.predict_on_batch(film[None])
    estimates = {s: x[None] for s, x in namespace["separate"](film).items()}
    assert np.all(distances(estimates, expected) > 110)
    for stem in separator.stems:
        written, rate = soundfile.read(f"{stem}.wav")
        assert (written.shape, rate) == ((1000, 2), 48000)
        # Where no chunk reaches beyond the recording, chunks of a mask model
        # give about what the whole does.
        assert np.isfinite(written).all()
        assert np.std(written) > 0
