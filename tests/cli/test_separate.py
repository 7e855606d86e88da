"""`keras-bandit separate`, on generated files and a model of gains."""

import os
import pathlib
import sys

import numpy as np
import pytest
import soundfile
from command_line import error_line, found, read, separate, write


@pytest.mark.parametrize("num_channels", [1, 2, 6])
@pytest.mark.parametrize("rate", [8000, 22050, 48000, 96000])
def test_stems_have_the_input_s_rate_channels_and_length(
    model, num_channels, rate
):
    write("film.wav", num_channels, 5001, rate)
    assert separate("film.wav", "--quiet") == 0
    assert found("separated") == [
        f"film/{stem}.wav" for stem in sorted(model.stems)
    ]
    for stem in model.stems:
        info = soundfile.info(f"separated/film/{stem}.wav")
        assert (info.samplerate, info.channels) == (rate, num_channels)
        assert (info.frames, info.subtype) == (5001, "FLOAT")


def test_stems_are_the_model_s(model):
    mixture = write("film.wav", 2)
    assert separate("film.wav", "--output", "out/here", "--quiet") == 0
    for stem, gain in model.gains.items():
        np.testing.assert_allclose(
            read(f"out/here/film/{stem}.wav"), gain * mixture, atol=1e-6
        )


@pytest.mark.parametrize(
    ("source", "args", "written"),
    [
        (("x.wav", "PCM_16"), [], ("wav", "PCM_16")),
        (("x.wav", "PCM_24"), [], ("wav", "PCM_24")),
        (("x.wav", "PCM_32"), [], ("wav", "FLOAT")),
        (("x.wav", "PCM_16"), ["--subtype", "FLOAT"], ("wav", "FLOAT")),
        (("x.flac", "PCM_16"), [], ("wav", "PCM_16")),
        (("x.ogg", "VORBIS"), [], ("wav", "FLOAT")),
        (("x.wav", "FLOAT"), ["--format", "flac"], ("flac", "PCM_24")),
        (("x.wav", "PCM_16"), ["--format", "flac"], ("flac", "PCM_16")),
    ],
)
def test_formats(model, source, args, written):
    name, subtype = source
    file_format, chosen = written
    mixture = write(name, 2, subtype=subtype)
    assert separate(name, "--quiet", *args) == 0
    path = f"separated/x/speech.{file_format}"
    assert soundfile.info(path).subtype == chosen
    # Half a step of 16 bits.
    np.testing.assert_allclose(
        read(path), 0.5 * mixture, rtol=0, atol=2**-16 + 1e-7
    )


def test_clipping_is_reported_and_float_keeps(model, capsys):
    model.gains = {"loud": 4.0, "soft": 0.5}
    mixture = write("film.wav", subtype="PCM_16")
    beyond = np.count_nonzero(np.abs(4 * mixture) > 1)
    assert separate("film.wav", "--quiet") == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    peak = 20 * np.log10(4 * np.abs(mixture).max())
    assert captured.err == (
        "keras-bandit: warning: separated/film/loud.wav: peaks at "
        f"{peak:+.2f} dBFS, {beyond} samples clipped to full scale in "
        "PCM_16; --subtype FLOAT (wav) keeps them\n"
    )
    assert np.abs(read("separated/film/loud.wav")).max() == 1

    args = ["--quiet", "--subtype", "FLOAT", "--overwrite"]
    assert separate("film.wav", *args) == 0
    assert capsys.readouterr().err == ""
    np.testing.assert_allclose(
        read("separated/film/loud.wav"), 4 * mixture, atol=1e-6
    )


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
    assert "22/22" in shown  # eleven chunks of two channels
    assert separate("film.wav", "--quiet", "--overwrite") == 0
    assert capsys.readouterr().err == ""


# Nothing is overwritten or left half-done


def test_existing_files_are_kept_unless_overwrite(model, capsys):
    mixture = write("film.wav")
    kept = pathlib.Path("separated/film/music.wav")
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    assert separate("film.wav", "--quiet") == 2
    assert error_line(capsys) == f"{kept}: already there; --overwrite replaces"
    assert kept.read_text() == "mine"
    assert model.computed == []
    assert separate("film.wav", "--overwrite", "--quiet") == 0
    np.testing.assert_allclose(read(kept), 0.25 * mixture, atol=1e-6)


def test_file_that_appears_while_computing_is_kept(model, capsys):
    write("film.wav")
    other = pathlib.Path("separated/film/music.wav")

    def predict_while_another_writes(batch):
        other.parent.mkdir(parents=True, exist_ok=True)
        other.write_text("another's")
        return {stem: batch for stem in model.stems}

    model.predict_on_batch = predict_while_another_writes
    assert separate("film.wav", "--quiet") == 2
    assert error_line(capsys) == f"{other}: File exists"
    assert other.read_text() == "another's"
    assert found() == ["film.wav", str(other)]


def test_a_stem_never_replaces_an_input(model, capsys):
    write("separated/speech/speech.wav")
    assert separate("separated/speech/speech.wav", "--overwrite") == 2
    assert "would replace an input" in error_line(capsys)

    write("film.wav")
    write("separated/film/music.wav")
    files = ["film.wav", "separated/film/music.wav"]
    assert separate(*files, "--overwrite", "--quiet") == 1
    assert error_line(capsys).startswith(
        "film.wav: its stem separated/film/music.wav would replace an input"
    )


