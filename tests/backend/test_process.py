"""What a program that owns its process may set."""

import ctypes
import subprocess
import sys

import keras
import pytest

from keras_bandit.backend.process import tune_process

# A process of its own: the setting stays.
KEEPS = """
import numpy as np
from keras_bandit.backend.process import tune_process

def resident_mib():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20

{tune}
before = resident_mib()
for _ in range(3):
    x = np.ones(2**26, "uint8")
    del x
print(resident_mib() - before)
"""


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallopt"), reason="glibc's alone"
)
@pytest.mark.parametrize(
    ("tune", "least", "most"), [("tune_process()", 60, 80), ("", -1, 10)]
)
def test_freed_memory_is_kept(tune, least, most):
    done = subprocess.run(
        [sys.executable, "-c", KEEPS.format(tune=tune)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert least <= float(done.stdout) <= most


@pytest.mark.skipif(keras.config.backend() != "torch", reason="of PyTorch's")
@pytest.mark.parametrize("exact", [True, False])
def test_products_are_onednns_where_that_is_exact(exact, monkeypatch):
    import torch

    from keras_bandit.backend import onednn_products

    matmul = torch.backends.mkldnn.matmul
    before = matmul.fp32_precision
    monkeypatch.setattr(onednn_products, "_is_exact", lambda: exact)
    try:
        tune_process()
        with onednn_products.onednn_products():
            pass  # puts back what it found
        assert matmul.fp32_precision == ("bf16" if exact else before)
    finally:
        matmul.fp32_precision = before


def test_other_systems(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", None)
    tune_process()
