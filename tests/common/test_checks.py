"""One check for every count and size."""

import re

import numpy as np
import pytest

from keras_bandit.common.checks import check_chunk, check_integer, check_whole

pytestmark = pytest.mark.once

BOTH = pytest.mark.parametrize("check", [check_integer, check_whole])


@BOTH
@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), np.array(3)])
def test_integers_come_back_as_python_has_them(check, value):
    found = check("hop", value, 3)
    assert (found, type(found)) == (3, int)


@BOTH
@pytest.mark.parametrize(
    "value",
    [
        2,
        np.int64(2),
        3.5,
        np.float32(3.5),
        np.nan,
        -np.inf,
        np.inf,
        True,
        np.True_,
        None,
        "3",
        [3],
        3 + 0j,
        np.array([3, 3]),
    ],
)
def test_anything_else_is_named(check, value):
    message = f"hop must be an integer of at least 3; got {value!r}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        check("hop", value, 3)


@pytest.mark.parametrize("kind", [float, np.float64, np.float32])
def test_whole_floats_are_for_check_whole_alone(kind):
    found = check_whole("sample_rate", kind(44100), 1)
    assert (found, type(found)) == (44100, int)
    with pytest.raises(ValueError, match="sample_rate must be an integer"):
        check_integer("sample_rate", kind(44100), 1)


def test_most_is_a_limit_too():
    assert check_whole("batch_size", 8.0, 1, 8) == 8
    with pytest.raises(ValueError, match=r"integer of 1 to 8; got 9$"):
        check_whole("batch_size", 9, 1, 8)


def test_chunks_of_any_model():
    assert check_chunk(86_400, 8000, 1) == 691_200_000
    for chunk in (86_401, 1e308, 10**400, "6", None):
        with pytest.raises(ValueError, match="at most 86400; got"):
            check_chunk(chunk, 8000, 1)
