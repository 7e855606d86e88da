"""Settings of a directory that is gone on with, and versions for records."""

import platform

import pytest

from keras_bandit.common.settings import check_same_settings
from keras_bandit.common.versions import versions

pytestmark = pytest.mark.once


def check(former, now):
    check_same_settings(former, now, "the run r", "choose another directory")


def test_same_settings_pass():
    check({"a": {"b": [1, 2]}, "c": None}, {"c": None, "a": {"b": [1, 2]}})


def test_each_difference_is_named():
    with pytest.raises(ValueError, match="has other settings") as error:
        check({"a": {"b": 1, "c": 2}, "d": {}}, {"a": {"b": 3, "c": 2}, "e": 0})
    assert str(error.value) == (
        "the run r has other settings: a.b: 1 before, 3 now; "
        "d: {} before, absent now; e: absent before, 0 now; "
        "choose another directory"
    )


def test_a_long_list_is_cut():
    with pytest.raises(
        ValueError, match=r"x00: .*x09: .*now; and 15 more; cho"
    ):
        check({}, {f"x{i:02}": i for i in range(25)})


def test_versions_of_what_is_installed():
    found = versions("keras", "no-such-package")
    assert list(found) == ["python", "keras"]
    assert found["python"] == platform.python_version()
