"""Float32 products by oneDNN: a setting of PyTorch's, put back and exact."""

import keras
import pytest

if keras.config.backend() != "torch":
    pytest.skip("a setting of PyTorch's", allow_module_level=True)

import torch

from keras_bandit.backend import onednn_products as module


@pytest.fixture(autouse=True)
def products_as_pytorch_makes_them():
    """Training runs of other tests change the setting for good."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)


def relative_error():
    generator = torch.Generator().manual_seed(1)
    a, b = torch.rand(2, 300, 300, generator=generator, dtype=torch.float64)
    return ((a.float() @ b.float() - a @ b) / (a @ b)).abs().max()


def test_products_keep_float32():
    with module.onednn_products():
        # bfloat16 would err by some 1e-3, float32 by some 1e-7.
        assert relative_error() < 2e-6


@pytest.mark.parametrize("exact", [True, False])
def test_setting_is_put_back_after_an_error(exact, monkeypatch):
    monkeypatch.setattr(module, "_is_exact", lambda: exact)
    matmul = torch.backends.mkldnn.matmul
    before = matmul.fp32_precision
    inside = []

    def fail():
        with module.onednn_products():
            inside.append(matmul.fp32_precision)
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert inside == ["bf16" if exact else before]
    assert matmul.fp32_precision == before


def test_nothing_is_set_where_products_are_rounded(monkeypatch):
    module._is_exact.cache_clear()
    product = torch.Tensor.__matmul__

    def rounded(a, b):
        if a.dtype == torch.float32:
            return product(a.bfloat16(), b.bfloat16()).float()
        return product(a, b)

    monkeypatch.setattr(torch.Tensor, "__matmul__", rounded)
    assert not module._is_exact()
    module._is_exact.cache_clear()


def test_old_pytorch_has_no_setting(monkeypatch):
    module._is_exact.cache_clear()
    monkeypatch.setattr(torch.backends.mkldnn, "matmul", None)
    assert not module._is_exact()
    module._is_exact.cache_clear()


def test_last_thread_inside_puts_the_setting_back():
    matmul = torch.backends.mkldnn.matmul
    before = matmul.fp32_precision
    first, second = module._permission(), module._permission()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert matmul.fp32_precision == "bf16"
    second.__exit__(None, None, None)
    assert matmul.fp32_precision == before
