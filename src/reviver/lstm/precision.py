"""Products of matrices whose factors are rounded to bfloat16.

bfloat16 is the upper half of a float32: the same range, 8 significant bits. The product of two such numbers is exact
in float32, and recent CPUs sum such products twice as fast as those of float32 or faster. Weights, state, sums and
everything that is no product stay as they are. `operator.cpp` computes the same.
"""

from typing import Any, cast

import torch
from torch import Tensor


def rounded(x: Tensor) -> Tensor:
    """Return x rounded to the nearest bfloat16 (ties to even), in the dtype of x."""
    return x.to(torch.bfloat16).to(x.dtype)


def rounded_linear(x: Tensor, W: Tensor) -> Tensor:
    """Return `rounded(x) @ rounded(W).T` for x [B, I] and W [H, I]; the products of its gradients are rounded alike."""
    return cast("Tensor", _RoundedProduct.apply(x, W.T))


class _RoundedProduct(torch.autograd.Function):
    """`rounded(a) @ rounded(b)`. Rounding itself counts as the identity: its slope is 0 almost everywhere."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return rounded(a) @ rounded(b)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b = ctx.saved_tensors
        needs_a, needs_b = ctx.needs_input_grad
        product = _RoundedProduct.apply  # by the same function, so that second derivatives exist
        return product(grad, b.T) if needs_a else None, product(a.T, grad) if needs_b else None
