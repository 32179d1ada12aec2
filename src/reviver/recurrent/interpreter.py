"""The native pass of a cell: its plan as arrays, and the functions of the library that interpret it, with a gradient.

Shapes: B batch, T time, I input size, H hidden size, P the same padded to a multiple of 16, S steps of a chunk.
"""

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch._subclasses import FakeTensor
from torch.nn import functional

from reviver.recurrent import kernel
from reviver.recurrent.equations import round_to_bf16
from reviver.recurrent.grammar import Cell
from reviver.recurrent.kernel import buffers, library
from reviver.recurrent.kernel.library import SAVE_ALL, SAVE_NOTHING
from reviver.recurrent.kernel.ops import BACKWARD_ROWS, differentiable_gradients
from reviver.recurrent.plan import Place, Plan
from reviver.recurrent.reference import reverse_steps, unroll
from reviver.recurrent.transforms import is_batched
from reviver.settings.lstm_network import LSTMOptions

_SIZES = (
    "P states sums slots scalars registers spills operand_gradients vectors saving forward_segments backward_segments"
)
_POINTERS = (
    "forward forward_ends groups groups_ends backward backward_ends products products_ends W U b vector history last slot "
    "grad_output carry grad_sums grad_W grad_U grad_vector"
)


class CellCall(ctypes.Structure):
    """The arguments of a pass: the fields of `CellCall` in `cell_call.h`, which documents them, in the same order."""

    _fields_ = [
        ("base", library.Call),
        *((name, ctypes.c_int64) for name in _SIZES.split()),
        *((name, ctypes.c_void_p) for name in _POINTERS.split()),
    ]


@lru_cache(64)
def _plan(cell: Cell, dropout: str) -> tuple[Plan, CellCall, list[Any]]:
    """Return a plan, a call with its fields, and the arrays that this points to, which must live as long as it."""
    plan, arrays = Plan(cell, dropout), list[Any]()
    call = CellCall(
        states=len(plan.states),
        sums=len(plan.sums),
        slots=plan.sizes[Place.SLOT],
        scalars=plan.scalars,
        registers=plan.sizes[Place.REGISTER],
        spills=plan.sizes[Place.SPILL],
        operand_gradients=plan.sizes[Place.GRAD_OPERAND],
        vectors=len(plan.vectors) + len(plan.numbers),
        forward_segments=len(plan.forward),
        backward_segments=len(plan.backward),
    )
    for name in ("forward", "groups", "backward", "products"):
        segments: list[list[Sequence[int]]] = getattr(plan, name)
        numbers = [number for segment in segments for row in segment for number in row]
        for key, values in ((name, numbers), (f"{name}_ends", [*accumulate(map(len, segments))])):
            arrays.append((ctypes.c_int32 * max(1, len(values)))(*values))
            setattr(call, key, ctypes.addressof(arrays[-1]))
    return plan, call, arrays


