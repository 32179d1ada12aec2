"""A cell step by step with operators of torch: the reference, for all devices, dtypes and derivatives.

Shapes: B batch, T time, I input size, H hidden size.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from reviver.recurrent.dropout import apply_dropout
from reviver.recurrent.equations import bf16_linear, run_steps
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
    h, linear = before["h"], bf16_linear if options.precision == "bf16" else functional.linear
    for op, args, value in cell.graph.nodes:
        entries, name = [values[arg] for arg in args], str(value)
        if op == "x":
            found = x
        elif op == "number":
            found = x.new_full(h.shape[1:], float(name))
        elif op in ("state", "vector"):
            found = before[name] if op == "state" else weights[name]
        elif op == "matmul":
            found = linear(entries[0], weights[name])
        elif op == "dropout":
            found = entries[0] if mask is None else apply_dropout(entries[0], h, mask, options.hidden_dropout_kind)
        else:
            found = OPERATORS[op](*entries)
        values.append(found)
    return {name: values[quantity.node].expand_as(h) for name, quantity in cell.quantities.items()}


def unroll(
    cell: Cell,
    weights: Mapping[str, Tensor],
    x: Tensor,
    state: Sequence[Tensor],
    lengths: Tensor | None,
    options: LSTMOptions,
    seed: Tensor | None,
    reverse: bool = False,
    trace: dict[str, list[Tensor]] | None = None,
) -> tuple[Tensor, Sequence[Tensor]]:
    """Run a cell over a sequence, see `equations.run_steps`; every quantity of every step [B, H] is added to `trace`, by name."""

    def step_of(x_t: Tensor, before: Sequence[Tensor], mask: Tensor | None) -> list[Tensor]:
        values = step(cell, weights, x_t, dict(zip(cell.states, before, strict=True)), mask, options)
        for name, steps in (trace or {}).items():
            steps.append(values[name])
        return [values[name] for name in cell.states]

    return run_steps(step_of, x, state, lengths, reverse=reverse, options=options, seed=seed)


def reverse_steps(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Return the steps of each sequence of x [T, B, ...] from the last to the first; those after its end stay."""
    if lengths is None:
        return x.flip(0)
    t = torch.arange(len(x), device=x.device).unsqueeze(1)  # [T, 1]
    index = torch.where(t < lengths, lengths - 1 - t, t)  # [T, B]
    return x.gather(0, index.unsqueeze(2).expand_as(x))
