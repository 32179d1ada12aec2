"""Second derivatives of the kernel: its gradients recomputed by the equations, which autograd can differentiate again.

Shapes: B batch, T time, I input size, H hidden size.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from reviver.config import Precision
from reviver.lstm.cell import LSTMCell, LSTMState
from reviver.lstm.options import LSTMOptions
from reviver.lstm.precision import bf16_linear

Equations = Callable[..., tuple[Tensor, Tensor, Tensor]]
"""`recompute` with its first four arguments bound."""

_NAMES = [f"{kind}_{gate}" for kind in "WUb" for gate in "ifco"]
"""Names of the parameters of a cell in the order of `LSTMCell.weights`."""


class _CellOf:
    """The equations of a cell with other tensors in the place of its parameters."""

    def __init__(self, cell: LSTMCell, weights: Sequence[Tensor], precision: Precision) -> None:
        self._cell = cell
        self.linear = bf16_linear if precision == "bf16" else functional.linear
        for name, weight in zip(_NAMES, weights, strict=False):  # without biases there are fewer
            setattr(self, name, weight)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cell, name)

    def __call__(self, x: Tensor, state: LSTMState) -> Any:
        return type(self._cell).forward(self, x, state)  # type: ignore[arg-type]


def recompute(
    cell: LSTMCell,
    options: LSTMOptions,
    reverse: bool,
    precision: Precision,
    x: Tensor,
    h: Tensor,
    c: Tensor,
    weights: Sequence[Tensor],
    lengths: Tensor | None,
    seed: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run a cell by its equations over x [T, B, I]; return the output [T, B, H] and h and c [B, H] after the last step.

    Args:
        cell: cell whose equations to use.
        options: options of the network.
        reverse: run from the last step to the first.
        precision: precision of the matrix multiplications, "fp32" or "bf16".
        x: input, [T, B, I].
        h: hidden state before the first step, [B, H].
        c: cell state before the first step, [B, H].
        weights: tensors in the place of the parameters of the cell, in the order of `LSTMCell.weights`.
        lengths: number of steps of each sequence, [B] int64; all T if None.
        seed: seed of the dropout masks; the same as in the kernel, so the masks are the same.
    """
    from reviver.lstm import network  # which imports the kernel

    stand_in: Any = _CellOf(cell, weights, precision)
    output, state = network.unroll(stand_in, x, LSTMState(h, c), lengths, reverse=reverse, options=options, seed=seed)
    return output, state.h, state.c


def differentiable_gradients(
    equations: Equations,
    inputs: Sequence[Tensor],
    lengths: Tensor | None,
    seed: Tensor | None,
    grads: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """Return the gradients of the inputs, connected to the inputs and to `grads` for a second derivative.

    Args:
        equations: function that computes the outputs.
        inputs: x, h, c and the weights.
        lengths: number of steps of each sequence, [B] int64, or None.
        seed: seed of the dropout masks, or None.
        grads: gradients of the outputs; None where a loss does not use one.

    Returns:
        A gradient for each input, None where it does not require one.
    """
    with torch.enable_grad(), torch.autocast("cpu", enabled=False):
        # Views, so that the gradient of x leaves out what x contributes through an h that depends on it.
        x, h, c, *weights = inputs = [tensor.view_as(tensor) for tensor in inputs]
        outputs = equations(x, h, c, weights, lengths, seed)
        used = [(output, grad) for output, grad in zip(outputs, grads, strict=True) if grad is not None]
        wanted = [tensor for tensor in inputs if tensor.requires_grad]
        found = iter(
            torch.autograd.grad(
                [output for output, _ in used], wanted, [grad for _, grad in used], create_graph=True, allow_unused=True
            )
        )
    return [next(found) if tensor.requires_grad else None for tensor in inputs]
