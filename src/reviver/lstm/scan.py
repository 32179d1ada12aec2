"""The equations over a sequence whose number of steps is not known, for `torch.export`.

Shapes: B batch, T time, I input size, H hidden size.

A loop in Python over T steps becomes T copies of a step in an exported program. `scan` is a loop inside the program, so
T can be dynamic. The program consists of torch's own operators: whoever loads it needs neither Reviver nor a compiler.
"""

import torch
from torch import Tensor
from torch.utils import _pytree

from reviver.lstm.cell import LSTMCell, LSTMState
from reviver.lstm.dropout import apply_dropout, hidden_masks
from reviver.lstm.options import LSTMOptions

_pytree._register_namedtuple(LSTMState, serialized_type_name="reviver.LSTMState")  # for torch.export.save


def unroll(
    cell: LSTMCell,
    x: Tensor,
    state: LSTMState,
    lengths: Tensor | None,
    *,
    reverse: bool,
    options: LSTMOptions,
    seed: Tensor | None,
) -> tuple[Tensor, LSTMState]:
    """Run a cell over a sequence; arguments and result are those of `network.unroll`."""
    from torch._higher_order_ops.scan import scan  # imports much of the compiler

    steps = {"x": x, "t": torch.arange(x.shape[0], device=x.device)}  # [T, ...] each
    masks = hidden_masks(x, state.h.shape[1], options, seed)  # [T, B, H] or None
    if masks is not None:
        steps["mask"] = masks

    def step(before: tuple[Tensor, Tensor], now: dict[str, Tensor]) -> tuple[tuple[Tensor, Tensor], Tensor]:
        state = LSTMState(*before)
        new, _ = cell(now["x"], state)
        if masks is not None:
            new = LSTMState(apply_dropout(new.h, state.h, now["mask"], options.hidden_dropout_kind), new.c)
        if lengths is None:
            return (new.h, new.c), new.h.clone()  # scan wants results that share no memory
        active = (now["t"] < lengths).unsqueeze(1)  # [B, 1]
        after = torch.where(active, new.h, state.h), torch.where(active, new.c, state.c)
        return after, torch.where(active, new.h, 0.0)

    (h, c), output = scan(step, (state.h.clone(), state.c.clone()), steps, reverse=reverse)
    return output, LSTMState(h, c)