def padded(size: int) -> int:
    """Return the numbers that a row of units takes."""
    return -(-size // 16) * 16


def run(
    cell: Cell,
    weights: Mapping[str, Tensor],
    x: Tensor,
    state: Sequence[Tensor],
    lengths: Tensor | None,
    options: LSTMOptions,
    seed: Tensor | None,
    reverse: bool = False,
) -> tuple[Tensor, Sequence[Tensor]]:
    """Run a cell over a sequence, natively where that is possible; arguments and result are those of `reference.unroll`."""
    tensors = [weights[name] for name in cell.weights]
    traced = torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() or isinstance(x, FakeTensor)
    if traced or not x.is_cpu or x.shape[1] == 0 or not kernel.applies(x, *state, *tensors):
        return unroll(cell, weights, x, state, lengths, options, seed, reverse)
    if torch.is_autocast_enabled("cpu"):
        options = replace(options, precision="bf16")
    x = reverse_steps(x, lengths) if reverse else x
    job = _Pass(cell, lengths, options, seed, reverse)
    output, *after = _CellFunction.apply(job, x.contiguous(), *state, *tensors)
    return reverse_steps(output, lengths) if reverse else output, after


class _Pass:
    def __init__(
        self, cell: Cell, lengths: Tensor | None, options: LSTMOptions, seed: Tensor | None, reverse: bool
    ) -> None:
        self.cell, self.options, self.seed, self.reverse = cell, options, seed, reverse
        self.lengths = None if lengths is None else lengths.contiguous()
        kind = options.hidden_dropout_kind
        in_eval = "zoneout_mean" if kind == "zoneout" and options.hidden_dropout > 0.0 else "none"
        self.mask = in_eval if seed is None else kind
        dropout = {"none": "none", "step": "scaled", "variational": "scaled"}.get(self.mask, "zoneout")
        self.plan, call, arrays = _plan(cell, dropout)
        self.call = CellCall.from_buffer_copy(call)
        self.kept: dict[str, Any] = {"plan": arrays}  # what must live as long as the call
        self.save = SAVE_NOTHING

    def forward(
        self, x: Tensor, states: Sequence[Tensor], weights: Sequence[Tensor], save: int
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return the output with the states after the last step, and what the backward pass needs besides its arguments."""
        (T, B, _), H, plan = x.shape, states[0].shape[1], self.plan
        P, saving = padded(H), save == SAVE_ALL
        history = [buffers.empty(T + 1 if saving or not at else 2, B, P) for at in range(len(states))]
        for entries, initial in zip(history, states, strict=True):
            entries[0, :, :H] = initial
        last = [x.new_empty(B, P) for _ in states]
        self.prepare(x, H, weights)
        self.point("history", [entries.data_ptr() for entries in history])
        self.point("last", [entries.data_ptr() for entries in last])
        saved = [*history, buffers.empty(T, B, plan.sizes[Place.SLOT] * P + padded(plan.scalars))] if saving else []
        self.call.saving, self.call.slot = saving, saved[-1].data_ptr() if saving else None
        for begin, end in reversed(_chunks(T, save if save > 0 else T)):
            if save > 0:  # the states before the chunk
                saved.append(
                    torch.stack([entries[begin if entries is history[0] else begin % 2] for entries in history])
                )
            self.run("forward", begin, end)
        return [history[0][1:, :, :H], *(state[:, :H] for state in last)], saved

    def run(self, name: str, begin: int, end: int) -> None:
        """Compute the steps begin <= t < end of a pass."""
        self.call.base.begin, self.call.base.end = begin, end
        getattr(library.load(), f"reviver_cell_{name}")(ctypes.byref(self.call))

    def recompute(self, begin: int, end: int, start: Tensor, history: Sequence[Tensor], slot: Tensor) -> None:
        """Compute some steps again for the backward pass, from the states `start` before them, into the other two."""
        for entries, initial in zip(history, start, strict=True):
            entries[0] = initial
        self.point("history", [entries.data_ptr() - begin * entries[0].nbytes for entries in history])
        self.call.saving, self.call.slot = True, slot.data_ptr() - begin * slot[0].nbytes
        self.run("forward", begin, end)

    def prepare(self, x: Tensor, H: int, weights: Sequence[Tensor]) -> None:
        """Fill in the call for both passes."""
        call, plan, P, base = self.call, self.plan, padded(H), self.call.base
        base.dropout, base.kind = self.options.hidden_dropout, library.KINDS.index(self.mask)
        base.T, base.B, base.I = x.shape
        base.H, base.threads, base.reverse, call.P = H, torch.get_num_threads(), self.reverse, P
        base.bf16 = self.options.precision == "bf16"
        base.point_to(x=x, lengths=self.lengths, seed=self.seed)
        by_name = {name: weight.contiguous() for name, weight in zip(self.cell.weights, weights, strict=True)}
        table = torch.cat([*(by_name[name] for name in plan.vectors), *(x.new_full((H,), n) for n in plan.numbers)])
        table = table if P == H else functional.pad(table.view(-1, H), (0, P - H))
        call.vector = table.data_ptr()
        at: dict[Any, int | None] = {name: weight.data_ptr() for name, weight in by_name.items()}
        at |= {name: call.vector + 4 * P * index for index, name in enumerate(plan.vectors)} | {None: None}
        for index, name in enumerate("WUb"):
            self.point(name, [at[s[index]] for s in plan.sums])
        self.kept |= {"weights": by_name, "table": table}

    def point(self, name: str, addresses: Sequence[int | None]) -> None:
        """Let a field of the call point to an array of addresses."""
        self.kept[name] = (ctypes.c_void_p * len(addresses))(*addresses)
        setattr(self.call, name, ctypes.addressof(self.kept[name]))

    def backward(
        self,
        x: Tensor,
        weights: Sequence[Tensor],
        grads: Sequence[Tensor | None],
        needs_x: bool,
        needs_state: bool,
        starts: Sequence[Tensor],
    ) -> list[Tensor | None]:
        """Return the gradients of x, the states before the first step, and the weights.

        `starts` are the states before each chunk that is to be computed again; empty if everything is saved.
        """
        plan, call, (T, B, I) = self.plan, self.call, x.shape  # noqa: E741
        H = len(weights[0])
        P, n = padded(H), len(plan.sums)
        carry = [x.new_zeros(2, B, P) for _ in grads[1:]]
        for state, grad in zip(carry, grads[1:], strict=True):
            if grad is not None:
                state[:, :, :H] = grad
        self.point("carry", [state.data_ptr() for state in carry])
        steps = min(T, self.save if starts else max(1, BACKWARD_ROWS // B))
        if starts:  # buffers of a chunk; the states after the last step are computed already
            history = [buffers.empty(steps + 1, B, P) for _ in carry]
            slot = buffers.empty(steps, B, plan.sizes[Place.SLOT] * P + padded(plan.scalars))
            last = [x.new_empty(B, P) for _ in carry]
            self.point("last", [entries.data_ptr() for entries in last])
        grad_W, grad_U, grad_sums = x.new_zeros(n, P, I), x.new_zeros(n, P, H), x.new_empty(steps, B, n * P)
        grad_vector = x.new_zeros(call.vectors, P)
        call.grad_W, call.grad_U, call.grad_vector = grad_W.data_ptr(), grad_U.data_ptr(), grad_vector.data_ptr()
        grad_output = grads[0]
        if grad_output is not None:
            grad_output = grad_output.contiguous() if P == H else functional.pad(grad_output, (0, P - H))
        call.grad_output = None if grad_output is None else grad_output.data_ptr()
        call.grad_sums, call.base.stop_at_first = grad_sums.data_ptr(), not needs_state
        grad_x = on_x = None
        to_operand = round_to_bf16 if self.options.precision == "bf16" else torch.Tensor.detach
        if needs_x:
            grad_x, on_x = x.new_empty(x.shape), x.new_zeros(n, P, I)  # the matrices on x of all sums, or 0
            by_name = dict(zip(self.cell.weights, weights, strict=True))
            for at, s in enumerate(plan.sums):
                if s.W is not None:
                    on_x[at, :H] = to_operand(by_name[s.W])
        for at, (begin, end) in enumerate(_chunks(T, steps)):
            if starts:
                self.recompute(begin, end, starts[-1 - at], history, slot)
            self.run("backward", begin, end)
            if grad_x is not None and on_x is not None:
                rows = to_operand(grad_sums[: end - begin].view(-1, n * P))
                torch.mm(rows, on_x.view(-1, I), out=grad_x[begin:end].view(-1, I))
        found: dict[str | None, Tensor] = dict(zip(plan.vectors, grad_vector[:, :H].unbind(), strict=False))
        for s, *pair in zip(plan.sums, grad_W[:, :H].unbind(), grad_U[:, :H].unbind(), strict=True):
            for matrix, grad in zip(s[:2], pair, strict=True):  # which may stand in several sums
                found[matrix] = found[matrix] + grad if matrix in found and matrix else grad
        states = [state[0, :, :H] if needs_state else None for state in carry]
        return [grad_x, *states, *(found.get(name) for name in self.cell.weights)]

    def again(self, x: Tensor, *tensors: Tensor) -> list[Tensor]:
        """Return the output and the states after the last step by the reference."""
        count = len(self.cell.states)
        weights = dict(zip(self.cell.weights, tensors[count:], strict=True))
        x, start = reverse_steps(x, self.lengths) if self.reverse else x, tensors[:count]
        output, after = unroll(self.cell, weights, x, start, self.lengths, self.options, self.seed, self.reverse)
        return [reverse_steps(output, self.lengths) if self.reverse else output, *after]


class _CellFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, job: _Pass, x: Tensor, *tensors: Tensor) -> Any:
        count = len(job.cell.states)
        job.save = job.options.activation_checkpoint_steps or SAVE_ALL if any(ctx.needs_input_grad) else SAVE_NOTHING
        outputs, saved = job.forward(x, tensors[:count], tensors[count:], job.save)
        if job.save != SAVE_NOTHING:
            ctx.job = job
            ctx.save_for_backward(x, *tensors, outputs[0], *saved)  # which checks that nobody has changed them
            ctx.set_materialize_grads(False)
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        job: _Pass = ctx.job
        count = len(job.cell.states)
        x, *tensors = ctx.saved_tensors[: 1 + count + len(job.cell.weights)]
        starts = ctx.saved_tensors[2 + len(tensors) :] if job.save > 0 else ()
        if torch.is_grad_enabled() or is_batched(grads):  # create_graph=True, is_grads_batched=True
            return None, *differentiable_gradients(lambda views: job.again(*views), (x, *tensors), grads)
        needs_x, needs_state = ctx.needs_input_grad[1], any(ctx.needs_input_grad[2 : 2 + count])
        return None, *job.backward(x, tensors[count:], grads, needs_x, needs_state, starts)


def _chunks(T: int, steps: int) -> list[tuple[int, int]]:
    """Return (begin, end) of each chunk of at most `steps` steps, the last one first."""
    return [(max(0, end - steps), end) for end in range(T, 0, -steps)]
