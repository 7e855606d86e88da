"""`separate_file`: what is read, written, refused and left alone."""

import os
import pathlib

import numpy as np
import pytest
import soundfile

from keras_bandit.inference import check_file, files, separate_file
from keras_bandit.media import AudioFileError, open_source
from keras_bandit.media.writing import WavWriter

from ..gains import Gains

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(name, num_channels=1, num_samples=4000, rate=8000, **kwargs):
    """Writes noise within ±0.5; returns it as `(channels, samples)`."""
    rng = np.random.default_rng(0)
    audio = rng.uniform(-0.5, 0.5, (num_samples, num_channels))
    soundfile.write(name, audio, rate, **{"subtype": "FLOAT", **kwargs})
    return read(name)


def read(name):
    """Reads a file as `(channels, samples)`."""
    return soundfile.read(name, always_2d=True)[0].T


def written(folder="out"):
    return sorted(os.listdir(folder))


@pytest.mark.parametrize(
    ("num_channels", "rate"), [(1, 8000), (2, 22050), (6, 48000), (1, 96000)]
)
def test_stems_have_the_source_s_rate_channels_and_length(num_channels, rate):
    write("film.wav", num_channels, 5001, rate)
    done = separate_file("film.wav", "a/out", Gains())
    assert written("a/out") == ["effects.wav", "music.wav", "speech.wav"]
    assert done.recording == open_source("film.wav")
    for stem in Gains().stems:
        assert done.paths[stem] == pathlib.Path(f"a/out/{stem}.wav")
        info = soundfile.info(done.paths[stem])
        assert (info.samplerate, info.channels) == (rate, num_channels)
        assert (info.frames, info.subtype) == (5001, done.subtype)


@pytest.mark.parametrize(
    ("source", "options", "expected"),
    [
        (("x.wav", "PCM_16"), {}, ("wav", "PCM_16")),
        (("x.wav", "PCM_32"), {}, ("wav", "FLOAT")),
        (("x.wav", "PCM_16"), {"subtype": "FLOAT"}, ("wav", "FLOAT")),
        (("x.ogg", "VORBIS"), {}, ("wav", "FLOAT")),
        (("x.wav", "FLOAT"), {"file_format": "flac"}, ("flac", "PCM_24")),
    ],
)
def test_formats(source, options, expected):
    mixture = write(source[0], 2, subtype=source[1])
    done = separate_file(source[0], "out", Gains(), **options)
    path = f"out/speech.{expected[0]}"
    assert soundfile.info(path).subtype == done.subtype == expected[1]
    # Half a step of 16 bits.
    np.testing.assert_allclose(
        read(path), 0.5 * mixture, rtol=0, atol=2**-16 + 1e-7
    )


def test_clipping_is_reported_and_float_keeps():
    model = Gains(gains={"loud": 4.0, "soft": 0.5})
    mixture = write("film.wav", subtype="PCM_16")
    beyond = np.count_nonzero(np.abs(4 * mixture) > 1)
    peak = 20 * np.log10(4 * np.abs(mixture).max())
    assert separate_file("film.wav", "out", model).warnings == [
        f"out/loud.wav: peaks at {peak:+.2f} dBFS, {beyond} samples clipped to "
        "full scale in PCM_16; FLOAT (wav) keeps them"
    ]
    assert np.abs(read("out/loud.wav")).max() == 1
    done = separate_file(
        "film.wav", "out", model, subtype="FLOAT", overwrite=True
    )
    assert done.warnings == []
    np.testing.assert_allclose(read("out/loud.wav"), 4 * mixture, atol=1e-6)


def test_a_decoder_s_complaints_are_reported(monkeypatch):
    write("film.wav")
    blocks = files.SoundFile.blocks

    def damaged(self):
        yield from blocks(self)
        self._warn("resync (2 such notes)")

    monkeypatch.setattr(files.SoundFile, "blocks", damaged)
    done = separate_file("film.wav", "out", Gains())
    assert done.warnings == ["film.wav: resync (2 such notes)"]


def test_nothing_is_printed_but_the_bar(capfd):
    write("film.wav", subtype="PCM_16")
    separate_file("film.wav", "out", Gains(gains={"loud": 4.0}))
    assert capfd.readouterr() == ("", "")
    for progress, label in [(True, "film.wav: 100%"), ("1 of 2", "1 of 2: ")]:
        separate_file(
            "film.wav", "out", Gains(), progress=progress, overwrite=True
        )
        shown = capfd.readouterr()
        assert label in shown.err
        assert shown.out == ""


# Stems


