"""A cell step by step with operators of torch: the reference, for all devices, dtypes and derivatives.

Shapes: B batch, T time, I input size, H hidden size.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from reviver.cells.grammar import Cell
from reviver.cells.graph import Node
from reviver.lstm.dropout import apply_dropout, hidden_masks
from reviver.settings.lstm_network import LSTMOptions

EPSILON = 1e-5
"""Added to the variance in `normalize`."""
OPERATORS: dict[str, Callable[..., Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "neg": torch.neg,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "exp": torch.exp,
    "log": torch.log,
    "softplus": functional.softplus,
    "sqrt": torch.sqrt,
    "abs": torch.abs,
    "max": torch.maximum,
    "min": torch.minimum,
    "normalize": lambda v: functional.layer_norm(v, v.shape[-1:], eps=EPSILON),
}
States = dict[str, Tensor]
"""States by name, [B, H] each."""


def step(
    cell: Cell, weights: Mapping[str, Tensor], x: Tensor, before: States, mask: Tensor | None = None, kind: Any = "step"
) -> States:
    """Return all quantities of a step by name, [B, H] each, and with them the new states.

    `x` [B, I] is the input, `before` the states before the step, `mask` [B, H] the dropout mask of h, of this `kind`.
    """
    values: list[Any] = []

    def value(node: Node) -> Any:
        args = [values[arg] for arg in node.args]
        name = str(node.value)
        match node.op:
            case "x":
                return x
            case "number":
                return x.new_full((), float(name))
            case "state":
                return before[name]
            case "vector":
                return weights[name]
            case "matmul":
                return functional.linear(args[0], weights[name])
            case "dropout":
                h = args[0].expand_as(args[1])
                return h if mask is None else apply_dropout(h, args[1], mask, kind)
        if node.op == "normalize":
            args = [args[0].expand_as(before["h"])]
        return OPERATORS[node.op](*args)

    for node in cell.graph.nodes:
        values.append(value(node))
    return {name: values[quantity.node].expand_as(before["h"]) for name, quantity in cell.quantities.items()}


def unroll(
    cell: Cell,
    weights: Mapping[str, Tensor],
    x: Tensor,
    state: States,
    lengths: Tensor | None,
    options: LSTMOptions,
    seed: Tensor | None,
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
        options: dropout of the hidden state.
        seed: seed of the dropout masks in training, [] int64; None in eval mode.
        trace: lists by name to which every quantity of every step is added, [B, H] each.

    Returns:
        The hidden state after each step, [T, B, H], and the states after the last step.
    """
    masks = hidden_masks(x, state["h"].shape[1], options, seed)  # [T, B, H] or None
    if lengths is not None:  # the gradient, too, must not depend on what is beyond the end of a sequence, such as a NaN
        x = torch.where((torch.arange(len(x), device=x.device).unsqueeze(1) < lengths).unsqueeze(2), x, 0.0)
    outputs = []
    for t, x_t in enumerate(x.unbind()):
        mask = None if masks is None else masks[t]
        values = step(cell, weights, x_t, state, mask, options.hidden_dropout_kind)
        for name in trace or ():
            trace[name].append(values[name])  # type: ignore[index]
        if lengths is None:
            state = {name: values[name] for name in cell.states}
            outputs.append(state["h"])
        else:
            active = (t < lengths).unsqueeze(1)  # [B, 1]
            state = {name: torch.where(active, values[name], state[name]) for name in cell.states}
            outputs.append(torch.where(active, values["h"], 0.0))
    return torch.stack(outputs), state
