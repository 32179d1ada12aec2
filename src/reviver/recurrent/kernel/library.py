"""The compiled library of `cell.cpp` and the structures that its functions take."""

import ctypes
from pathlib import Path

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
