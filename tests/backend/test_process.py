"""What a program that owns its process may set."""

import ctypes
import platform
import subprocess
import sys

import keras
import pytest

from keras_bandit.backend import process
from keras_bandit.backend.process import _keep_freed_memory as keep_freed_memory

# A process of its own: the setting stays.
KEEPS = """
import resource
import numpy as np
from keras_bandit.backend.process import tune_process

def resident_mib():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20

def growth():
    before = resident_mib()
    for _ in range(3):
        x = np.ones(2**26, "uint8")
        del x
    return resident_mib() - before

untuned = growth()
tune_process()
print(untuned, growth())
"""


# The array has 64 MiB; the rest is what Python itself takes or gives back.
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's alone")
def test_freed_memory_is_kept():
    done = subprocess.run(
        [sys.executable, "-c", KEEPS],
        capture_output=True,
        text=True,
        check=True,
    )
    untuned, tuned = map(float, done.stdout.split())
    assert -10 <= untuned <= 10
    assert 60 <= tuned <= 80


def test_memory_of_other_systems_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    opened = []
    monkeypatch.setattr(ctypes, "CDLL", opened.append)
    keep_freed_memory()
    assert opened == []


@pytest.mark.skipif(keras.config.backend() != "torch", reason="of PyTorch's")
@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("gpu", [True, False])
def test_products_are_onednns_where_that_is_exact(exact, gpu, monkeypatch):
    import torch

    from keras_bandit.backend import onednn_products

    monkeypatch.setattr(process, "_keep_freed_memory", lambda: None)
    monkeypatch.setattr(onednn_products, "_is_exact", lambda: exact)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        process.tune_process()
        with onednn_products.onednn_products():
            pass  # puts back what it found
        found = torch.get_float32_matmul_precision()
        assert found == ("medium" if exact and not gpu else "highest")
    finally:
        torch.set_float32_matmul_precision(before)
