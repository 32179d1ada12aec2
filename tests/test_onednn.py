"""Products by oneDNN: as exact as any in float32, and torch's settings are left as they were."""

import pytest
import torch

from reviver.gan import onednn
from reviver.gan.onednn import fast_matmul

MATMUL = torch.backends.mkldnn.matmul


@pytest.mark.parametrize(
    ("rows", "inner", "columns"), [(64, 100, 128), (128, 784, 512), (64, 1024, 784), (2048, 1024, 784)]
)
def test_products_have_the_precision_of_float32(rows: int, inner: int, columns: int) -> None:
    random = torch.Generator().manual_seed(1)
    a, b = torch.randn(rows, inner, generator=random), torch.randn(columns, inner, generator=random)
    exact = a.double() @ b.double().T
    with fast_matmul():
        error = (torch.nn.functional.linear(a, b) - exact).abs().max()
    assert error < 3e-6 * exact.abs().max()


@pytest.mark.parametrize("before", ["ieee", "tf32"])
def test_torchs_setting_is_put_back(before: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "_is_exact", lambda: True)
    at_first, inside = MATMUL.fp32_precision, []

    @fast_matmul()
    def fail() -> None:
        inside.append(MATMUL.fp32_precision)
        raise KeyError

    try:
        MATMUL.fp32_precision = before
        with pytest.raises(KeyError):
            fail()
        assert MATMUL.fp32_precision == before
    finally:
        MATMUL.fp32_precision = at_first
    assert inside == ["bf16"]


def test_the_switch_stays_off_where_factors_are_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "ROUNDING", 1e-9)  # as if the products were less exact than is wanted
    onednn._is_exact.cache_clear()
    try:
        before = MATMUL.fp32_precision
        with fast_matmul():
            assert MATMUL.fp32_precision == before
    finally:
        onednn._is_exact.cache_clear()
