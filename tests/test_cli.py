"""The command line, on generated files and a model of gains."""

import io
import json
import os
import pathlib
import subprocess
import sys
import types

import keras
import numpy as np
import pytest
import soundfile

import keras_bandit
from keras_bandit import cli
from keras_bandit.inference import engines


class Gains:
    """Stands in for an `AudioSeparator`: each stem is the mixture, scaled."""

    sample_rate = 8000
    hop_length = 64
    backbone = types.SimpleNamespace(
        band_layout="musical", decoder_bands=lambda stem: [None] * 12
    )

    def __init__(self, gains=None, num_channels=None):
        self.gains = gains or {"speech": 0.5, "music": 0.25, "effects": 0.125}
        self.num_channels = num_channels
        self.computed = []

    @property
    def stems(self):
        return list(self.gains)

    def with_stems(self, stems):
        few = Gains({stem: self.gains[stem] for stem in stems})
        few.computed = self.computed
        return few

    def predict_on_batch(self, batch):
        self.computed.append(self.stems)
        return {stem: gain * batch for stem, gain in self.gains.items()}

    def count_params(self):
        return 1234567

    def save_to_preset(self, folder):
        os.makedirs(folder)
        for name in ("config.json", "model.weights.h5"):
            pathlib.Path(folder, name).write_text("new")


@pytest.fixture
def model(monkeypatch, tmp_path):
    """A model behind any preset, and an empty working directory."""
    model = Gains()
    monkeypatch.setattr(cli, "load_separator", lambda preset: model)
    monkeypatch.chdir(tmp_path)
    return model


def write(name, num_channels=1, num_samples=4000, rate=8000, **kwargs):
    """Writes noise within ±0.5; returns it as `(channels, samples)`."""
    rng = np.random.default_rng(0)
    audio = rng.uniform(-0.5, 0.5, (num_samples, num_channels))
    pathlib.Path(name).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(name, audio, rate, **{"subtype": "FLOAT", **kwargs})
    return soundfile.read(name, always_2d=True)[0].T


def read(name):
    return soundfile.read(name, always_2d=True)[0].T


def separate(*args):
    own = ["--preset", "p", "--chunk-seconds", "0.1", "--engine", "keras"]
    return cli.main(["separate", *own, *args])


def found(folder="."):
    """Files below a folder, as sorted relative names, hidden ones too."""
    return sorted(
        str(path.relative_to(folder))
        for path in pathlib.Path(folder).rglob("*")
        if path.is_file()
    )


