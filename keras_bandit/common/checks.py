"""Checks of arguments that many functions have alike."""

import numbers
import operator
import re

STEM_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


def check_integer(name, value, least):
    """A count or a size as int, of NumPy's types too.

    Raises:
        ValueError: if the value is no integer, a bool, or below `least`; with
            the argument's name.
    """
    try:
        integer = operator.index(value)
    except TypeError:
        integer = None
    if integer is None or isinstance(value, bool) or integer < least:
        raise ValueError(
            f"{name} must be an integer of at least {least}; got {value!r}"
        )
    return integer


def check_choice(name, value, choices):
    """Raises `ValueError` unless the value is one of a few strings."""
    if value not in choices:
        raise ValueError(
            f"{name} must be one of {', '.join(choices)}; got {value!r}"
        )


def check_some(name, values, choices):
    """The values as a list; `ValueError` unless they are distinct choices."""
    found = [] if isinstance(values, str) else list(values)
    once = len({*found} & {*choices}) == len(found)
    if not found or not once:
        raise ValueError(
            f"{name} must be a list of some of {list(choices)}, each once; got "
            f"{values!r}"
        )
    return found


def check_whole(name, value, least):
    """As `check_integer`, but takes floats that are whole: 44100.0 Hz."""
    integral = isinstance(value, numbers.Integral)
    if isinstance(value, numbers.Real) and not integral:
        value = int(value) if float(value).is_integer() else value
    return check_integer(name, value, least)


def check_stem_names(stems):
    """Raises `ValueError` unless stems are distinct names."""
    if isinstance(stems, str) or not len(stems):
        raise ValueError(
            f"stems must be a list of one name or more; got {stems!r}"
        )
    for stem in stems:
        if not isinstance(stem, str) or not STEM_NAME.fullmatch(stem):
            raise ValueError(
                "stems must be names of letters, digits, '_' and '-' that "
                f"start with a letter; got {stem!r}"
            )
    if len(set(stems)) < len(stems):
        raise ValueError(f"stems must be distinct; got {list(stems)}")
