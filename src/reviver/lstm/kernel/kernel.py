"""When the native kernel runs, and how it runs a cell over a sequence.

Shapes: B batch, T time, I input size, H hidden size.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor

from reviver.config import Precision
from reviver.lstm.cell import LSTMCell, LSTMState
from reviver.lstm.kernel import library, ops
from reviver.lstm.kernel.second_derivatives import recompute
from reviver.lstm.options import LSTMOptions
from reviver.lstm.transforms import is_transformed

_KNOWN_TYPES = (Tensor, nn.Parameter, FakeTensor)
"""Classes of tensors that the kernel can compute with. Others have a meaning of their own, which the equations keep."""

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
    """Return whether the kernel can compute with these tensors.

    They must be float32 on a CPU and of no subclass that it does not know. It computes neither inside transforms of
    `torch.func` or forward-mode AD nor while a graph for other machines is recorded (`torch.export`, `torch.jit`).
    Under autocast it computes in bfloat16 only.
    """
    for tensor in (x, *others):
        if tensor.dtype != torch.float32 or not tensor.is_cpu or type(tensor) not in _KNOWN_TYPES:
            return False
    if is_transformed() or torch.compiler.is_exporting() or torch._C._get_tracing_state():
        return False
    if torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") != torch.bfloat16:
        return False
    return available()


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
    precision: Precision = "bf16" if torch.is_autocast_enabled("cpu") else options.precision
    save, equations = ops.SAVE_NOTHING, None
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, *state, *weights)):
        k = options.activation_checkpoint_steps
        save = ops.SAVE_ALL if k is None else k
        equations = partial(recompute, cell, options, reverse, precision)
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
        precision=precision,
        equations=equations,
    )
    return output, LSTMState(h, c)


def _kernel_kind(options: LSTMOptions, seed: Tensor | None) -> str:
    """Return the element of `library.KINDS` for dropout in training (with a seed) or in eval mode."""
    if seed is not None:
        return options.hidden_dropout_kind
    return "zoneout_mean" if options.hidden_dropout_kind == "zoneout" and options.hidden_dropout > 0.0 else "none"
