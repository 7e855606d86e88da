"""PyTorch's float32 products on the CPU by oneDNN, where that is exact.

PyTorch asks MKL for them. On processors that are not Intel's MKL makes no use
of AVX-512: on an AMD EPYC (Turin) one thread reached 88 to 95 GFLOP/s, and
oneDNN 197 to 201 (products of 128 to 2048 rows; PyTorch 2.13, 2026-11-21).
"""

import contextlib
import functools
import threading

import torch

# The setting is the process's: the first thread inside sets it, and the last
# one puts back what was there.
_lock = threading.Lock()
_inside = 0
_before = None


@contextlib.contextmanager
def onednn_products():
    """Has oneDNN compute float32 products inside, if nothing is lost.

    PyTorch hands float32 products to oneDNN only with the permission to
    round to bfloat16, of which oneDNN makes use where the processor has AMX.
    There, and where PyTorch has no such setting, this does nothing.
    """
    if not _is_exact():
        yield
        return
    with _permission():
        yield


def allow_onednn_products():
    """Has oneDNN compute float32 products from now on, if nothing is lost.

    By the setting for all devices, since others of PyTorch's functions refuse
    to run where that one and oneDNN's differ; so not beside a GPU, whose
    products would lose precision.
    """
    if _is_exact() and not torch.cuda.is_available():
        torch.set_float32_matmul_precision("medium")


@contextlib.contextmanager
def _permission():
    global _inside, _before
    matmul = torch.backends.mkldnn.matmul
    with _lock:
        if _inside == 0:
            _before = matmul.fp32_precision
            matmul.fp32_precision = "bf16"
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                matmul.fp32_precision = _before


@functools.cache
def _is_exact():
    """Whether a product keeps float32's precision with the permission.

    Rounding to bfloat16 errs by 2^-9 of each factor, some thousand times
    what is accepted here.
    """
    if not torch.backends.mkldnn.is_available() or not hasattr(
        getattr(torch.backends.mkldnn, "matmul", None), "fp32_precision"
    ):
        return False
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 256, 256, generator=generator, dtype=torch.float64)
    with torch.no_grad(), torch.autocast("cpu", enabled=False), _permission():
        product = a.float() @ b.float()
    return bool(((product - a @ b).abs() <= 1e-6 * (a @ b)).all())
