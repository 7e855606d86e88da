"""Which stems are computed and written: some, `mne`, the residual."""

import numpy as np
import pytest
from command_line import error_line, found, read, separate, write


def test_only_the_chosen_stems_are_computed(model):
    write("film.wav")
    assert separate("film.wav", "--stems", "music", "--quiet") == 0
    assert found("separated") == ["film/music.wav"]
    assert set(map(tuple, model.computed)) == {("music",)}


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
