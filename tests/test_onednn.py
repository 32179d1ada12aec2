"""Matmuls through oneDNN have the precision of float32, and torch's settings are restored."""

import pytest
import torch

from reviver.gan import onednn
from reviver.gan.onednn import fast_matmul

MATMUL = torch.backends.mkldnn.matmul


@pytest.mark.parametrize(
    ("rows", "inner", "columns"), [(64, 100, 128), (128, 784, 512), (64, 1024, 784), (2048, 1024, 784)]
)
def test_matmuls_have_the_precision_of_float32(rows: int, inner: int, columns: int) -> None:
    rng = torch.Generator().manual_seed(1)
    a, b = torch.randn(rows, inner, generator=rng), torch.randn(columns, inner, generator=rng)
    exact = a.double() @ b.double().T
    with fast_matmul():
        error = (torch.nn.functional.linear(a, b) - exact).abs().max()
    assert error < 3e-6 * exact.abs().max()


@pytest.mark.parametrize("before", ["ieee", "tf32"])
def test_the_setting_of_torch_is_restored(before: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "_is_float32_precise", lambda: True)
    initial, inside = MATMUL.fp32_precision, []

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
        MATMUL.fp32_precision = initial
    assert inside == ["bf16"]


def test_the_switch_stays_off_where_operands_are_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "MAX_RELATIVE_ERROR", 1e-9)  # as if oneDNN rounded the operands
    onednn._is_float32_precise.cache_clear()
    try:
        before = MATMUL.fp32_precision
        with fast_matmul():
            assert MATMUL.fp32_precision == before
    finally:
        onednn._is_float32_precise.cache_clear()
