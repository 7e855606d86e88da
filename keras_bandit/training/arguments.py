"""Command lines of recipes: an option for every entry of a configuration."""

import argparse
import math
import pathlib

# All other numbers are positive.
MAY_BE_ZERO = {
    "copies_at_speeds",
    "gain_db",
    "generated_clips",
    "num_workers",
    "patience",
    "speed_octaves",
    "warmup_steps",
}


def _names(text):
    return [name.strip() for name in text.split(",") if name.strip()]


def _optional(kind):
    """Parses `none` as `None`, all else as `kind`."""

    def parse(text):
        return None if text.lower() == "none" else kind(text)

    parse.__name__ = kind.__name__  # what argparse calls a bad value
    return parse


def _number(kind, may_be_zero):
    def parse(text):
        value = kind(text)
        if not (0 < value < math.inf or (may_be_zero and value == 0)):
            accepted = "at least 0" if may_be_zero else "positive"
            raise argparse.ArgumentTypeError(f"must be {accepted}; got {text}")
        return value

    parse.__name__ = kind.__name__
    return parse


def _add_option(parser, name, value):
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        parser.add_argument(
            flag, action=argparse.BooleanOptionalAction, default=value
        )
        return
    if isinstance(value, (list, tuple)):
        kind, shown = _names, ",".join(value)
    else:
        kind, shown = str if value is None else type(value), value
        if kind in (int, float):
            kind = _number(kind, name in MAY_BE_ZERO)
        kind = _optional(kind)
    parser.add_argument(
        flag, type=kind, default=value, metavar="X", help=f"default: {shown}"
    )


def parse_recipe(argv, doc, config, *positional):
    """Parses a recipe's command line.

    Every recipe has `--data-dir` (where `keras-bandit prepare` put the data),
    `--output` (the run's directory; given again, the run goes on) and
    `--seed`. Each entry of its configuration is an option of the same name
    with the entry as default; `none` stands for `None`, lists are names
    separated by commas. Numbers are positive, or zero where `MAY_BE_ZERO`
    has their name.

    Args:
        argv: list of str, or `None`: those of the process.
        doc: str. The recipe's docstring; its first line is the description,
            the whole is shown by `--help`.
        config: dict of bool, int, float, str, list of str or `None`. Entries
            that are dicts stay as they are, without an option.
        *positional: names of required paths, `--NAME`.

    Returns:
        `(config, arguments)`: the configuration with what was given, and the
        other arguments.
    """
    parser = argparse.ArgumentParser(
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name in ("data-dir", "output", *positional):
        parser.add_argument(
            f"--{name}", type=pathlib.Path, required=True, metavar="PATH"
        )
    parser.add_argument("--seed", type=int, default=42)
    options = {k: v for k, v in config.items() if not isinstance(v, dict)}
    for name, value in options.items():
        _add_option(parser, name, value)
    arguments = parser.parse_args(argv)
    given = {name: getattr(arguments, name) for name in options}
    return {**config, **given}, arguments
