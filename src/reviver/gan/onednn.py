"""Faster float32 matrix multiplications (matmuls) on a CPU, through oneDNN.

torch uses MKL for them, which does not use AVX-512 on AMD's processors. oneDNN, which torch uses for convolutions and
bfloat16, does; docs/explanation/benchmarks.md has the measurements.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

MAX_RELATIVE_ERROR = 1e-5
"""Maximum error of a matmul over 1024 products, relative to its largest element; float32 is far below, bfloat16 far above."""


@contextmanager
def fast_matmul(*, unchecked: bool = False) -> Iterator[None]:
    """Use oneDNN for float32 matmuls on the CPU in this context, if its precision is float32's on this processor.

    torch's one switch for it also lets oneDNN round the operands to bfloat16, which it does on processors with AMX.
    There the switch stays off: MKL, made for these processors, is no slower.

    Args:
        unchecked: switch it on whatever its precision.
    """
    matmul = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = matmul.fp32_precision
    matmul.fp32_precision = "bf16" if unchecked or _is_float32_precise() else before
    try:
        yield
    finally:
        matmul.fp32_precision = before


@cache
def _is_float32_precise() -> bool:
    """Return whether oneDNN multiplies float32 matrices of the size of the generator's last layer with float32's precision."""
    if not torch.backends.mkldnn.is_available():
        return False
    rng = torch.Generator().manual_seed(0)
    a, b = torch.randn(64, 1024, generator=rng), torch.randn(1024, 784, generator=rng)
    exact = a.double() @ b.double()
    with fast_matmul(unchecked=True):
        error = (a @ b - exact).abs().max()
    return bool(error < MAX_RELATIVE_ERROR * exact.abs().max())
