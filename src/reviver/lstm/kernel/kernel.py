"""When the native kernel runs, and how it runs a cell over a sequence.

Shapes: B batch, T time, I input size, H hidden size.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from reviver.lstm.cell import LSTMCell, LSTMState
from reviver.lstm.kernel import library, ops
from reviver.lstm.options import LSTMOptions

_switched_off: ContextVar[bool] = ContextVar("_switched_off", default=False)


@contextmanager
def reference() -> Iterator[None]:
    """Switch the kernel off in this context, so that LSTMs compute step by step with `LSTMCell`."""
    token = _switched_off.set(True)
    try:
        yield
    finally:
        _switched_off.reset(token)


def available() -> bool:
    """Return whether the kernel works on this machine and is switched on. The first call compiles it."""
    return not _switched_off.get() and library.KERNEL.library() is not None


# The effect of torch.compiler.assume_constant_result, which would import the whole compiler and take seconds.
available._dynamo_marked_constant = True  # type: ignore[attr-defined]


def applies(x: Tensor, *others: Tensor) -> bool:
    """Return whether the kernel can compute with these tensors: float32 on a CPU, without autocast or tracing."""
    for tensor in (x, *others):
        if tensor.dtype != torch.float32 or not tensor.is_cpu:
            return False
    return not torch.is_autocast_enabled("cpu") and not torch._C._get_tracing_state() and available()


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
    """Run a cell over a sequence with the kernel; arguments and result are those of `network.unroll`."""
    weights = cell.weights()
    if not cell.bias:
        weights += [x.new_zeros(cell.hidden_size)] * 4
    save = ops.SAVE_NOTHING
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, *state, *weights)):
        k = options.activation_checkpoint_steps
        save = ops.SAVE_ALL if k is None else k
    output, h, c = ops.run(
        x,
        state.h,
        state.c,
        weights,
        lengths,
        None if seed is None else seed.cpu(),
        dropout=options.hidden_dropout,
        kind=_kernel_kind(options, seed),
        reverse=reverse,
        save=save,
        precision=options.precision,
    )
    return output, LSTMState(h, c)


def _kernel_kind(options: LSTMOptions, seed: Tensor | None) -> str:
    """Return the element of `library.KINDS` for dropout in training (with a seed) or in eval mode."""
    if seed is not None:
        return options.hidden_dropout_kind
    return "zoneout_mean" if options.hidden_dropout_kind == "zoneout" and options.hidden_dropout > 0.0 else "none"
