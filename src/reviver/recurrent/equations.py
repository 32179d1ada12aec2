"""The equations over a sequence: a loop over `cell.lstm_step`, which every faster path is tested against.

With precision bf16 the operands of a matrix multiplication are rounded to bfloat16, the upper half of a float32: the same
range, 8 significant bits. The product of two bfloat16 numbers is exact in float32, and recent CPUs multiply and sum them at
least twice as fast as float32 numbers. Parameters, states, sums and elementwise operations keep their dtype. The native kernel
computes the same (`kernel/matmul.h`).

Shapes: B batch, T time, I input size, H hidden size, P size of the hidden state.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from reviver.recurrent.dropout import apply_dropout, hidden_masks
from reviver.recurrent.lstm_step import LSTMGates, LSTMState, StackedWeights, lstm_step
from reviver.settings.lstm_network import LSTMOptions


def unroll(
    weights: StackedWeights,
    x: Tensor,
    state: LSTMState,
    lengths: Tensor | None,
    *,
    reverse: bool,
    options: LSTMOptions,
    seed: Tensor | None,
    trace: list[tuple[LSTMGates, LSTMState]] | None = None,
) -> tuple[Tensor, LSTMState]:
    """Run an LSTM cell over a sequence; for the arguments and the result see `run_steps`.

    The gates and the state after each step are added to `trace` as the cell runs; only without `lengths`.
    """
    linear = bf16_linear if options.precision == "bf16" else functional.linear
    # `scan` refuses several views of a tensor from outside
    by_gate = None if torch.compiler.is_exporting() else weights.by_gate()

    def step(x_t: Tensor, before: Sequence[Tensor], mask: Tensor | None) -> LSTMState:
        new, gates = lstm_step(x_t, LSTMState(*before), by_gate or weights.by_gate(), linear)
        if mask is not None:
            new = LSTMState(apply_dropout(new.h, before[0], mask, options.hidden_dropout_kind), new.c)
        if trace is not None:
            trace.append((gates, new))
        return new

    output, end = run_steps(step, x, state, lengths, reverse=reverse, options=options, seed=seed)
    return output, LSTMState(*end)


def run_steps(
    step: Callable[[Tensor, Sequence[Tensor], Tensor | None], Sequence[Tensor]],
    x: Tensor,
    state: Sequence[Tensor],
    lengths: Tensor | None,
    *,
    reverse: bool,
    options: LSTMOptions,
    seed: Tensor | None,
) -> tuple[Tensor, Sequence[Tensor]]:
    """Run any cell over a sequence, step by step.

    `step` returns the new states, h first, from the input of a step [B, I], the states before it, [B, ...] each, and the mask
    of h. `x` is [T, B, I], `lengths` the steps of each sequence, [B] int64, all T if None: after its last step a sequence keeps
    its state, and its output is 0. `seed` is that of the dropout masks in training, [] int64; None in eval mode.

    Return h after each step, [T, B, ...] in the order of x, also in `reverse`, and the states after the last step.
    """
    masks = hidden_masks(x, state[0].shape[1], options, seed)  # [T, B, P] or None
    if lengths is not None:  # the gradient, too, must not depend on what is beyond the end of a sequence, such as a NaN
        active = torch.arange(x.shape[0], device=x.device).unsqueeze(1) < lengths  # [T, B]
        x = torch.where(active.unsqueeze(2), x, 0.0)

    def advance(
        before: Sequence[Tensor], x_t: Tensor, mask: Tensor | None, t: Tensor | int
    ) -> tuple[Sequence[Tensor], Tensor]:
        new = step(x_t, before, mask)
        if lengths is None:
            return new, new[0]
        active = (t < lengths).unsqueeze(1)  # [B, 1]
        after = [torch.where(active, *pair) for pair in zip(new, before, strict=True)]
        return after, torch.where(active, new[0], 0.0)

    if torch.compiler.is_exporting():
        # A loop in Python would become T copies of a step in the program; with `scan` the number of steps can be dynamic.
        # The program consists of torch's own operators: whoever loads it needs neither Reviver nor a compiler.
        from torch._higher_order_ops.scan import scan  # imports much of the compiler

        def combine(before: Sequence[Tensor], now: dict[str, Tensor]) -> tuple[list[Tensor], Tensor]:
            after, output = advance(before, now["x"], now.get("mask"), now["t"])
            return list(after), output.clone()  # scan wants results that share no memory

        inputs = {"x": x, "t": torch.arange(x.shape[0], device=x.device)}  # [T, ...] each
        inputs |= {} if masks is None else {"mask": masks}
        end, output = scan(combine, [entry.clone() for entry in state], inputs, reverse=reverse)
        return output, end
    outputs = [state[0]] * len(x)
    x_t = x.unbind()  # T times [B, I]; the gradient of x[t] would be as large as x
    for t in reversed(range(len(x))) if reverse else range(len(x)):
        state, outputs[t] = advance(state, x_t[t], None if masks is None else masks[t], t)
    return torch.stack(outputs), state


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
