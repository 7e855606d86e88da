"""Mistakes in the arguments: one line, status 2, and nothing is done."""

import pytest

from keras_bandit import cli
from keras_bandit.cli.arguments import tracks

from .command_line import error_line, found, separate, write

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--stems", "speech,voice"], "no voice; it has speech, music, eff"),
        (["--stems", ","], "names separated by commas"),
        (["--hop-seconds", "0.2"], "--hop-seconds must be at most --chunk-"),
        (["--hop-seconds", "0"], "--hop-seconds: must be a positive"),
        (["--hop-seconds", "nan"], "--hop-seconds: must be a positive"),
        (["--chunk-seconds", "x"], "--chunk-seconds: must be a positive"),
        (["--chunk-seconds", "0.01"], "at least 256 samples"),
        (["--chunk-seconds", "1e308"], "at most 86400; got '1e308'"),
        (["--batch-size", "9" * 20], "at most 65536; got '99999999999999"),
        (["--batch-size", "0"], "--batch-size: must be a positive integer"),
        (["--batch-size", "1.5"], "--batch-size: must be a positive integer"),
        (["--format", "mp3"], "invalid choice: 'mp3'"),
        (["--format", "flac", "--subtype", "FLOAT"], "PCM_16, PCM_24; got F"),
        (["--output", "film.wav"], "film.wav: not a directory"),
        (["--output", ""], "--output: must be a path; got ''"),
        (["--output", "a\0b"], "--output: must be a path; got 'a\\x00b'"),
        (["--audio-track", "0"], "must be tracks, such as 2, 1-6 or 1,2,5"),
        (["--audio-track", "2-x"], "must be tracks, such as 2, 1-6 or 1,2,5"),
        (["--audio-track", "6-1"], "must be tracks in ascending ranges"),
        (["--audio-track", "1-3,2"], "must be tracks in ascending ranges"),
        (["--audio-track", "1-6"], "no audio track 6; there is 1 (WAV"),
        (["--colour"], "unrecognized arguments: --colour"),
    ],
)
def test_bad_arguments_are_one_line_and_status_2(model, capsys, args, message):
    write("film.wav")
    assert separate("film.wav", *args) == 2
    assert message in error_line(capsys)
    assert found() == ["film.wav"]
    assert model.computed == []


def test_tracks_are_a_number_or_several():
    assert tracks("2") == 2
    assert tracks("1-6") == [1, 2, 3, 4, 5, 6]
    assert tracks("1, 2,5-6") == [1, 2, 5, 6]


@pytest.mark.parametrize(
    "argv",
    [
        ["separate", "film.wav", "--preset", "bandit_demo", "--engine-cache"],
        ["convert"],
        ["convert", "x.ckpt"],
        ["separate", "--preset", "bandit_demo"],
        ["prepare", "dnr", "--data-dir", "data", "--manual-dir"],
        ["prepare", "dnr", "--manual-dir", "dnr", "--data-dir"],
        ["evaluate", "--preset", "bandit_demo", "--data-dir"],
        ["evaluate", "--preset", "p", "--data-dir", "data", "--output"],
    ],
)
def test_an_empty_path_is_not_the_current_one(
    tmp_path, monkeypatch, capsys, argv
):
    monkeypatch.chdir(tmp_path)
    assert cli.main([*argv, ""]) == 2
    assert "must be a path; got ''" in error_line(capsys)
    assert found() == []


@pytest.mark.parametrize("argv", [[], ["separate"], ["separate", "x.wav"]])
def test_missing_arguments(capsys, argv):
    assert cli.main(argv) == 2
    assert "required" in error_line(capsys)
