"""Large buffers that are reused from call to call.

The C library returns freed blocks above 32 MB to the operating system, which clears every page of the next one. For
sequences of some hundred steps this takes a tenth of the time of a training step.
"""

import ctypes
import math
import threading
import weakref

import torch
from torch import Tensor

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
