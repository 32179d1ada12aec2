"""The compiled library of `cell.cpp`, the structures that its functions take, and memory for large results.

The C library returns freed blocks above 32 MB to the operating system, which clears every page of the next one. For
sequences of some hundred steps this takes a tenth of the time of a training step. So such blocks are kept for the next call.
"""

import ctypes
import math
import threading
import weakref
from pathlib import Path

import torch
from torch import Tensor

from reviver.recurrent.kernel.native import NativeLibrary

KINDS = ("none", "step", "variational", "zoneout", "zoneout_mean")
"""Kinds of dropout, in the order of `Kind` in `dropout.h`: those of `DropoutKind`, and two for eval mode."""


class PlanArrays(ctypes.Structure):
    """The plan of a cell: the fields of `Plan` in `call.h`, which documents them, in the same order."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("states", "sums", "slots", "scalars", "registers", "spills")),
        *((name, ctypes.c_int64) for name in ("operand_gradients", "vectors", "numbers")),
        *((name, ctypes.c_int64) for name in ("forward_segments", "backward_segments")),
        *((name, ctypes.c_void_p) for name in ("forward", "forward_ends", "forward_places", "forward_places_ends")),
        *((name, ctypes.c_void_p) for name in ("groups", "groups_ends")),
        *((name, ctypes.c_void_p) for name in ("backward", "backward_ends", "backward_places", "backward_places_ends")),
        *((name, ctypes.c_void_p) for name in ("products", "products_ends", "W", "U", "b", "vector", "number")),
    ]


class Call(ctypes.Structure):
    """The arguments of a pass: the fields of `Call` in `call.h`, which documents them, in the same order."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("T", "B", "I", "H", "P", "begin", "end", "saved_begin", "saved_end")),
        *((name, ctypes.c_int64) for name in ("reverse", "threads", "kind", "bf16", "saving")),
        ("dropout", ctypes.c_double),
        *((name, ctypes.c_void_p) for name in ("seed", "lengths", "x", "plan", "weights", "initial", "history")),
        *((name, ctypes.c_void_p) for name in ("last", "slot", "grad_output", "grad_last", "grad_initial", "carry")),
        *((name, ctypes.c_void_p) for name in ("grad_sums", "grad_W", "grad_U", "grad_vector")),
        ("stop_at_first", ctypes.c_int64),
    ]


KERNEL = NativeLibrary(
    "cell",
    Path(__file__).with_name("cell.cpp"),
    Call,
    ("forward", "backward"),
    fallback="the native kernel is not available, using the slower equations",
)


def load() -> ctypes.CDLL:
    """Return the compiled library, which must be available."""
    assert KERNEL.library is not None, "check `reviver.recurrent.kernel.available()` first"
    return KERNEL.library


# Memory

MIN_BYTES = 31 << 20
"""Size from which a buffer is kept for reuse when it is freed; see `keep_freed_memory` in `cell.cpp` for smaller ones."""
MAX_BYTES = 512 << 20
"""Maximum size of all buffers that are kept."""

_free: list[Tensor] = []  # float32, one axis
_lock = threading.Lock()


def empty(*shape: int) -> Tensor:
    """Return an uninitialized float32 tensor on the CPU, whose memory is reused after it is freed."""
    count = math.prod(shape)
    if 4 * count < MIN_BYTES:
        return torch.empty(shape, dtype=torch.float32, device="cpu")
    block = _take(count)
    if block is None:
        block = torch.empty(count, dtype=torch.float32, device="cpu")
    memory = (ctypes.c_float * count).from_address(block.data_ptr())
    weakref.finalize(memory, _keep, block).atexit = False  # the tensor returned below owns `memory`, not `block`
    return torch.frombuffer(memory, dtype=torch.float32).view(shape)


def _take(count: int) -> Tensor | None:
    """Return a kept buffer of `count` to twice as many floats; if there is none, free all of them and return None."""
    with _lock:
        for index, block in enumerate(_free):
            if count <= block.numel() <= 2 * count:
                return _free.pop(index)
        _free.clear()
        return None


def _keep(block: Tensor) -> None:
    """Keep a buffer that is no longer used. Takes no lock: garbage collection may call it at any time."""
    if 4 * (block.numel() + sum(kept.numel() for kept in tuple(_free))) <= MAX_BYTES:
        _free.append(block)
