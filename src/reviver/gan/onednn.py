"""Products of float32 matrices by the faster of the two libraries that torch has on a CPU.

torch leaves them to its BLAS, MKL, which on AMD's processors does without AVX-512; oneDNN, which torch has for
convolutions and bfloat16, uses it and is twice as fast there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

ROUNDING = 1e-5
"""The error of a sum of a thousand products that float32 stays far below, as a part of the largest sum, and bfloat16 far above."""


@contextmanager
def fast_matmul(*, unchecked: bool = False) -> Iterator[None]:
    """Let oneDNN multiply float32 matrices on the CPU while this lasts, if it does so here without rounding their factors.

    torch has one switch for it, which also allows oneDNN to round factors to bfloat16. It does where the processor
    has units for that (AMX); there the switch stays off, and MKL, made for these processors, is no slower. With
    `unchecked` it is on everywhere.
    """
    matmul = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = matmul.fp32_precision
    matmul.fp32_precision = "bf16" if unchecked or _is_exact() else before
    try:
        yield
    finally:
        matmul.fp32_precision = before


@cache
def _is_exact() -> bool:
    """Whether oneDNN's product of float32 matrices has the precision of float32, tried on the sizes of the generator's last layer."""
    if not torch.backends.mkldnn.is_available():
        return False
    random = torch.Generator().manual_seed(0)
    a, b = torch.randn(64, 1024, generator=random), torch.randn(1024, 784, generator=random)
    exact = a.double() @ b.double()
    with fast_matmul(unchecked=True):
        error = (a @ b - exact).abs().max()
    return bool(error < ROUNDING * exact.abs().max())
