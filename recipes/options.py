"""Options of a command, one for each entry of a CONFIG."""

import argparse
import math


def _reader(kind, choices, may_be_zero):
    """Reads a number in range, or a word among `choices`, from text."""

    def read(text):
        value = kind(text)
        if choices and value not in choices:
            raise argparse.ArgumentTypeError(
                f"must be among {', '.join(choices)}; got {text}"
            )
        if kind is not str and not (
            0 < value < math.inf or (may_be_zero and value == 0)
        ):
            accepted = "at least 0" if may_be_zero else "positive"
            raise argparse.ArgumentTypeError(f"must be {accepted}; got {text}")
        return value

    read.__name__ = kind.__name__  # what argparse calls a bad value
    return read


def add_options(parser, config, choices=None, may_be_zero=()):
    """Adds an option for each entry of `config`, which is its default.

    `none` stands for `None`, lists are separated by commas, and `--no-NAME`
    turns a switch off. Dicts have no option.

    Args:
        parser: `argparse.ArgumentParser`.
        config: dict of bool, int, float, str, list of these, `None` or dict.
        choices: `{name: accepted words}`.
        may_be_zero: names of numbers that may be 0; all others are positive.
    """
    for name, default in config.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(default, bool):
            switch = argparse.BooleanOptionalAction
            parser.add_argument(flag, action=switch, default=default)
        if isinstance(default, (bool, dict)):
            continue
        several = isinstance(default, list)
        example = default[0] if several else default
        kind = str if default is None else type(example)
        one = _reader(kind, (choices or {}).get(name), name in may_be_zero)

        def read(text, one=one, several=several):
            if several:
                return [one(x.strip()) for x in text.split(",") if x.strip()]
            return None if text.lower() == "none" else one(text)

        read.__name__ = one.__name__
        shown = ",".join(map(str, default)) if several else default
        parser.add_argument(
            flag,
            type=read,
            default=default,
            metavar="X",
            help=f"default: {shown}",
        )
