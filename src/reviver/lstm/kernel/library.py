"""The compiled library of `lstm.cpp` and the structure that its functions take.

Shapes: B batch, T time, I input size, H hidden size.
"""

import ctypes
from pathlib import Path

import torch
from torch import Tensor

from reviver.native import NativeLibrary

KINDS = ("none", "step", "variational", "zoneout", "zoneout_mean")
"""Kinds of dropout, in the order of `Kind` in `dropout.h`: those of `DropoutKind`, and two for eval mode."""


class Call(ctypes.Structure):
    """The arguments of a call: the fields of `Call` in `call.h`, which documents them, in the same order."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("T", "B", "I", "H", "begin", "end", "saved_begin", "saved_end")),
        *((name, ctypes.c_int64) for name in ("reverse", "threads", "kind", "bf16")),
        ("dropout", ctypes.c_double),
        *((name, ctypes.c_void_p) for name in ("seed", "lengths", "W", "U", "b_ih", "b_hh")),
        *((name, ctypes.c_void_p) for name in ("x", "h", "c", "output", "gates", "cells", "h_last", "c_last")),
        *((name, ctypes.c_void_p) for name in ("grad_output", "grad_h", "grad_c", "grad_gates")),
        *((name, ctypes.c_void_p) for name in ("grad_W", "grad_U", "grad_b")),
        ("stop_at_first", ctypes.c_int64),
    ]


KERNEL = NativeLibrary(
    "lstm",
    Path(__file__).with_name("lstm.cpp"),
    Call,
    ("forward", "backward"),
    fallback="the native LSTM kernel is not available, using the slower equations",
)


def load() -> ctypes.CDLL:
    """Return the compiled library.

    Raises:
        RuntimeError: if it is not available.
    """
    library = KERNEL.library()
    if library is None:
        raise RuntimeError(
            "the native LSTM kernel is not available on this machine; check `reviver.lstm.kernel.available()` first"
        )
    return library


def make_call(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    W: Tensor,
    U: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    lengths: Tensor | None,
    seed: Tensor | None,
    *,
    dropout: float,
    kind: str,
    reverse: bool,
    precision: str,
) -> Call:
    """Return a call over all steps of x. It holds addresses, so the caller must keep the tensors alive.

    Args:
        x: input, [T, B, I]; this and the other tensors are contiguous.
        h: hidden state before the first step, [B, H].
        c: cell state before the first step, [B, H].
        W: input weights of the four gates in the order of the equations, [4H, I]: torch's `weight_ih`.
        U: recurrent weights, [4H, H]: `weight_hh`.
        b_ih: first bias, [4H], or None for 0; the kernel adds the two.
        b_hh: second bias, [4H], or None for 0.
        lengths: number of steps of each sequence, [B] int64; all T if None.
        seed: seed of the dropout masks, [] int64, or None.
        dropout: p.
        kind: kind of dropout, one of `KINDS`.
        reverse: run from the last step to the first.
        precision: fp32 or bf16.
    """
    call = Call(dropout=dropout, kind=KINDS.index(kind), reverse=reverse, bf16=precision == "bf16")
    call.T, call.B, call.I = x.shape
    call.H, call.end, call.saved_end, call.threads = h.shape[1], call.T, call.T, torch.get_num_threads()
    call.x, call.h, call.c = x.data_ptr(), h.data_ptr(), c.data_ptr()
    call.W, call.U = W.data_ptr(), U.data_ptr()
    call.b_ih = None if b_ih is None else b_ih.data_ptr()
    call.b_hh = None if b_hh is None else b_hh.data_ptr()
    call.seed = None if seed is None else seed.data_ptr()
    call.lengths = None if lengths is None else lengths.data_ptr()
    return call


def select_steps(call: Call, begin: int, end: int, h: Tensor, c: Tensor) -> None:
    """Restrict a call to the steps begin <= t < end; h and c [B, H] are the state before them."""
    call.begin, call.end = call.saved_begin, call.saved_end = begin, end
    call.h, call.c = h.data_ptr(), c.data_ptr()
