"""A cell step by step with operators of torch: the reference, for all devices, dtypes and derivatives.

Every faster path is tested against it. With precision bf16 the operands of a matrix multiplication are rounded to bfloat16, the
upper half of a float32: the same range, 8 significant bits. The product of two bfloat16 numbers is exact in float32, and recent
CPUs multiply and sum them at least twice as fast as float32 numbers. Parameters, states, sums and elementwise operations keep
their dtype. The native kernel computes the same (`kernel/matmul.h`).

Shapes: B batch, T time, I input size, H hidden size, P size of the hidden state.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from reviver.recurrent.dropout import apply_dropout, hidden_masks
from reviver.recurrent.grammar import Cell
from reviver.recurrent.graph import EPSILON, OPERATIONS
from reviver.settings.lstm_network import LSTMOptions

OPERATORS: dict[str, Callable[..., Tensor]] = {
    **{name: getattr(torch, row.torch, None) or getattr(functional, row.torch) for name, row in OPERATIONS.items()},
    "normalize": lambda v: functional.layer_norm(v, v.shape[-1:], eps=EPSILON),
}
DEFAULTS = LSTMOptions()


def step(
    cell: Cell,
    weights: Mapping[str, Tensor],
    x: Tensor,
    before: Mapping[str, Tensor],
    mask: Tensor | None = None,
    options: LSTMOptions = DEFAULTS,
) -> dict[str, Tensor]:
    """Return all quantities of a step by name, [B, H] each, and with them the new states.

    `x` [B, I] is the input, `before` the states before the step, `mask` [B, H] the dropout mask of h.
    """
    values: list[Any] = []
    found: Any
    h, linear = before["h"], bf16_linear if options.precision == "bf16" else functional.linear
    for op, args, value in cell.graph.nodes:
        entries, name = [values[arg] for arg in args], str(value)
        if op == "x":
            found = x
        elif op == "number":
            found = x.new_full(h.shape[1:], float(name))
        elif op in ("state", "vector"):
            found = before[name] if op == "state" else weights.get(name, 0.0)  # LSTM without biases
        elif op == "matmul":
            found = linear(entries[0], weights[name])
        elif op == "dropout":
            found = entries[0] if mask is None else apply_dropout(entries[0], h, mask, options.hidden_dropout_kind)
        else:
            found = OPERATORS[op](*entries)
        values.append(found)
    quantities = {name: values[quantity.node] for name, quantity in cell.quantities.items()}
    return {name: value if value.shape == h.shape else value.expand_as(h) for name, value in quantities.items()}


def unroll(
    cell: Cell,
    names: Sequence[str],
    weights: Sequence[Tensor],
    x: Tensor,
    state: Sequence[Tensor],
    lengths: Tensor | None,
    options: LSTMOptions,
    seed: Tensor | None,
    reverse: bool = False,
    trace: dict[str, list[Tensor]] | None = None,
) -> tuple[Tensor, Sequence[Tensor]]:
    """Run a cell over a sequence, see `run_steps`; every quantity of every step [B, H] is added to `trace`, by name.

    Each tensor of `weights` holds the rows of the weights of the text that its entry of `names` lists, see `by_name`.
    """
    # `scan` refuses several views of a tensor from outside
    outside = None if torch.compiler.is_exporting() else by_name(names, weights)

    def step_of(x_t: Tensor, before: Sequence[Tensor], mask: Tensor | None) -> list[Tensor]:
        states = dict(zip(cell.states, before, strict=True))
        values = step(cell, outside or by_name(names, weights), x_t, states, mask, options)
        for name, steps in (trace or {}).items():
            steps.append(values[name])
        return [values[name] for name in cell.states]

    return run_steps(step_of, x, state, lengths, reverse=reverse, options=options, seed=seed)


def by_name(names: Sequence[str], weights: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return weights by the names of a text, from tensors that each hold the rows of those which its name lists, separated by spaces.

    A vector with several names, as the two biases of `torch.nn.LSTM`, is their sum.
    """
    parts: dict[str, list[Tensor]] = defaultdict(list)
    for held, tensor in zip(names, weights, strict=True):
        members = held.split()
        size = len(tensor) // len(members)
        for at, name in enumerate(members):  # slices, since `chunk` gives views that forbid changes
            parts[name].append(tensor if len(members) == 1 else tensor[at * size : (at + 1) * size])
    return {name: found[0] if len(found) == 1 else found[0] + found[1] for name, found in parts.items()}


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
