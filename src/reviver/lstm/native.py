"""The library that `operator.cpp` becomes, and the arguments of its calls."""

import ctypes
from pathlib import Path

from reviver.native import NativeLibrary


class Call(ctypes.Structure):
    """The arguments of a call, the same fields in the same order as `Call` in `operator.cpp`, where they are explained."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("T", "B", "I", "H", "begin", "end", "kept_begin", "kept_end")),
        *((name, ctypes.c_int64) for name in ("reverse", "threads", "kind", "bf16")),
        ("dropout", ctypes.c_double),
        *((name, ctypes.c_void_p) for name in ("seed", "lengths")),
        *((name, ctypes.c_void_p * 4) for name in ("W", "U", "b")),
        *((name, ctypes.c_void_p) for name in ("x", "h", "c", "output", "gates", "cells", "h_last", "c_last")),
        *((name, ctypes.c_void_p) for name in ("grad_output", "grad_h", "grad_c", "grad_gates")),
        *((name, ctypes.c_void_p) for name in ("grad_W", "grad_U", "grad_b")),
        ("stop_at_first", ctypes.c_int64),
    ]


OPERATOR = NativeLibrary(
    "lstm",
    Path(__file__).with_name("operator.cpp"),
    Call,
    ("forward", "backward"),
    fallback="the native LSTM operator is not available, the slower equations are used",
)
