"""Checks of arguments that many functions have alike."""

import numbers
import operator


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


def check_whole(name, value, least):
    """As `check_integer`, but takes floats that are whole: 44100.0 Hz."""
    integral = isinstance(value, numbers.Integral)
    if isinstance(value, numbers.Real) and not integral:
        value = int(value) if float(value).is_integer() else value
    return check_integer(name, value, least)