def error_line(capsys):
    """The one line of an error, without the program's name."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith("\n")
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("keras-bandit: error: ")
    return captured.err.removeprefix("keras-bandit: error: ").rstrip()


# Separation


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


def test_mixture_consistency_is_of_all_stems(model):
    mixture = write("film.wav", 2, rate=44100)
    consistent = ("film.wav", "--mixture-consistency", "--quiet")
    assert separate(*consistent) == 0
    stems = [read(f"separated/film/{stem}.wav") for stem in model.stems]
    np.testing.assert_allclose(sum(stems), mixture, atol=2e-7)

    assert separate(*consistent, "--stems", "music", "--output", "one") == 0
    assert found("one") == ["film/music.wav"]
    np.testing.assert_array_equal(read("one/film/music.wav"), stems[1])


def test_mixture_consistency_of_one_stem_is_refused(model, capsys):
    write("film.wav")
    del model.gains["music"], model.gains["effects"]
    assert separate("film.wav", "--mixture-consistency") == 2
    assert "--mixture-consistency: mixture consistency needs two" in error_line(
        capsys
    )
    assert found() == ["film.wav"]


def test_residual_is_the_mixture_minus_the_written_stems(model):
    mixture = write("film.wav", 2, rate=44100)
    assert separate("film.wav", "--residual", "--quiet") == 0
    stems = [read(f"separated/film/{stem}.wav") for stem in model.stems]
    residual = read("separated/film/residual.wav")
    # Exact to float32's step though the stems were resampled.
    np.testing.assert_allclose(sum(stems) + residual, mixture, atol=2e-7)

    assert (
        separate(
            "film.wav",
            "--residual",
            "--stems",
            "music",
            "--quiet",
            "--output",
            "two",
        )
        == 0
    )
    assert found("two") == ["film/music.wav", "film/residual.wav"]
    np.testing.assert_allclose(
        read("two/film/music.wav") + read("two/film/residual.wav"),
        mixture,
        atol=2e-7,
    )


@pytest.mark.parametrize("effects", ["effects", "sfx"])
def test_mne_is_music_plus_effects(model, effects):
    model.gains = {"speech": 0.5, "music": 0.25, effects: 0.125}
    mixture = write("film.wav")
    assert separate("film.wav", "--mne", "--quiet") == 0
    names = sorted(["mne", "music", "speech", effects])
    assert found("separated") == [f"film/{name}.wav" for name in names]
    np.testing.assert_allclose(
        read("separated/film/mne.wav"), 0.375 * mixture, atol=1e-6
    )


def test_mne_with_stems_computes_what_it_needs_and_writes_what_was_asked(model):
    mixture = write("film.wav")
    args = ["--mne", "--stems", "speech,effects", "--residual", "--quiet"]
    assert separate("film.wav", *args) == 0
    assert found("separated") == [
        f"film/{name}.wav" for name in ["effects", "mne", "residual", "speech"]
    ]
    np.testing.assert_allclose(
        read("separated/film/mne.wav"), 0.375 * mixture, atol=1e-6
    )
    np.testing.assert_allclose(
        read("separated/film/residual.wav"), 0.375 * mixture, atol=1e-6
    )


def test_only_the_chosen_stems_are_computed(model):
    write("film.wav")
    assert separate("film.wav", "--stems", "music", "--quiet") == 0
    assert found("separated") == ["film/music.wav"]
    assert set(map(tuple, model.computed)) == {("music",)}


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


class FullDisk(io.StringIO):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def flush(self):
        raise self.error


FULL = OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (FULL, "keras-bandit: error: standard output: No space left\n"),
        (BrokenPipeError(32, "Broken pipe"), ""),
    ],
)
def test_output_that_cannot_be_printed(
    model, capsys, monkeypatch, error, message
):
    write("a.wav")
    write("b.wav")
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", FullDisk(error))
        assert separate("a.wav", "b.wav") == 1
    assert capsys.readouterr().err.replace(" on device", "") == message
    assert len(found("separated")) == 6
    assert separate("a.wav", "--quiet", "--overwrite") == 0


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


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--stems", "speech,voice"], "no voice; it has speech, music, eff"),
        (["--stems", ","], "names separated by commas"),
        (["--hop-seconds", "0.2"], "at most --chunk-seconds; got 0.2 and 0.1"),
        (["--hop-seconds", "0"], "--hop-seconds: must be a positive"),
        (["--hop-seconds", "nan"], "--hop-seconds: must be a positive"),
        (["--chunk-seconds", "x"], "--chunk-seconds: must be a positive"),
        (["--chunk-seconds", "0.01"], "at least 256 samples"),
        (["--batch-size", "0"], "--batch-size: must be a positive integer"),
        (["--batch-size", "1.5"], "--batch-size: must be a positive integer"),
        (["--format", "mp3"], "invalid choice: 'mp3'"),
        (["--format", "flac", "--subtype", "FLOAT"], "PCM_16, PCM_24; got F"),
        (["--output", "film.wav"], "film.wav: not a directory"),
        (["--output", ""], "--output: must be a directory's path; got ''"),
        (["--colour"], "unrecognized arguments: --colour"),
    ],
)
def test_bad_arguments_are_one_line_and_status_2(model, capsys, args, message):
    write("film.wav")
    assert separate("film.wav", *args) == 2
    assert message in error_line(capsys)
    assert found() == ["film.wav"]
    assert model.computed == []


@pytest.mark.parametrize(
    "argv",
    [
        ["separate", "film.wav", "--preset", "bandit_demo", "--engine-cache"],
        ["convert", "x.ckpt"],
        ["prepare", "dnr", "--data-dir", "data", "--manual-dir"],
        ["prepare", "dnr", "--manual-dir", "dnr", "--data-dir"],
        ["evaluate", "--preset", "bandit_demo", "--data-dir"],
        ["evaluate", "--preset", "p", "--data-dir", "data", "--output"],
    ],
)
def test_an_empty_folder_is_not_the_current_one(
    tmp_path, monkeypatch, capsys, argv
):
    monkeypatch.chdir(tmp_path)
    assert cli.main([*argv, ""]) == 2
    assert "must be a directory's path; got ''" in error_line(capsys)
    assert found() == []


def test_unwritable_output_is_found_before_computing(
    model, capsys, monkeypatch
):
    write("film.wav")
    # Root may write anywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert separate("film.wav") == 2
    assert "no permission to write" in error_line(capsys)
    assert model.computed == []


def test_mne_needs_music_and_effects(model, capsys):
    model.gains = {"speech": 1.0, "music": 1.0}
    write("film.wav")
    assert separate("film.wav", "--mne") == 2
    assert "--mne needs the stems music and effects" in error_line(capsys)


def test_derived_stem_never_replaces_one_of_the_model(model, capsys):
    model.gains = {"speech": 1.0, "residual": 1.0}
    write("film.wav")
    assert separate("film.wav", "--residual") == 2
    assert "has a stem of that name" in error_line(capsys)


def test_channels_that_the_model_cannot_take(model, capsys):
    model.num_channels = 2
    write("film.wav", 6)
    assert separate("film.wav") == 2
    assert error_line(capsys).startswith("film.wav: audio must have 2 channels")


@pytest.mark.parametrize("argv", [[], ["separate"], ["separate", "x.wav"]])
def test_missing_arguments(capsys, argv):
    assert cli.main(argv) == 2
    assert "required" in error_line(capsys)


# Presets


@pytest.fixture
def names(monkeypatch, tmp_path):
    """Two names of presets, and a place where presets load as their name."""
    monkeypatch.setattr(cli, "import_keras", lambda: None)
    module = types.ModuleType("keras_bandit.presets")
    module.PRESETS = {"bare": {"weights": None}, "trained": {"weights": "x"}}
    module.list_presets = lambda: list(module.PRESETS)
    module.weights_directory = {"bare": None, "trained": "trained"}.get
    monkeypatch.setitem(sys.modules, "keras_bandit.presets", module)
    monkeypatch.setattr(keras_bandit, "presets", module, raising=False)
    loader = types.SimpleNamespace(from_preset=lambda preset: preset)
    monkeypatch.setattr(keras_bandit, "AudioSeparator", loader, raising=False)
    monkeypatch.chdir(tmp_path)
    return loader


@pytest.mark.parametrize("preset", ["trained", "hf://someone/model"])
def test_names_and_urls_are_loaded(names, preset):
    assert cli.load_separator(preset) == preset


@pytest.mark.parametrize("name", ["presets/mine", "bare", "trained"])
def test_directory_goes_before_a_name(names, tmp_path, name):
    (tmp_path / name).mkdir(parents=True)
    (tmp_path / name / "config.json").touch()
    assert cli.load_separator(name) == str(tmp_path / name)


def test_bad_presets(names, tmp_path):
    (tmp_path / "folder").mkdir()
    for preset, message in [
        ("bare", "preset bare has an architecture but no trained weights"),
        ("nothing", "preset nothing: no such directory, and no such name"),
        ("folder", "folder: not a preset directory"),
    ]:
        with pytest.raises(cli.CommandError, match=message):
            cli.load_separator(preset)


def test_preset_that_does_not_load_is_one_line(names):
    def refuse(preset):
        raise ValueError("several\nlines")

    names.from_preset = refuse
    with pytest.raises(cli.CommandError, match="trained: several lines"):
        cli.load_separator("trained")


def test_presets_prints_the_table(monkeypatch, capsys):
    monkeypatch.setattr(cli, "import_keras", lambda: None)
    module = types.ModuleType("keras_bandit.preset_table")
    module.preset_table = lambda: "name  parameters"
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert cli.main(["presets"]) == 0
    assert capsys.readouterr() == ("name  parameters\n", "")


# Conversion


@pytest.fixture
def converter(monkeypatch, tmp_path):
    """A converter that gives the model of gains, and a checkpoint."""
    monkeypatch.setattr(cli, "import_keras", lambda: None)
    module = types.ModuleType("keras_bandit.convert")

    def from_checkpoint(path, sample_rate):
        gains = Gains()
        gains.sample_rate = sample_rate or gains.sample_rate
        return gains

    module.from_checkpoint = from_checkpoint
    monkeypatch.setitem(sys.modules, "keras_bandit.convert", module)
    monkeypatch.setattr(keras_bandit, "convert", module, raising=False)
    monkeypatch.chdir(tmp_path)
    pathlib.Path("x.ckpt").touch()
    return module


def test_convert_says_what_was_found(converter, capsys):
    assert cli.main(["convert", "x.ckpt", "a/preset"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "x.ckpt -> a/preset",
        "  class       Gains",
        "  bands       12 musical",
        "  stems       speech, music, effects",
        "  rate        8000 Hz",
        "  channels    any number",
        "  parameters  1,234,567",
    ]
    assert found("a") == ["preset/config.json", "preset/model.weights.h5"]
    assert os.listdir("a") == ["preset"]


def test_convert_passes_the_sample_rate_on(converter, capsys):
    assert cli.main(["convert", "x.ckpt", "a", "--sample-rate", "96000"]) == 0
    assert "rate        96000 Hz" in capsys.readouterr().out


def test_convert_into_an_empty_directory(converter):
    os.mkdir("preset")
    assert cli.main(["convert", "x.ckpt", "preset"]) == 0
    assert found("preset") == ["config.json", "model.weights.h5"]


def test_convert_replaces_presets_only_with_overwrite(converter, capsys):
    os.mkdir("preset")
    for name in ("config.json", "decoder_old.weights.h5"):
        pathlib.Path("preset", name).write_text("old")
    assert cli.main(["convert", "x.ckpt", "preset"]) == 2
    assert error_line(capsys) == "preset: already there; --overwrite replaces"
    assert cli.main(["convert", "x.ckpt", "preset", "--overwrite"]) == 0
    assert found() == [
        "preset/config.json",
        "preset/model.weights.h5",
        "x.ckpt",
    ]
    assert pathlib.Path("preset/config.json").read_text() == "new"


def test_convert_never_replaces_another_directory(converter, capsys):
    os.mkdir("home")
    pathlib.Path("home/letters").write_text("dear")
    assert cli.main(["convert", "x.ckpt", "home", "--overwrite"]) == 2
    assert "not a preset directory" in error_line(capsys)
    assert cli.main(["convert", "x.ckpt", "x.ckpt", "--overwrite"]) == 2
    assert "x.ckpt: not a directory" in error_line(capsys)
    assert found() == ["home/letters", "x.ckpt"]


def test_bands_of_each_stem_are_named(model):
    model.backbone = types.SimpleNamespace(
        band_layout={"speech": "bass", "music": [(0, 9)], "effects": "bass"},
        decoder_bands=lambda stem: [None] * len(stem),
    )
    assert cli._describe_bands(model) == (
        "speech: 6 bass, music: 5 own, effects: 7 bass"
    )


def test_convert_refuses_a_bad_checkpoint_in_one_line(converter, capsys):
    def refuse(path, sample_rate):
        raise ValueError("missing tensors:\n  a.weight\n  b.weight")

    converter.from_checkpoint = refuse
    assert cli.main(["convert", "x.ckpt", "preset"]) == 2
    assert error_line(capsys) == "x.ckpt: missing tensors: a.weight b.weight"
    assert found() == ["x.ckpt"]


@pytest.mark.parametrize(
    ("error", "status"), [(OSError(28, "full"), 2), (KeyboardInterrupt(), 130)]
)
def test_convert_that_breaks_off_leaves_the_former_preset(
    converter, monkeypatch, error, status
):
    os.mkdir("preset")
    pathlib.Path("preset/config.json").write_text("old")
    before = found()

    def break_off(self, folder):
        os.mkdir(folder)
        pathlib.Path(folder, "config.json").write_text("half")
        raise error

    monkeypatch.setattr(Gains, "save_to_preset", break_off)
    arguments = ["convert", "x.ckpt", "preset", "--overwrite"]
    assert cli.main(arguments) == status
    assert found() == before
    assert pathlib.Path("preset/config.json").read_text() == "old"


def test_convert_of_a_missing_checkpoint(converter, capsys):
    assert cli.main(["convert", "y.ckpt", "preset"]) == 2
    assert error_line(capsys) == "y.ckpt: No such file or directory"


# Backend and start


def test_backend_is_set_before_keras(monkeypatch):
    monkeypatch.setattr(cli.importlib.util, "find_spec", lambda name: object())
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    cli.choose_backend("jax")
    assert os.environ["KERAS_BACKEND"] == "jax"
    cli.choose_backend(None)
    assert os.environ["KERAS_BACKEND"] == "jax"


@pytest.mark.parametrize("level", [None, "0"])
def test_tensorflow_starts_quietly_unless_the_user_has_set_its_level(
    monkeypatch, capfd, level
):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "")  # put back afterwards
    del os.environ["TF_CPP_MIN_LOG_LEVEL"]
    if level:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = level

    monkeypatch.setattr(
        cli.importlib, "import_module", lambda name: os.write(2, b"no GPU\n")
    )
    cli.import_keras()
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == (level or "3")
    assert capfd.readouterr().err == ("no GPU\n" if level else "")


def test_held_back_messages_are_shown_with_an_error(capfd):
    def fail():
        with cli._hidden_stderr():
            os.write(2, b"why\n")
            raise ImportError

    with pytest.raises(ImportError):
        fail()
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "why\nafterwards\n"


def test_backend_that_is_missing_or_too_late(monkeypatch):
    monkeypatch.setattr(cli.importlib.util, "find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    with pytest.raises(cli.CommandError, match=r"keras-bandit\[jax\]"):
        cli.choose_backend("jax")
    running = types.SimpleNamespace(
        backend=types.SimpleNamespace(backend=lambda: "torch")
    )
    monkeypatch.setitem(sys.modules, "keras", running)
    with pytest.raises(cli.CommandError, match="already runs on torch"):
        cli.choose_backend("jax")


def python(*args, **options):
    return subprocess.run(
        [sys.executable, *args],
        **options,
        capture_output=True,
        text=True,
        check=False,
        cwd=pathlib.Path(__file__).parents[1],
    )


def test_help_of_the_module():
    result = python("-m", "keras_bandit", "--help")
    assert (result.returncode, result.stderr) == (0, "")
    for word in ("separate", "presets", "convert", "exit status"):
        assert word in result.stdout


def test_status_of_the_module():
    result = python("-m", "keras_bandit", "separate", "--preset")
    assert result.returncode == 2
    assert result.stderr.startswith("keras-bandit: error: ")


def test_start_imports_neither_numpy_nor_keras():
    code = (
        "import json, sys; from keras_bandit import cli; cli.build_parser(); "
        "print(json.dumps(sorted(sys.modules)))"
    )
    modules = json.loads(python("-c", code).stdout)
    assert "keras_bandit.cli" in modules
    heavy = {"numpy", "keras", "keras_hub", "soundfile", "soxr", "tqdm"}
    assert not heavy & set(modules)


BACKEND = keras.config.backend()


def test_a_separator_is_loaded_without_other_backends():
    code = (
        "import sys; from keras_bandit import cli; "
        "separator = cli.load_separator('bandit_demo'); "
        "print(*({'tensorflow', 'jax', 'torch'} & set(sys.modules))); "
        "import tensorflow, jax"
    )
    result = python("-c", code, env={**os.environ, "KERAS_BACKEND": BACKEND})
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{BACKEND}\n"


@pytest.mark.parametrize("preset", ["bandit_demo", "gs://bucket/preset"])
def test_only_remote_presets_may_need_tensorflow(preset, monkeypatch):
    # KerasHub asks TensorFlow for the file systems that it knows.
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    seen = []
    monkeypatch.setattr(
        keras_bandit.AudioSeparator,
        "from_preset",
        lambda found: seen.append(sys.modules.get("tensorflow", "free")),
    )
    cli.load_separator(preset)
    hidden = preset == "bandit_demo" and BACKEND != "tensorflow"
    assert seen == [None if hidden else "free"]
    assert "tensorflow" not in sys.modules


def test_the_command_ends_without_taking_python_apart():
    code = (
        "import atexit, sys; from keras_bandit import cli; "
        "cli.main = lambda: print('done', end='') or 3; "
        "atexit.register(lambda: print(', tidy', end='')); "
        "keep = type('Keep', (), {'__del__': lambda self: print('freed')})(); "
        "cli.run()"
    )
    result = python("-c", code)
    assert (result.returncode, result.stdout) == (3, "done, tidy")
    closed = "import os, sys; os.close(1); os.close(2); sys.stdout = None; "
    closed += "sys.stderr = None; "
    assert python("-c", closed + code).returncode == 3


# Engines


class Network(Gains):
    """Stands in for an `OpenVINOSeparator`."""

    precision = "float32"


@pytest.fixture
def engine(model, monkeypatch):
    """OpenVINO behind any preset; lists what was loaded on it."""
    loaded = []

    def load(preset, precision, cache_dir):
        loaded.append((preset, precision, cache_dir))
        return Network()

    monkeypatch.setattr(cli, "load_on_openvino", load)
    monkeypatch.setattr(engines, "has_openvino", lambda: True)
    monkeypatch.setattr(engines, "has_gpu", lambda: False)
    return loaded


@pytest.mark.parametrize(
    ("args", "loaded", "said"),
    [
        (["auto"], [("p", "float32", None)], "openvino, float32"),
        (["auto", "--backend", "torch"], [], "keras, float32"),
        (["keras"], [], None),
        (["openvino"], [("p", "float32", None)], None),
        (
            ["auto", "--precision", "bfloat16", "--engine-cache", "c"],
            [("p", "bfloat16", "c")],
            "openvino, bfloat16",
        ),
    ],
)
def test_engine_is_chosen_and_said(
    engine, capsys, monkeypatch, args, loaded, said
):
    monkeypatch.setattr(cli, "choose_backend", lambda backend: None)
    mixture = write("film.wav")
    assert separate("film.wav", "--engine", *args) == 0
    assert engine == loaded
    captured = capsys.readouterr().err
    assert captured == (
        f"keras-bandit: computing with {said}\n" if said else ""
    )
    np.testing.assert_allclose(
        read("separated/film/speech.wav"), 0.5 * mixture, atol=1e-6
    )
    assert (
        separate("film.wav", "--engine", *args, "--quiet", "--overwrite") == 0
    )
    assert capsys.readouterr().err == ""


def test_auto_says_that_keras_computes(engine, monkeypatch, capsys):
    def load(preset, precision, cache_dir):
        raise cli.NotOnOpenVINOError("got a toy", Gains())

    monkeypatch.setattr(cli, "load_on_openvino", load)
    write("film.wav")
    assert separate("film.wav", "--engine", "auto") == 0
    assert capsys.readouterr().err == (
        "keras-bandit: computing with keras, float32: got a toy\n"
    )
    args = ["--engine", "auto", "--engine-cache", "c", "--quiet"]
    assert separate("film.wav", "--overwrite", *args) == 0
    assert capsys.readouterr().err == (
        "keras-bandit: warning: --engine-cache is not used: Keras computes\n"
    )
    for args, advice in [
        (["openvino"], "--engine keras"),
        (
            ["auto", "--precision", "bfloat16"],
            "--engine keras --precision float32",
        ),
    ]:
        assert separate("film.wav", "--overwrite", "--engine", *args) == 2
        assert error_line(capsys) == f"preset p: got a toy; {advice} can"


def test_damaged_openvino_is_one_line(model, monkeypatch, capsys):
    # It is found, and its import fails.
    monkeypatch.setattr(engines, "has_openvino", lambda: True)
    monkeypatch.setattr(engines, "has_gpu", lambda: False)
    monkeypatch.setitem(sys.modules, "openvino", None)
    for name in ("separator", "graph", "runtime"):
        name = f"openvino_{name}"
        module = f"keras_bandit.inference.{name}"
        monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.delattr(keras_bandit.inference, name, raising=False)
    mixture = write("film.wav")
    assert separate("film.wav", "--engine", "auto") == 0
    said = capsys.readouterr().err
    assert said.startswith(
        "keras-bandit: computing with keras, float32: OpenVINO cannot be "
    )
    assert said.count("\n") == 1
    np.testing.assert_allclose(
        read("separated/film/speech.wav"), 0.5 * mixture, atol=1e-6
    )
    for args in (["openvino"], ["auto", "--precision", "bfloat16"]):
        assert separate("film.wav", "--overwrite", "--engine", *args) == 2
        line = error_line(capsys)
        assert line.startswith("preset p: OpenVINO cannot be imported: ")
        assert "; --engine keras" in line


def test_what_only_openvino_has_is_refused_with_keras(engine, capsys):
    write("film.wav")
    for args, message in [
        (
            ["--engine", "auto", "--backend", "jax", "--precision", "bfloat16"],
            "--precision bfloat16 is OpenVINO's; got --backend jax and "
            "--precision bfloat16",
        ),
        (
            ["--engine", "auto", "--backend", "jax", "--engine-cache", "c"],
            "--engine-cache is OpenVINO's; got --backend jax and "
            "--engine-cache c",
        ),
        (
            ["--engine", "keras", "--engine-cache", "c"],
            "--engine-cache is OpenVINO's; got --engine keras and "
            "--engine-cache c",
        ),
    ]:
        assert separate("film.wav", *args) == 2
        assert error_line(capsys) == message
    assert found() == ["film.wav"]


def test_engine_cache_is_checked_before_loading(engine, capsys):
    write("film.wav")
    args = ["--engine", "openvino", "--engine-cache", "film.wav"]
    assert separate("film.wav", *args) == 2
    assert error_line(capsys) == (
        "film.wav: not a directory; cannot write there"
    )
    assert engine == []


def test_model_that_only_keras_reads_comes_from_keras(monkeypatch, tmp_path):
    pytest.importorskip("openvino", reason="extra openvino is not installed")
    from keras_bandit.models import BSRNNAudioSeparator, BSRNNBackbone

    sizes = {"n_fft": 64, "sample_rate": 8000, "num_pairs": 1}
    backbone = BSRNNBackbone(
        ["a"], {"a": [(0, 33)]}, embed_dim=3, rnn_dim=4, **sizes
    )
    bsrnn = BSRNNAudioSeparator(backbone, ["a"], hop_length=16, mlp_dim=5)
    bsrnn.save_to_preset(tmp_path / "bsrnn")
    preset = str(tmp_path / "bsrnn")
    engine = cli.load_on_openvino(preset, "float32", None)
    assert engine.precision == "float32"
    assert engine.stems == ["a"]

    toy = Gains()
    monkeypatch.setattr(cli, "load_separator", lambda preset: toy)
    with pytest.raises(cli.NotOnOpenVINOError, match="SimpleNamespace") as info:
        cli.load_on_openvino(preset, "float32", None)
    assert info.value.separator is toy


def test_engine_that_cannot_be_had_is_one_line(model, monkeypatch, capsys):
    monkeypatch.setattr(engines, "has_openvino", lambda: False)
    write("film.wav")
    assert separate("film.wav", "--engine", "openvino") == 2
    assert error_line(capsys) == (
        "engine openvino is not installed: pip install 'keras-bandit[openvino]'"
    )
    assert separate("film.wav", "--precision", "bfloat16") == 2
    assert "needs engine='openvino'" in error_line(capsys)
    args = ["--engine", "openvino", "--backend", "torch"]
    assert separate("film.wav", *args) == 2
    assert "--backend torch and --engine openvino" in error_line(capsys)
    assert found() == ["film.wav"]


def test_bandit_is_separated_without_keras(tmp_path, monkeypatch):
    pytest.importorskip("openvino", reason="extra openvino is not installed")
    monkeypatch.chdir(tmp_path)
    write("film.wav", 1, 9000, 44100)
    command = ["separate", "film.wav", "--preset", "bandit_demo"]
    command += ["--engine", "openvino", "--chunk-seconds", "0.1"]
    code = (
        "import sys\nfrom keras_bandit import cli\n"
        f"assert cli.main({command}) == 0\n"
        "print({'keras', 'tensorflow', 'torch', 'jax'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "set()", done.stderr
    assert len(found("separated")) == 3
