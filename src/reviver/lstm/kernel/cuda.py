"""The LSTM with hidden dropout on CUDA: runs the Triton kernels over a sequence, and is their gradient.

Shapes: B batch, T time, I input size, H hidden size.

W x of all steps is one matmul before the kernel, and the gradients of W and U are two after it. The backward pass
computes the masks again from the seed. Triton is imported by the first computation.
"""

import logging
import os
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from reviver.lstm.kernel.library import Inputs, check

SEQUENCE_UNITS = 256
"""Largest H for which one launch runs all steps. There a multiprocessor reads U once a step from the L2 cache, 1 MB at
most. Beyond this, each step is a launch of programs that share the units. An estimate, not measured on a GPU."""

ROWS = 16
"""Rows of the batch per program: the least that tensor cores multiply."""


_log = logging.getLogger(__name__)


class Options(NamedTuple):
    """What is the same for all steps of a call."""

    kind: str  # kind of dropout, one of `library.KINDS`
    dropout: float  # probability p, less than 1
    reverse: bool  # run from the last step to the first
    product: str  # how the kernel multiplies: `ieee`, `tf32x3` (three products of TF32, about as exact) or `bf16`


@cache
def available() -> bool:
    """Return whether the kernels can run: Triton is installed, and there is a GPU for it or its interpreter is on.

    If not, log it; the first call decides.
    """
    triton = find_spec("triton")
    found = triton is not None and triton.origin is not None  # a folder of that name is found, too
    if found and os.environ.get("TRITON_INTERPRET") != "1":
        is_cuda = torch.version.cuda is not None and torch.cuda.is_available()
        found = is_cuda and torch.cuda.get_device_capability() >= (8, 0)
    if not found:
        _log.warning("LSTM: no Triton for this GPU, so dropout of the hidden state runs step by step, which is slow")
    return found


def unroll(inputs: Inputs, options: Options) -> tuple[Tensor, Tensor, Tensor]:
    """Run an LSTM cell over a sequence on a GPU, with a gradient.

    After its last step a sequence keeps its state, and its output is 0. The matmuls outside the kernel follow torch's
    setting, unless `options` round their operands to bfloat16.

    Returns:
        The hidden state after each step, [T, B, H], and h and c after the last one, [B, H].

    Raises:
        DataError: if a shape or a dtype does not fit.
    """
    check(inputs)
    x, h, c, W, U, b_ih, b_hh, lengths, seed = inputs
    b = b_ih + b_hh if b_ih is not None and b_hh is not None else b_ih
    if lengths is not None:  # what is beyond the end of a sequence must not matter, not even a NaN
        active = (torch.arange(len(x), device=x.device)[:, None] < lengths)[:, :, None]  # [T, B, 1]
        x, lengths = torch.where(active, x, 0.0), lengths.contiguous()
    tensors = x, h, c, W, U, b
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors):
        output, h, c = cast("tuple[Tensor, Tensor, Tensor]", _TritonFunction.apply(*tensors, lengths, seed, options))
    else:
        output, h, c, *_ = _forward(*tensors, lengths, seed, options, save=False)
    return output if lengths is None else torch.where(active, output, 0.0), h, c


