"""A cell step by step with operators of torch: the reference, for all devices, dtypes and derivatives.

Shapes: B batch, T time, I input size, H hidden size.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from reviver.cells.grammar import Cell
from reviver.cells.graph import EPSILON, OPERATIONS
from reviver.lstm.dropout import apply_dropout, hidden_masks
from reviver.lstm.equations import bf16_linear
from reviver.settings.lstm_network import LSTMOptions

OPERATORS: dict[str, Callable[..., Tensor]] = {
    **{name: getattr(torch, row.torch, None) or getattr(functional, row.torch) for name, row in OPERATIONS.items()},
    "normalize": lambda v: functional.layer_norm(v, v.shape[-1:], eps=EPSILON),
}
DEFAULTS = LSTMOptions()
States = dict[str, Tensor]
"""States by name, [B, H] each."""


def step(
    cell: Cell,
    weights: Mapping[str, Tensor],
    x: Tensor,
    before: States,
    mask: Tensor | None = None,
    options: LSTMOptions = DEFAULTS,
) -> States:
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
    state: States,
    lengths: Tensor | None,
    options: LSTMOptions,
    seed: Tensor | None,
    reverse: bool = False,
    trace: dict[str, list[Tensor]] | None = None,
) -> tuple[Tensor, States]:
    """Run a cell over a sequence, step by step.

    Args:
        cell: the cell.
        weights: its weights by name.
        x: input, [T, B, I].
        state: states before the first step.
        lengths: number of steps of each sequence of the batch, [B] int64; all T if None. After its last step a
            sequence keeps its state, and its output is 0.
        options: dropout of the hidden state, and precision.
        seed: seed of the dropout masks in training, [] int64; None in eval mode.
        reverse: run over each sequence from its last step to its first.
        trace: lists by name to which every quantity of every step is added, [B, H] each.

    Returns:
        The hidden state after each step, [T, B, H], and the states after the last step.
    """
    masks = hidden_masks(x, state["h"].shape[1], options, seed)  # [T, B, H] or None
    if lengths is not None:  # the gradient, too, must not depend on what is beyond the end of a sequence, such as a NaN
        x = torch.where((torch.arange(len(x), device=x.device).unsqueeze(1) < lengths).unsqueeze(2), x, 0.0)
    if reverse:
        x, masks = reverse_steps(x, lengths), None if masks is None else reverse_steps(masks, lengths)
    outputs = []
    for t, x_t in enumerate(x.unbind()):
        mask = None if masks is None else masks[t]
        values = step(cell, weights, x_t, state, mask, options)
        for name in trace or ():
            trace[name].append(values[name])  # type: ignore[index]
        if lengths is None:
            state = {name: values[name] for name in cell.states}
            outputs.append(state["h"])
        else:
            active = (t < lengths).unsqueeze(1)  # [B, 1]
            state = {name: torch.where(active, values[name], state[name]) for name in cell.states}
            outputs.append(torch.where(active, values["h"], 0.0))
    output = torch.stack(outputs)
    return reverse_steps(output, lengths) if reverse else output, state


def reverse_steps(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Return the steps of each sequence of x [T, B, ...] from the last to the first; those after its end stay."""
    if lengths is None:
        return x.flip(0)
    t = torch.arange(len(x), device=x.device).unsqueeze(1)  # [T, 1]
    index = torch.where(t < lengths, lengths - 1 - t, t)  # [T, B]
    return x.gather(0, index.unsqueeze(2).expand_as(x))
