"""The compiled library of `lstm.cpp` and the structure that its functions take."""

import ctypes
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from reviver.errors import DataError
from reviver.recurrent.kernel.native import NativeLibrary

KINDS = ("none", "step", "variational", "zoneout", "zoneout_mean")
"""Kinds of dropout, in the order of `Kind` in `dropout.h`: those of `DropoutKind`, and two for eval mode."""


class Inputs(NamedTuple):
    """The tensors of a call. Shapes: B batch, T time, I input size, H hidden size."""

    x: Tensor  # input, [T, B, I]
    h: Tensor  # hidden state before the first step, [B, H]
    c: Tensor  # cell state before the first step, [B, H]
    W: Tensor  # input weights of the gates, [4H, I]
    U: Tensor  # recurrent weights, [4H, H]
    b_ih: Tensor | None  # first bias, [4H], or None for 0; the kernel adds the two
    b_hh: Tensor | None  # second bias
    lengths: Tensor | None  # number of steps of each sequence, [B] int64; all T if None
    seed: Tensor | None  # seed of the masks, [] int64 (see `dropout.draw_seed`); None for "none" and "zoneout_mean"


def check(inputs: Inputs) -> None:
    """Raise DataError if a kernel would read beyond the end of a tensor, or take it for another."""
    (T, B, I), H, device = inputs.x.shape, inputs.h.shape[1], inputs.x.device  # noqa: E741
    state, bias = (B, H), (4 * H,)
    shapes = (T, B, I), state, state, (4 * H, I), (4 * H, H), bias, bias, (B,), ()
    for name, tensor, shape in zip(Inputs._fields, inputs, shapes, strict=True):
        dtype = torch.int64 if name in {"lengths", "seed"} else torch.float32
        if tensor is not None and (tensor.shape != shape or tensor.dtype != dtype or tensor.device != device):
            got = f"{list(tensor.shape)} of {tensor.dtype} on {tensor.device}"
            raise DataError(f"{name} must be {list(shape)} of {dtype} on {device}, got {got}")


class Mode(NamedTuple):
    """How a call computes."""

    dropout: float  # probability p of hidden dropout
    kind: str  # kind of dropout, one of `KINDS`
    reverse: bool  # run from the last step to the first
    save: int  # what the backward pass gets: `SAVE_ALL`, `SAVE_NOTHING`, or the state before every k > 0 steps
    precision: str  # "fp32" or "bf16"


SAVE_ALL, SAVE_NOTHING = -1, 0


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

    def point_to(self, **tensors: Tensor | None) -> None:
        """Set addresses of contiguous tensors; the caller must keep these alive."""
        for name, tensor in tensors.items():
            setattr(self, name, None if tensor is None else tensor.data_ptr())

    def select_steps(self, begin: int, end: int, h: Tensor, c: Tensor) -> None:
        """Restrict the call to the steps begin <= t < end; h and c [B, H] are the state before them."""
        self.begin, self.end = self.saved_begin, self.saved_end = begin, end
        self.point_to(h=h, c=c)


KERNEL = NativeLibrary(
    "lstm",
    Path(__file__).with_name("lstm.cpp"),
    Call,
    ("forward", "backward"),
    fallback="the native LSTM kernel is not available, using the slower equations",
)


def load() -> ctypes.CDLL:
    """Return the compiled library, which must be available."""
    assert KERNEL.library is not None, "check `reviver.recurrent.kernel.available()` first"
    return KERNEL.library


def make_call(inputs: Inputs, mode: Mode) -> Call:
    """Return a call over all steps of contiguous tensors."""
    call = Call(dropout=mode.dropout, kind=KINDS.index(mode.kind), reverse=mode.reverse, bf16=mode.precision == "bf16")
    call.T, call.B, call.I = inputs.x.shape
    call.H, call.end, call.saved_end, call.threads = inputs.h.shape[1], call.T, call.T, torch.get_num_threads()
    call.point_to(**inputs._asdict())
    return call