class _TritonFunction(torch.autograd.Function):
    """The output and the last state, with their gradient."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Any:
        x, _, _, W, U, _, lengths, seed, ctx.options = arguments
        *outputs, states, cells, gates = _forward(*arguments, save=True)
        ctx.save_for_backward(x, W, U, lengths, seed, states, cells, gates)
        ctx.set_materialize_grads(False)
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor | None, grad_h: Tensor | None, grad_c: Tensor | None) -> Any:
        if torch.is_grad_enabled():  # create_graph=True
            raise RuntimeError(
                "the CUDA LSTM kernel has no second derivatives; compute inside `with reviver.lstm.kernel.reference():`"
            )
        x, W, U, lengths, seed, states, cells, gates = ctx.saved_tensors
        options: Options = ctx.options
        T, (_, B, H) = len(gates), states.shape
        grad_gates = states.new_empty(T + 1, B, 4 * H)
        first, last = (T, 0) if options.reverse else (0, T)
        grad_gates[last] = 0.0
        bypass, grad_c = (
            states.new_zeros(B, H) if g is None else states.new_empty(B, H).copy_(g) for g in (grad_h, grad_c)
        )
        tensors = {"grad_gates": grad_gates, "U_transposed": _operand(U.T, options), "gates": gates, "cells": cells}
        tensors["grad_output"] = None if grad_output is None else grad_output.contiguous()
        launch("backward", tensors | {"bypass": bypass, "grad_c": grad_c, "lengths": lengths, "seed": seed}, options)

        steps = slice(1, None) if options.reverse else slice(T)  # slots before the steps
        grad_z, h_before = grad_gates[steps].view(T * B, 4 * H), states[steps].view(T * B, H)
        needs_x, needs_h, needs_c, needs_W, needs_U, needs_b, *_ = ctx.needs_input_grad
        return (
            _matmul(grad_z, W, options).view(x.shape) if needs_x else None,
            bypass + _matmul(grad_gates[first], U, options) if needs_h else None,
            grad_c if needs_c else None,
            _matmul(grad_z.T, x.reshape(T * B, -1), options) if needs_W else None,
            _matmul(grad_z.T, h_before, options) if needs_U else None,
            grad_z.sum(0) if needs_b else None,
            *[None] * 3,
        )


def _forward(*arguments: Any, save: bool) -> tuple[Tensor, ...]:
    """Return the output and the last h and c, then h and c of all slots and the gates [T, B, 4H]; the last two if `save`."""
    x, h, c, W, U, b, lengths, seed, options = arguments
    (T, B, I), H = x.shape, h.shape[1]  # noqa: E741
    gates = _matmul(x.reshape(T * B, I), W.T, options).view(T, B, 4 * H)  # of all steps
    if b is not None:
        gates += b
    states, cells = x.new_empty(T + 1, B, H), x.new_empty(T + 1 if save else 1, B, H)
    first, last = (T, 0) if options.reverse else (0, T)
    states[first], cells[first if save else 0] = h, c
    tensors = {"gates": gates, "U": _operand(U, options), "states": states, "cells": cells}
    with torch.cuda.device_of(x):  # Triton launches on the current device
        launch("forward", tensors | {"lengths": lengths, "seed": seed}, options, SAVE=save)
    output = states[:T] if options.reverse else states[1:]
    return output, states[last].clone(), cells[last if save else 0].clone(), states, cells, gates


def _operand(matrix: Tensor, options: Options) -> Tensor:
    """Return a matrix as the kernel reads it."""
    return matrix.to(torch.bfloat16 if options.product == "bf16" else torch.float32).contiguous()


def _matmul(a: Tensor, b: Tensor, options: Options) -> Tensor:
    """Return a @ b in float32; for bf16 the operands are rounded, and the sums are not."""
    with torch.autocast(a.device.type, enabled=False):
        if options.product != "bf16":
            return a @ b
        a, b = a.bfloat16(), b.bfloat16()
        return torch.mm(a, b, out_dtype=torch.float32) if a.is_cuda else a.float() @ b.float()


# Launches -----------------------------------------------------------------------------------------------------------


def compilation(kernel: str, H: int, options: Options) -> tuple[dict[str, int | bool], dict[str, Any], int]:
    """Return how a kernel is compiled, its constants, and the number of programs that share the units.

    With these tiles nothing spills, which `benchmarks/gpu.py` checks. Programs of a launch are fewer than
    multiprocessors in most batches, so a thread may have 255 registers.
    """
    power = max(16, 1 << (H - 1).bit_length())  # holds all units
    units, depth, stages = min(32, power), min(32, power), 4
    if kernel == "backward" and options.product == "bf16":
        depth, stages = min(128, 4 * power), 3  # ptxas unrolls shorter loops until registers spill
    blocks = -(-H // units)
    programs = 1 if H <= SEQUENCE_UNITS else blocks
    constants = {"H": H, "KIND": options.kind, "REVERSE": options.reverse, "PRODUCT": options.product}
    constants |= {"ROWS": ROWS, "UNITS": units, "DEPTH": depth, "PROGRAM_UNITS": units * blocks // programs}
    # Without overflow checks: masks compute modulo 2³² and 2⁶⁴.
    how = {"num_warps": 4, "num_stages": stages, "maxnreg": 255, "enable_fp_fusion": True, "sanitize_overflow": False}
    return how, constants, programs


def launch(kernel: str, tensors: Mapping[str, Tensor | None], options: Options, **flags: bool) -> None:
    """Run a kernel over all steps: in one launch, or in one for each step where programs share the units.

    `tensors` have the names of the kernel's parameters.
    """
    gates, p = cast("Tensor", tensors["gates"]), options.dropout
    (T, B), H = gates.shape[:2], gates.shape[2] // 4
    how, constants, programs = compilation(kernel, H, options)
    function = getattr(import_module("reviver.lstm.kernel.triton_kernels"), kernel)
    threshold = min(int(p * 2**32 + 0.5), 2**32 - 1) - 2**31
    scale = {"zoneout": 1.0, "zoneout_mean": 1.0 - p}.get(options.kind, 1.0 / (1.0 - p))
    sizes = {"threshold": threshold, "scale": scale, "B": B, "T": T} | constants | flags | how
    steps = T if programs == 1 else 1
    for begin in range(0, T, steps):
        function[-(-B // ROWS), programs](**tensors, begin=begin, end=begin + steps, **sizes)