def test_interruption_while_computing_leaves_nothing(model, capsys):
    write("film.wav")

    def interrupt(batch):
        raise KeyboardInterrupt

    model.predict_on_batch = interrupt
    assert separate("film.wav") == 130
    assert capsys.readouterr() == ("", "keras-bandit: interrupted\n")
    assert found() == ["film.wav"]


def test_interruption_while_writing_leaves_nothing(model, monkeypatch):
    from keras_bandit.inference import audio

    write("film.wav")
    write_audio = audio.write_audio
    written = []

    def interrupt_the_second(path, *args):
        write_audio(path, *args)
        written.append(path)
        if len(written) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(audio, "write_audio", interrupt_the_second)
    assert separate("film.wav") == 130
    assert len(written) == 2
    assert os.listdir() == ["film.wav"]


def test_error_while_writing_leaves_nothing(model, monkeypatch, capsys):
    from keras_bandit.inference import audio

    write("film.wav")

    def fill_the_disk(path, *args):
        path.write_text("half")
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(audio, "write_audio", fill_the_disk)
    assert separate("film.wav", "--quiet") == 2
    assert error_line(capsys).endswith("No space left on device")
    assert os.listdir() == ["film.wav"]
    pathlib.Path("separated").mkdir()
    pathlib.Path("separated/notes.txt").touch()
    assert separate("film.wav", "--quiet") == 2
    assert os.listdir("separated") == ["notes.txt"]


def test_bug_keeps_its_traceback(model):
    write("film.wav")

    def fail(batch):
        raise ValueError("shapes do not match")

    model.predict_on_batch = fail
    with pytest.raises(ValueError, match="shapes do not match"):
        separate("film.wav")


# Bad input


def write_with(value):
    def make(name):
        audio = np.zeros((8000, 2))
        audio[2000, 1] = value
        soundfile.write(name, audio, 8000, subtype="FLOAT")

    return make


BAD_FILES = {
    "missing": (lambda name: None, "No such file"),
    "directory": (os.mkdir, "a directory"),
    "text": (lambda name: pathlib.Path(name).write_text("x" * 99), "not audio"),
    "empty": (lambda name: write(name, num_samples=0), "zero length"),
    "nan": (write_with(np.nan), "nan in channel 1, sample 2000 (0.250 s"),
    "infinity": (write_with(-np.inf), "-inf in channel 1, sample 2000"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_file_alone_is_one_line_and_status_2(model, capsys, kind):
    make, message = BAD_FILES[kind]
    make("bad.wav")
    before = found()
    assert separate("bad.wav", "--quiet") == 2
    line = error_line(capsys)
    assert line.startswith("bad.wav: ")
    assert message in line
    assert found() == before


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_file_among_others_is_status_1(model, capsys, kind):
    make, message = BAD_FILES[kind]
    write("a.wav")
    make("bad.wav")
    write("c.wav")
    assert separate("a.wav", "bad.wav", "c.wav", "--quiet") == 1
    assert message in error_line(capsys)
    assert found("separated") == [
        f"{name}/{stem}.wav" for name in "ac" for stem in sorted(model.stems)
    ]


def test_a_model_that_gives_nan_does_not_stop_the_others(model, capsys):
    write("a.wav", num_samples=4000)
    soundfile.write("loud.wav", np.full(4000, 3e38), 8000, subtype="FLOAT")
    write("c.wav", num_samples=4000)
    predict = model.predict_on_batch
    model.predict_on_batch = lambda batch: predict(
        np.where(batch > 1, np.nan, batch)
    )
    assert separate("a.wav", "loud.wav", "c.wav", "--quiet") == 1
    line = error_line(capsys)
    assert line.startswith("loud.wav: the model's estimate of speech is not")
    assert {name.partition("/")[0] for name in found("separated")} == {*"ac"}


@pytest.mark.parametrize("name", ["..wav", "...wav"])
def test_a_file_that_names_no_folder(model, capsys, name):
    write("film.wav")
    os.rename("film.wav", name)
    assert separate(name, "--output", "out") == 2
    assert error_line(capsys) == (
        f"{name}: names no folder for its stems; rename it"
    )
    assert found() == [name]


def test_existing_stems_of_one_file_do_not_stop_the_others(model, capsys):
    write("a.wav")
    write("b.wav")
    assert separate("a.wav", "--quiet") == 0
    assert separate("a.wav", "b.wav", "--quiet") == 1
    assert "already there" in error_line(capsys)
    assert "b/speech.wav" in found("separated")


def test_all_files_bad_is_status_2(model, capsys):
    assert separate("a.wav", "b.wav") == 2
    assert capsys.readouterr().err.count("keras-bandit: error: ") == 2


@pytest.mark.parametrize("other", ["b/x.wav", "a/x.flac", "a/x.wav"])
def test_files_with_one_name_are_refused_before_anything(model, capsys, other):
    write("a/x.wav")
    write(other, subtype="PCM_16")
    assert separate("a/x.wav", other) == 2
    assert error_line(capsys).startswith(f"a/x.wav and {other} would both")
    assert model.computed == []


def test_unwritable_output_is_found_before_computing(
    model, capsys, monkeypatch
):
    write("film.wav")
    # Root may write anywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert separate("film.wav") == 2
    assert "no permission to write" in error_line(capsys)
    assert model.computed == []


def test_channels_that_the_model_cannot_take(model, capsys):
    model.num_channels = 2
    write("film.wav", 6)
    assert separate("film.wav") == 2
    assert error_line(capsys).startswith("film.wav: audio must have 2 channels")