def test_stems_that_are_not_chosen_are_not_computed():
    write("film.wav")
    model = Gains()
    separate_file("film.wav", "out", model, stems=["music"])
    assert written() == ["music.wav"]
    assert set(map(tuple, model.computed)) == {("music",)}


@pytest.mark.parametrize("stems", [None, ["music"]])
def test_residual_is_the_mixture_minus_the_written_stems(stems):
    mixture = write("film.wav", 2, rate=44100)
    separate_file("film.wav", "out", Gains(), stems=stems, residual=True)
    assert len(written()) == (4 if stems is None else 2)
    # Exact to float32's step though the stems were resampled.
    total = sum(read(f"out/{name}") for name in written())
    np.testing.assert_allclose(total, mixture, atol=2e-7)


@pytest.mark.parametrize("effects", ["effects", "sfx"])
def test_mne_is_music_plus_effects(effects):
    model = Gains(gains={"speech": 0.5, "music": 0.25, effects: 0.125})
    mixture = write("film.wav")
    done = separate_file("film.wav", "out", model, mne=True)
    assert list(done.paths) == ["speech", "music", effects, "mne"]
    np.testing.assert_allclose(read("out/mne.wav"), 0.375 * mixture, atol=1e-6)


def test_what_mne_needs_is_computed_and_only_what_was_asked_is_written():
    mixture = write("film.wav")
    options = {"stems": ["speech", "effects"], "mne": True, "residual": True}
    done = separate_file("film.wav", "out", Gains(), **options)
    assert done.choice.computed == ["speech", "effects", "music"]
    assert written() == ["effects.wav", "mne.wav", "residual.wav", "speech.wav"]
    for name in ("mne", "residual"):
        np.testing.assert_allclose(
            read(f"out/{name}.wav"), 0.375 * mixture, atol=1e-6
        )
    # A separator of these stems is taken as it is.
    few = Gains().with_stems(done.choice.computed)
    few.with_stems = None
    separate_file("film.wav", "few", few, **options)
    np.testing.assert_array_equal(read("few/mne.wav"), read("out/mne.wav"))


def test_mixture_consistency_is_of_all_stems():
    mixture = write("film.wav", 2, rate=44100)
    options = {"mixture_consistency": True}
    separate_file("film.wav", "out", Gains(), **options)
    total = sum(read(f"out/{name}") for name in written())
    np.testing.assert_allclose(total, mixture, atol=2e-7)
    separate_file("film.wav", "one", Gains(), stems=["music"], **options)
    assert written("one") == ["music.wav"]
    np.testing.assert_array_equal(read("one/music.wav"), read("out/music.wav"))


# Nothing is overwritten or left half-done


def test_existing_files_are_kept_unless_overwrite():
    mixture, kept = write("film.wav"), pathlib.Path("out/music.wav")
    kept.parent.mkdir()
    kept.write_text("mine")
    model = Gains()
    with pytest.raises(FileExistsError) as caught:
        separate_file("film.wav", "out", model)
    assert (caught.value.filename, caught.value.strerror) == (
        str(kept),
        "already there",
    )
    assert kept.read_text() == "mine"
    assert model.computed == []
    separate_file("film.wav", "out", model, overwrite=True)
    np.testing.assert_allclose(read(kept), 0.25 * mixture, atol=1e-6)


def test_file_that_appears_while_computing_is_kept():
    write("film.wav")
    model, other = Gains(), pathlib.Path("out/music.wav")

    def predict_while_another_writes(batch):
        other.parent.mkdir(parents=True, exist_ok=True)
        other.write_text("another's")
        return {stem: batch for stem in model.stems}

    model.predict_on_batch = predict_while_another_writes
    with pytest.raises(FileExistsError, match=r"File exists: 'out/music\.wav'"):
        separate_file("film.wav", "out", model)
    assert other.read_text() == "another's"
    assert written() == ["music.wav"]


def test_a_stem_never_replaces_an_input():
    for name in ("speech.wav", "music.wav"):
        write(name)
    os.symlink("music.wav", "link.wav")
    for source, inputs in [
        ("speech.wav", []),
        ("link.wav", []),
        ("speech.wav", ["music.wav"]),
    ]:
        with pytest.raises(
            AudioFileError, match=rf"^{source}: .* would replace an input"
        ):
            separate_file(source, ".", Gains(), overwrite=True, inputs=inputs)
    assert soundfile.info("music.wav").frames == 4000


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), OSError(28, "No space left on device")]
)
def test_breaking_off_while_writing_leaves_nothing(monkeypatch, there, error):
    write("film.wav")
    if there:
        pathlib.Path("out").mkdir()
        pathlib.Path("out/notes.txt").touch()
    before = sorted(map(str, pathlib.Path().rglob("*")))
    write_block = WavWriter.write
    seen = []

    def break_off_at_the_second(writer, audio):
        write_block(writer, audio)
        seen.append(writer)
        if len(seen) == 2:
            raise error

    monkeypatch.setattr(WavWriter, "write", break_off_at_the_second)
    with pytest.raises(type(error)):
        separate_file("film.wav", "out" if there else "out/deep", Gains())
    assert len(seen) == 2
    assert sorted(map(str, pathlib.Path().rglob("*"))) == before


