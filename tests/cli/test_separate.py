"""`keras-bandit separate`: what it passes on, says and returns.

What becomes of one file is in `tests/inference/test_files.py`.
"""

import json
import os
import pathlib
import sys

import numpy as np
import pytest
import soundfile

from keras_bandit.cli import separate as separate_module

from .command_line import error_line, found, read, separate, write

pytestmark = pytest.mark.once


def test_stems_are_the_model_s(model):
    mixture = write("film.wav", 2)
    assert separate("film.wav", "--output", "out/here", "--quiet") == 0
    assert len(found("out")) == 3
    for stem, gain in model.gains.items():
        np.testing.assert_allclose(
            read(f"out/here/film/{stem}.wav"), gain * mixture, atol=1e-6
        )


def test_options_reach_the_file(model):
    mixture = write("film.wav", 2)
    options = ["--stems", "speech,effects", "--mne", "--residual", "--quiet"]
    options += ["--format", "flac", "--subtype", "PCM_16", "--batch-size", "3"]
    options += ["--hop-seconds", "0.025", "--mixture-consistency"]
    assert separate("film.wav", *options) == 0
    assert found("separated") == [
        f"film/{name}.flac" for name in ("effects", "mne", "residual", "speech")
    ]
    assert soundfile.info("separated/film/mne.flac").subtype == "PCM_16"
    assert set(model.shapes) == {(3, 1, 800)}
    assert len(model.shapes) == 2 * 23 // 3 + 1  # at -600, -400, ..., 3800
    # Each stem gets a third of what all three leave, an eighth.
    np.testing.assert_allclose(
        read("separated/film/speech.flac"),
        (0.5 + 0.125 / 3) * mixture,
        atol=2**-16 + 1e-6,
    )


def test_chunks_by_one_word(model):
    mixture = write("film.wav", num_samples=60000)
    options = ["--chunking", "mdx23", "--batch-size", "1", "--quiet"]
    assert separate("film.wav", *options) == 0
    # 3 s; at 0, 2.5, 5 s of 7.5.
    assert model.shapes == [(1, 1, 24000)] * 3
    np.testing.assert_allclose(
        read("separated/film/speech.wav"), 0.5 * mixture, atol=1e-6
    )


def test_unwanted_stems_are_left_out_once_for_all_files(model):
    few = model.with_stems(["music"])
    few.with_stems = None
    asked = []
    model.with_stems = lambda stems: asked.append(stems) or few
    write("a.wav")
    write("b.wav")
    assert separate("a.wav", "b.wav", "--stems", "music", "--quiet") == 0
    assert asked == [["music"]]
    assert set(map(tuple, model.computed)) == {("music",)}


def test_summary_and_quiet(model, capsys):
    write("film.wav", 2)
    assert separate("film.wav") == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(
        "film.wav: 0.50 s, 2 channel(s), 8000 Hz -> separated/film/: speech, "
        "music, effects (FLOAT), separated in "
    )
    assert captured.out.endswith(" x real time\n")
    assert captured.err == ""  # no bar: not a terminal
    assert separate("film.wav", "--quiet", "--overwrite") == 0
    assert capsys.readouterr() == ("", "")


def test_bar_on_a_terminal(model, capsys, monkeypatch):
    write("film.wav", 2)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert separate("film.wav") == 0
    shown = capsys.readouterr().err
    assert "film.wav: 100%" in shown
    assert "0.5 of 0.5 s" in shown
    assert separate("film.wav", "--quiet", "--overwrite") == 0
    assert capsys.readouterr().err == ""


def test_lines_elsewhere(model, capsys, monkeypatch):
    write("film.wav", 2)
    monkeypatch.setattr(separate_module, "_SECONDS_BETWEEN_LINES", 0.0)
    assert separate("film.wav") == 0
    last = capsys.readouterr().err.splitlines()[-1]
    assert "film.wav: 0.0 of 0.0 min, " in last
    assert last.endswith(" x real time, 0 s left")


