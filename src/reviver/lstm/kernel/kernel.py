"""When a kernel runs, native on a CPU or Triton's on CUDA, and how it runs a cell over a sequence.

Shapes: B batch, T time, I input size, H hidden size.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor

from reviver.lstm import equations
from reviver.lstm.cell import LSTMState, StackedWeights
from reviver.lstm.kernel import cuda, library, ops
from reviver.lstm.transforms import is_transformed
from reviver.settings.fields import Precision
from reviver.settings.lstm_network import LSTMOptions

_log = logging.getLogger(__name__)

_KNOWN_TYPES = (Tensor, nn.Parameter, nn.Buffer, FakeTensor)
"""Classes of tensors that the kernel can compute with. Others have a meaning of their own, which the equations keep."""

_switched_off: ContextVar[bool] = ContextVar("_switched_off", default=False)


@contextmanager
def reference() -> Iterator[None]:
    """Switch the kernel off in this context, so that LSTMs compute step by step with `lstm_step`."""
    token = _switched_off.set(True)
    try:
        yield
    finally:
        _switched_off.reset(token)


def is_switched_off() -> bool:
    """Return whether this runs inside `reference()`."""
    return _switched_off.get()


def available() -> bool:
    """Return whether the kernel works on this machine and is switched on. The first call compiles it."""
    return not _switched_off.get() and library.KERNEL.library() is not None


# The effect of torch.compiler.assume_constant_result, which would import the whole compiler and take seconds.
is_switched_off._dynamo_marked_constant = True  # type: ignore[attr-defined]
available._dynamo_marked_constant = True  # type: ignore[attr-defined]


def applies(x: Tensor, *others: Tensor | None) -> bool:
    """Return whether a kernel can compute with these tensors.

    They must be float32, all on a CPU or all on CUDA, and of no subclass that it does not know. It computes neither inside
    transforms of `torch.func` or forward-mode AD nor while a graph for other machines is recorded (`torch.export`,
    `torch.jit`). Under autocast it computes in bfloat16 only. The kernels for CUDA are not part of compiled graphs.
    """
    device = x.device.type
    for tensor in (x, *(other for other in others if other is not None)):
        if tensor.dtype != torch.float32 or tensor.device.type != device or type(tensor) not in _KNOWN_TYPES:
            return False
    if is_transformed() or torch.compiler.is_exporting() or torch._C._get_tracing_state():
        return False
    if device not in ("cpu", "cuda"):
        return False
    if torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) != torch.bfloat16:
        return False
    if device == "cpu":
        return available()
    return not is_switched_off() and not torch.compiler.is_compiling() and _has_cuda_kernels()


@cache
def _has_cuda_kernels() -> bool:
    """Return whether the kernels for CUDA can run; if not, log it once."""
    if not cuda.available():
        _log.warning("LSTM: no Triton for this GPU, so dropout of the hidden state runs step by step, which is slow")
        return False
    return True


def unroll(
    weights: StackedWeights,
    x: Tensor,
    state: LSTMState,
    lengths: Tensor | None,
    *,
    reverse: bool,
    options: LSTMOptions,
    seed: Tensor | None,
) -> tuple[Tensor, LSTMState]:
    """Run a cell over a sequence with a kernel; arguments and result are those of `equations.unroll`."""
    precision: Precision = "bf16" if torch.is_autocast_enabled(x.device.type) else options.precision
    p = options.hidden_dropout
    kind: str = options.hidden_dropout_kind
    if seed is None:
        kind = "zoneout_mean" if kind == "zoneout" and p > 0.0 else "none"
    if not x.is_cpu:
        W, U, b_ih, b_hh, _ = weights
        b = b_ih + b_hh if b_ih is not None and b_hh is not None else b_ih
        seed = None if seed is None else seed.to(x.device)
        output, h, c = cuda.unroll(
            *(x, *state, W, U, b, lengths, seed), dropout=p, kind=kind, reverse=reverse, precision=precision
        )
        return output, LSTMState(h, c)
    inputs = library.Inputs(
        x, *state, weights.W, weights.U, weights.b_ih, weights.b_hh, lengths, None if seed is None else seed.cpu()
    )
    save = library.SAVE_NOTHING
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in inputs):
        save = options.activation_checkpoint_steps or library.SAVE_ALL

    def recompute(inputs: library.Inputs) -> tuple[Tensor, Tensor, Tensor]:
        weights = StackedWeights(*inputs[3:7])
        start = LSTMState(inputs.h, inputs.c)
        same = replace(options, precision=precision)
        output, end = equations.unroll(weights, inputs.x, start, lengths, reverse=reverse, options=same, seed=seed)
        return output, *end

    output, h, c = ops.run(inputs, library.Mode(p, kind, reverse, save, precision), recompute)
    return output, LSTMState(h, c)