def test_a_disk_without_room_is_refused_before(monkeypatch):
    write("film.wav", subtype="PCM_16")
    usage = files.shutil.disk_usage(".")._replace(free=1000)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: usage)
    model = Gains()
    with pytest.raises(OSError, match=r"24,000 bytes.*1,000 are free.*out"):
        separate_file("film.wav", "out", model)
    assert not model.shapes
    assert not pathlib.Path("out").exists()


# Bad input


def zeros_but(value):
    def make(name):
        audio = np.zeros((8000, 2))
        audio[2000, 1] = value
        soundfile.write(name, audio, 8000, subtype="FLOAT")

    return make


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda name: None, "No such file"),
        (os.mkdir, "a directory"),
        (
            lambda name: pathlib.Path(name).write_text("x" * 99),
            "not a media file",
        ),
        (lambda name: write(name, num_samples=0), "zero length"),
        (zeros_but(np.nan), r"nan in channel 1, sample 2000 \(0\.250 s"),
        (zeros_but(-np.inf), "-inf in channel 1, sample 2000"),
        (lambda name: write(name, 6), "audio must have 2 channels"),
    ],
    ids=["missing", "folder", "text", "empty", "nan", "infinity", "channels"],
)
def test_bad_files_are_named(make, message):
    make("bad.wav")
    with pytest.raises(AudioFileError, match=f"^bad.wav: .*{message}"):
        separate_file("bad.wav", "out", Gains(2))
    assert not os.path.exists("out")


def test_a_model_that_gives_nan_names_the_file():
    write("film.wav")
    model = Gains(gains={"speech": np.nan})
    with pytest.raises(
        FloatingPointError, match=r"^film.wav: .* speech is not"
    ):
        separate_file("film.wav", "out", model)
    assert not os.path.exists("out")


def test_a_bug_is_not_taken_for_a_bad_file():
    write("film.wav")

    def fail(batch):
        raise ValueError("shapes do not match")

    model = Gains()
    model.predict_on_batch = fail
    with pytest.raises(ValueError, match=r"^shapes do not match$"):
        separate_file("film.wav", "out", model)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stems": ["speech", "voice"]}, "no voice; it has speech, residual"),
        ({"mne": True}, "mne needs the stems music and effects"),
        ({"residual": True}, "residual: this model has a stem of that name"),
        ({"file_format": "mp3"}, "file_format must be one of wav, flac"),
        ({"file_format": "flac", "subtype": "FLOAT"}, "PCM_24; got FLOAT"),
        ({"chunk_seconds": 0.01}, "at least 256 samples"),
        ({"hop_seconds": 0.2}, "hop_seconds must be at most chunk_seconds"),
        ({"output": "film.wav"}, "film.wav"),
        ({"output": "film.wav/out"}, "film.wav"),
    ],
)
@pytest.mark.parametrize("function", [check_file, separate_file])
def test_bad_arguments_are_found_before_computing(options, message, function):
    write("film.wav")
    model = Gains(gains={"speech": 1.0, "residual": 1.0})
    options = {"output": "out", **options}
    with pytest.raises((ValueError, NotADirectoryError), match=message):
        function("film.wav", separator=model, **options)
    assert model.computed == []
    assert os.listdir() == ["film.wav"]


def test_mixture_consistency_of_one_stem_is_refused():
    write("film.wav")
    with pytest.raises(ValueError, match="mixture_consistency needs two"):
        separate_file(
            "film.wav",
            "out",
            Gains(gains={"music": 1.0}),
            mixture_consistency=True,
        )


def test_check_without_a_model():
    write("film.wav", 2)
    checked = check_file("film.wav", "out", stems=["whatever"])
    assert (checked.subtype, checked.recording.num_channels) == ("FLOAT", 2)
    assert os.listdir() == ["film.wav"]
    with pytest.raises(AudioFileError, match="No such file"):
        check_file("none.wav", "out")


def test_output_that_may_not_be_written(monkeypatch):
    write("film.wav")
    # Root may write anywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match="no permission to write there"):
        check_file("film.wav", "out")
