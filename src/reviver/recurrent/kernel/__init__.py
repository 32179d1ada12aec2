"""What runs a cell over a sequence: torch, the native kernel on a CPU, or the equations.

torch computes what it can and the kernel does not compute faster. It cannot drop units of the hidden state; it has no
rules for `torch.func`, forward-mode AD and, in float32 on a CPU, second derivatives; and in exported programs it fixes
the number of steps. The measurements behind the rule are in docs/explanation/engineering.md.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor  # private: no public name for the tensors that compilers record with
from torch.nn.utils.rnn import PackedSequence

from reviver.recurrent.kernel import library
from reviver.settings.lstm_network import LSTMOptions

AMX_HIDDEN_SIZE = 512
"""Smallest hidden size at which torch's float32 inference is faster than the kernel on a processor with AMX."""

_KNOWN_TYPES = (Tensor, nn.Parameter, FakeTensor)
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
    """Return whether the native kernel works on this machine and is switched on. The first call compiles it."""
    return not _switched_off.get() and library.KERNEL.library is not None


def is_transformed() -> bool:
    """Return whether a transform of `torch.func` (grad, vmap, jvp, ...) or forward-mode AD runs this code."""
    # Both private: torch has no public question for either, and tensors of the transform may be hidden in a closure.
    in_transform = torch._C._functorch.maybe_current_level() is not None
    return in_transform or torch.autograd.forward_ad._current_level >= 0


def is_recorded(x: Tensor) -> bool:
    """Return whether the compiler, a dispatch mode or a fake tensor records operators, so that it must see one of ours."""
    # Private: dispatch modes, such as those that count operations, have no public question.
    return torch.compiler.is_compiling() or bool(torch._C._len_torch_dispatch_stack()) or isinstance(x, FakeTensor)


def has_memory(tensor: Tensor | None) -> bool:
    """Return whether a tensor can be read: it is none of `vmap`, also of `is_grads_batched` of `torch.autograd.grad`."""
    try:
        return tensor is None or tensor.data_ptr() >= 0
    except RuntimeError:
        return False


def autocast_dtype(tensor: Tensor) -> torch.dtype | None:
    """Return the dtype of autocast on the device of a tensor; None without autocast."""
    kind = tensor.device.type
    return torch.get_autocast_dtype(kind) if kind != "meta" and torch.is_autocast_enabled(kind) else None


# The effect of torch.compiler.assume_constant_result, which would import the whole compiler and take seconds.
is_switched_off._dynamo_marked_constant = True  # type: ignore[attr-defined]
available._dynamo_marked_constant = True  # type: ignore[attr-defined]
is_transformed._dynamo_marked_constant = True  # type: ignore[attr-defined]


def torch_runs(layer: Any, options: LSTMOptions, x: Tensor | PackedSequence) -> bool:
    """Return whether torch's own layer runs one of ours over an input of full length: an `LSTM`, or the text of such a cell.

    - never: with hidden dropout in training, with zoneout, with bf16 operands, inside `reference()`, a transform or
      `torch.export`
    - always else: on other devices than a CPU (cuDNN), in other dtypes than float32, with a projection, and while
      `torch.jit` traces
    - float32 on a CPU: where no gradient is needed and the kernel is not available; on a processor with AMX also under
      autocast, and from `AMX_HIDDEN_SIZE` units on where no gradient is needed
    """
    data = x.data if isinstance(x, PackedSequence) else x
    changes_h = options.hidden_dropout > 0.0 and (layer.training or options.hidden_dropout_kind == "zoneout")
    if changes_h or options.precision != "fp32" or is_switched_off():
        return False
    if is_transformed() or torch.compiler.is_exporting():
        return False
    is_float32 = data.is_cpu and layer.weight_dtype == torch.float32
    if not isinstance(layer, nn.LSTM):  # the layer of a text that torch has, too
        return not data.is_cpu
    if not is_float32 or layer.proj_size or torch.jit.is_tracing():  # type: ignore[attr-defined]
        return True
    return not torch.compiler.is_compiling() and _torch_is_faster(layer.hidden_size)


@cache
def _has_amx() -> bool:
    """Return whether the processor has AMX, which Linux alone lets programs use."""
    try:
        return " amx_tile" in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False


def _torch_is_faster(hidden_size: int) -> bool:
    has_amx = _has_amx()
    if torch.is_autocast_enabled("cpu"):
        return has_amx and torch.get_autocast_dtype("cpu") == torch.bfloat16
    is_large = has_amx and hidden_size >= AMX_HIDDEN_SIZE
    return not torch.is_grad_enabled() and (is_large or not available())


def applies(x: Tensor, *others: Tensor | None) -> bool:
    """Return whether the kernel can compute with these tensors.

    They must be float32, on a CPU, and of no subclass that it does not know. It computes neither inside transforms of
    `torch.func` or forward-mode AD nor while a graph for other machines is recorded (`torch.export`, `torch.jit`).
    Under autocast it computes in bfloat16 only.
    """
    for tensor in (x, *(other for other in others if other is not None)):
        if tensor.dtype != torch.float32 or not tensor.is_cpu or type(tensor) not in _KNOWN_TYPES:
            return False
    if is_transformed() or torch.compiler.is_exporting() or torch.jit.is_tracing():  # type: ignore[attr-defined]
        return False
    if torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") != torch.bfloat16:
        return False
    return available()
