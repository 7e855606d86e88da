"""The example in the docstring of every public class runs."""

import inspect
import re
import textwrap

import keras
import numpy as np
import pytest

import keras_bandit

BLOCK = re.compile(r"```python\n(.*?)```", re.S)


def public_classes():
    rooms = ["data", "training", "inference", "evaluation", "layers", "models"]
    modules = [keras_bandit]
    for room in rooms:
        __import__(f"keras_bandit.{room}")
        modules.append(getattr(keras_bandit, room))
    found = {}
    for module in modules:
        for name in getattr(module, "__all__", []):
            value = getattr(module, name)
            if inspect.isclass(value):
                found[name] = value
    return list(found.values())


@pytest.mark.parametrize("cls", public_classes(), ids=lambda cls: cls.__name__)
def test_the_example_of_a_class_runs(cls, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall(cls.__doc__)
    assert blocks, f"{cls.__name__} has no example"
    namespace = {"keras_bandit": keras_bandit, "keras": keras, "np": np}
    namespace["AudioSeparator"] = keras_bandit.AudioSeparator
    for block in blocks:
        exec(compile(textwrap.dedent(block), cls.__name__, "exec"), namespace)
