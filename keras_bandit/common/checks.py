"""Checks of arguments that many functions have alike."""

import numbers
import operator
import re
from collections.abc import Collection, Iterable

STEM_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")

MAX_SECONDS = 86_400
"""A day: longer chunks overflow, or no memory holds them."""


def check_integer(name, value, least, most=None):
    """A count or a size as int, of NumPy's types too.

    Raises:
        ValueError: if the value is no integer, a bool, below `least` or above
            `most`; with the argument's name.
    """
    try:
        integer = operator.index(value)
    except TypeError:
        integer = None
    fits = integer is not None and not isinstance(value, bool)
    if not fits or integer < least or (most is not None and integer > most):
        limits = f"at least {least}" if most is None else f"{least} to {most}"
        raise ValueError(
            f"{name} must be an integer of {limits}; got {value!r}"
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
    listed = not isinstance(values, str) and isinstance(values, Iterable)
    found, known = list(values) if listed else [], list(choices)
    wrong = any(value not in known for value in found)
    if not found or wrong or len(set(found)) < len(found):
        raise ValueError(
            f"{name} must be a list of some of {known}, each once; got "
            f"{values!r}"
        )
    return found


def check_whole(name, value, least, most=None):
    """As `check_integer`, but takes floats that are whole: 44100.0 Hz."""
    integral = isinstance(value, numbers.Integral)
    if isinstance(value, numbers.Real) and not integral:
        value = int(value) if float(value).is_integer() else value
    return check_integer(name, value, least, most)


def check_seconds(name, seconds):
    """Raises `ValueError` unless it is a positive number, at most a day."""
    real = isinstance(seconds, numbers.Real)
    if not real or not 0 < seconds <= MAX_SECONDS:
        raise ValueError(
            f"{name} must be a positive number of seconds, at most "
            f"{MAX_SECONDS}; got {seconds!r}"
        )


def check_chunk(chunk_seconds, sample_rate, min_samples, max_samples=None):
    """Samples of a chunk; `ValueError` if no model, or this one, takes it."""
    check_seconds("chunk_seconds", chunk_seconds)
    samples = round(chunk_seconds * sample_rate)
    if samples < min_samples:
        raise ValueError(
            f"chunk_seconds must be at least {min_samples} samples, "
            f"{min_samples / sample_rate:.3f} s at {sample_rate} Hz; got "
            f"chunk_seconds={chunk_seconds}"
        )
    if max_samples is not None and samples > max_samples:
        raise ValueError(
            f"chunk_seconds must be at most {max_samples / sample_rate:.6g}, "
            "the length that this model was trained at; got "
            f"chunk_seconds={chunk_seconds}"
        )
    return samples


def check_stem_names(stems):
    """Raises `ValueError` unless stems are distinct names."""
    listed = isinstance(stems, Collection) and not isinstance(stems, str)
    if not listed or not len(stems):
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