def test_json(model, capsys):
    write("film.wav", 2)
    assert separate("film.wav", "--stems", "speech", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["paths"] == {"speech": "separated/film/speech.wav"}
    assert found["seconds"] == 0.5
    assert found["layout"] == "stereo"
    assert found["warnings"] == []
    assert found["times_real_time"] == pytest.approx(0.5 / found["elapsed"])


def test_clipping_is_a_warning(model, capsys):
    model.gains = {"loud": 4.0}
    write("film.wav", subtype="PCM_16")
    assert separate("film.wav", "--quiet") == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith(
        "keras-bandit: warning: separated/film/loud.wav: peaks at +6"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="names are any bytes")
def test_a_name_that_is_not_text(model, capsys):
    name = os.fsdecode(b"caf\xe9.wav")
    write("film.wav")
    os.rename("film.wav", name)
    assert separate(name) == 0
    assert capsys.readouterr().out.startswith("caf\\udce9.wav: 0.50 s")


# Failures


def test_existing_files_are_kept_unless_overwrite(model, capsys):
    write("a.wav")
    write("b.wav")
    kept = pathlib.Path("separated/a/music.wav")
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    assert separate("a.wav", "--quiet") == 2
    assert error_line(capsys) == f"{kept}: already there; --overwrite replaces"
    assert model.computed == []
    assert separate("a.wav", "b.wav", "--quiet") == 1
    assert "already there" in error_line(capsys)
    assert kept.read_text() == "mine"
    assert "b/speech.wav" in found("separated")
    assert separate("a.wav", "--overwrite", "--quiet") == 0
    assert read(kept).shape == (1, 4000)


def test_a_stem_never_replaces_an_input(model, capsys):
    write("film.wav")
    write("separated/film/music.wav")
    files = ["film.wav", "separated/film/music.wav"]
    assert separate(*files, "--overwrite", "--quiet") == 1
    assert error_line(capsys).startswith(
        "film.wav: its stem separated/film/music.wav would replace an input"
    )


def test_interruption_leaves_nothing(model, capsys):
    write("film.wav")

    def interrupt(batch):
        raise KeyboardInterrupt

    model.predict_on_batch = interrupt
    assert separate("film.wav") == 130
    assert capsys.readouterr() == ("", "keras-bandit: interrupted\n")
    assert found() == ["film.wav"]


def test_too_little_memory_is_one_line(model, capsys):
    write("film.wav")

    def refuse(batch):
        raise MemoryError("Unable to allocate 80 GiB")

    model.predict_on_batch = refuse
    assert separate("film.wav") == 2
    assert (
        error_line(capsys) == "film.wav: too large: Unable to allocate 80 GiB"
    )


def test_bug_keeps_its_traceback(model):
    write("film.wav")

    def fail(batch):
        raise ValueError("shapes do not match")

    model.predict_on_batch = fail
    with pytest.raises(ValueError, match="shapes do not match"):
        separate("film.wav")


def write_nan(name):
    soundfile.write(name, np.full(8000, np.nan), 8000, subtype="FLOAT")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda name: None, "No such file"),
        (
            lambda name: pathlib.Path(name).write_text("x" * 99),
            "not a media file",
        ),
        (write_nan, "nan in channel 0, sample 0"),
    ],
    ids=["missing", "text", "nan"],
)
def test_bad_file_is_one_line_and_stops_no_other(model, capsys, make, message):
    make("bad.wav")
    before = found()
    assert separate("bad.wav", "--quiet") == 2
    line = error_line(capsys)
    assert line.startswith("bad.wav: ")
    assert message in line
    assert found() == before

    write("a.wav")
    write("c.wav")
    assert separate("a.wav", "bad.wav", "c.wav", "--quiet") == 1
    assert message in error_line(capsys)
    assert found("separated") == [
        f"{name}/{stem}.wav" for name in "ac" for stem in sorted(model.stems)
    ]


def test_a_model_that_gives_nan_does_not_stop_the_others(model, capsys):
    write("a.wav")
    soundfile.write("loud.wav", np.full(4000, 3e38), 8000, subtype="FLOAT")
    write("c.wav")
    predict = model.predict_on_batch
    model.predict_on_batch = lambda batch: predict(
        np.where(batch > 1, np.nan, batch)
    )
    assert separate("a.wav", "loud.wav", "c.wav", "--quiet") == 1
    line = error_line(capsys)
    assert line.startswith("loud.wav: the model's estimate of speech is not")
    assert {name.partition("/")[0] for name in found("separated")} == {*"ac"}


def test_all_files_bad_is_status_2(model, capsys):
    assert separate("a.wav", "b.wav") == 2
    assert capsys.readouterr().err.count("keras-bandit: error: ") == 2


def test_a_mistake_for_all_files_is_said_once(model, capsys):
    write("a.wav")
    write("b.wav")
    assert separate("a.wav", "b.wav", "--stems", "voice") == 2
    assert error_line(capsys).startswith("stems: this model has no voice")


@pytest.mark.parametrize("name", ["..wav", "...wav"])
def test_a_file_that_names_no_folder(model, capsys, name):
    write("film.wav")
    os.rename("film.wav", name)
    assert separate(name, "--output", "out") == 2
    assert error_line(capsys) == (
        f"{name}: names no folder for its stems; rename it"
    )
    assert found() == [name]


@pytest.mark.parametrize("other", ["b/x.wav", "a/x.flac", "a/x.wav"])
def test_files_with_one_name_are_refused_before_anything(model, capsys, other):
    write("a/x.wav")
    write(other, subtype="PCM_16")
    assert separate("a/x.wav", other) == 2
    assert error_line(capsys).startswith(f"a/x.wav and {other} would both")
    assert model.computed == []


def test_unwritable_output_is_found_before_loading(
    capsys, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    write("film.wav")
    # Root may write anywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert separate("film.wav") == 2
    assert "no permission to write" in error_line(capsys)
