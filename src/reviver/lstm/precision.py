"""Matrix multiplication with operands rounded to bfloat16.

bfloat16 is the upper half of a float32: the same range, 8 significant bits. The product of two bfloat16 numbers is
exact in float32, and recent CPUs multiply and sum them at least twice as fast as float32 numbers. Parameters, states,
sums and elementwise operations keep their dtype. The native kernel computes the same (`kernel/matmul.h`).
"""

from typing import Any, cast

import torch
from torch import Tensor


def round_to_bf16(x: Tensor) -> Tensor:
    """Return x rounded to the nearest bfloat16 (ties to even), in the dtype of x."""
    return x.to(torch.bfloat16).to(x.dtype)


def bf16_linear(x: Tensor, W: Tensor) -> Tensor:
    """Return `round_to_bf16(x) @ round_to_bf16(W).T`, [B, H]; the backward pass rounds the operands of its matmuls, too."""
    if torch.compiler.is_exporting():  # `scan` refuses functions with a `jvp`
        return _BF16MatMul.forward(x, W.T)
    return cast("Tensor", _BF16MatMul.apply(x, W.T))


class _BF16MatMul(torch.autograd.Function):
    """Multiply rounded matrices. The gradient passes the rounding unchanged: its derivative is 0 almost everywhere."""

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, b: Tensor) -> Tensor:
        with torch.autocast("cpu" if a.is_meta else a.device.type, enabled=False):  # it would round the sums, too
            return round_to_bf16(a) @ round_to_bf16(b)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def jvp(ctx: Any, tangent_a: Tensor | None, tangent_b: Tensor | None) -> Tensor:
        a, b = ctx.saved_tensors
        pairs = (tangent_a, b), (a, tangent_b)
        return cast(
            "Tensor", sum(_BF16MatMul.apply(*pair) for pair in pairs if pair[0] is not None and pair[1] is not None)
        )

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b = ctx.saved_tensors
        needs_a, needs_b = ctx.needs_input_grad
        matmul = _BF16MatMul.apply  # differentiable itself, so second derivatives exist
        return matmul(grad, b.T) if needs_a else None, matmul(a.T, grad) if needs_b else None
