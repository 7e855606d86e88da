"""Command lines of recipes."""

import pytest

from keras_bandit.training import parse_recipe

CONFIG = {
    "preset": "p",
    "batch_size": 16,
    "learning_rate": 1e-3,
    "num_workers": 0,
    "initial": None,
    "stems": ["speech", "music"],
    "mixed": False,
    "nested": {"a": 1},
}
PATHS = ["--data-dir", "data", "--output", "run"]

pytestmark = pytest.mark.once


def test_what_is_given_replaces_the_defaults():
    options = ["--batch-size", "2", "--learning-rate", "1e-4", "--mixed"]
    options += ["--stems", "music,effects", "--initial", "run/last"]
    config, arguments = parse_recipe([*PATHS, *options], "Train.", CONFIG)
    assert config == {
        **CONFIG,
        "batch_size": 2,
        "learning_rate": 1e-4,
        "mixed": True,
        "stems": ["music", "effects"],
        "initial": "run/last",
    }
    assert str(arguments.output) == "run"
    assert arguments.seed == 42


def test_none():
    config, _ = parse_recipe([*PATHS, "--preset", "none"], "Train.", CONFIG)
    assert config["preset"] is None


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--batch-size=0", "--batch-size: must be positive; got 0"),
        ("--batch-size=-1", "--batch-size: must be positive; got -1"),
        ("--batch-size=2.5", "--batch-size: invalid int value: '2.5'"),
        ("--learning-rate=nan", "must be positive; got nan"),
        ("--learning-rate=inf", "must be positive; got inf"),
        ("--learning-rate=-1", "must be positive; got -1"),
        ("--num-workers=-1", "--num-workers: must be at least 0; got -1"),
    ],
)
def test_numbers_out_of_range(option, message, capsys):
    with pytest.raises(SystemExit):
        parse_recipe([*PATHS, option], "Train.", CONFIG)
    assert message in capsys.readouterr().err


def test_zero_where_it_says_something():
    config, _ = parse_recipe([*PATHS, "--num-workers", "0"], "Train.", CONFIG)
    assert config["num_workers"] == 0
