"""The native pass of a cell: its plan as arrays, and the functions of the library that interpret it, with a gradient.

Shapes: B batch, T time, I input size, H hidden size, P the same padded to a multiple of 16, S steps of a chunk.
"""

import ctypes
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from reviver.cells.grammar import Cell
from reviver.cells.plan import Kind, Plan, make_plan
from reviver.cells.reference import States, unroll
from reviver.lstm import kernel
from reviver.lstm.kernel import buffers, library
from reviver.lstm.kernel.ops import BACKWARD_ROWS
from reviver.lstm.transforms import is_batched
from reviver.settings.lstm_network import LSTMOptions

_SIZES = "P states sums slots scalars registers spills operand_gradients vectors saving forward_segments backward_segments"
_POINTERS = (
    "forward forward_ends groups group_ends backward backward_ends products product_ends W U b vector history last slot "
    "grad_output carry grad_sums grad_W grad_U grad_vector"
)


class CellCall(ctypes.Structure):
    """The arguments of a pass: the fields of `CellCall` in `cell_call.h`, which documents them, in the same order."""

    _fields_ = [
        ("base", library.Call),
        *((name, ctypes.c_int64) for name in _SIZES.split()),
        *((name, ctypes.c_void_p) for name in _POINTERS.split()),
    ]


@cache
def _functions() -> tuple[Any, Any]:
    """Return the forward and the backward function of the library."""
    loaded = library.load()
    loaded.reviver_cell_call_size.restype = ctypes.c_int64
    assert loaded.reviver_cell_call_size() == ctypes.sizeof(CellCall), "cell_call.h has the same fields"
    functions = loaded.reviver_cell_forward, loaded.reviver_cell_backward
    for function in functions:
        function.argtypes, function.restype = [ctypes.POINTER(CellCall)], None
    return functions


class _NativePlan:
    """A plan as arrays, which must live as long as calls that point to them."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.arrays: dict[str, Any] = {}
        tables = {"forward": plan.forward, "groups": plan.groups, "backward": plan.backward, "products": plan.products}
        ends = {"forward": "forward_ends", "groups": "group_ends", "backward": "backward_ends", "products": "product_ends"}
        for name, segments in tables.items():
            rows: Any = [row for segment in segments for row in segment]
            counts = [sum(map(len, segments[: at + 1])) for at in range(len(segments))]
            for key, numbers in ((name, [number for row in rows for number in row]), (ends[name], counts)):
                self.arrays[key] = (ctypes.c_int32 * max(1, len(numbers)))(*numbers)
        self.numbers = torch.tensor(plan.numbers)
        self.groups = [group for segment in plan.groups for group in segment]

    def call(self, x: Tensor, hidden_size: int, states: int, options: LSTMOptions, mask: str, tensors: Mapping[str, Tensor | None]) -> CellCall:
        call, plan, base = CellCall(), self.plan, None
        base = call.base
        base.dropout, base.kind = options.hidden_dropout, library.KINDS.index(mask)
        base.T, base.B, base.I = x.shape
        base.H, base.end, base.saved_end, base.threads = hidden_size, base.T, base.T, torch.get_num_threads()
        base.point_to(x=x, **tensors)
        call.states, call.P = states, padded(hidden_size)
        call.sums, call.slots, call.scalars = len(plan.sums), plan.slots, plan.scalars
        call.registers, call.spills, call.operand_gradients = plan.registers, plan.spills, plan.operand_gradients
        call.vectors = len(plan.vectors) + len(plan.numbers)
        call.forward_segments, call.backward_segments = len(plan.forward), len(plan.backward)
        for name, array in self.arrays.items():
            setattr(call, name, ctypes.addressof(array))
        return call


@cache
def _native_plan(cell: Cell, dropout: str) -> _NativePlan:
    return _NativePlan(make_plan(cell, dropout))


def padded(size: int) -> int:
    """Return the numbers that a row of units takes."""
    return -(-size // 16) * 16


def run(
    cell: Cell,
    weights: Mapping[str, Tensor],
    x: Tensor,
    state: States,
    lengths: Tensor | None,
    options: LSTMOptions,
    seed: Tensor | None,
) -> tuple[Tensor, States]:
    """Run a cell over a sequence, natively where that is possible; arguments and result are those of `reference.unroll`."""
    names = list(cell.shapes(1, 1))
    tensors = [weights[name] for name in names]
    if x.shape[1] == 0 or not x.is_cpu or not kernel.applies(x, *state.values(), *tensors):
        return unroll(cell, weights, x, state, lengths, options, seed)
    kind = options.hidden_dropout_kind
    if seed is None:
        mask = "zoneout_mean" if kind == "zoneout" and options.hidden_dropout > 0.0 else "none"
    else:
        mask = kind
    dropout = {"none": "none", "step": "scaled", "variational": "scaled"}.get(mask, "zoneout")
    states = [state[name] for name in cell.states]

    def again(*inputs: Tensor) -> tuple[Tensor, ...]:
        before = dict(zip(cell.states, inputs[1:], strict=False))
        same = dict(zip(names, inputs[1 + len(states) :], strict=True))
        output, after = unroll(cell, same, inputs[0], before, lengths, options, seed)
        return output, *(after[name] for name in cell.states)

    native = _native_plan(cell, dropout)
    calls = _Call(native, options, mask, lengths, seed, names, len(states), again)
    output, *after = _CellFunction.apply(calls, x.contiguous(), *states, *tensors)
    return output, dict(zip(cell.states, after, strict=True))


class _Call:
    """A pass over a batch: what does not depend on tensors with a gradient."""

    def __init__(
        self,
        native: _NativePlan,
        options: LSTMOptions,
        mask: str,
        lengths: Tensor | None,
        seed: Tensor | None,
        names: Sequence[str],
        state_count: int,
        again: Callable[..., tuple[Tensor, ...]],
    ) -> None:
        self.native, self.options, self.mask = native, options, mask
        self.lengths = None if lengths is None else lengths.contiguous()
        self.seed, self.names, self.state_count, self.again = seed, names, state_count, again

    def forward(self, x: Tensor, states: Sequence[Tensor], weights: Sequence[Tensor], saving: bool) -> tuple[Any, ...]:
        """Return the output, the states after the last step, and what the backward pass needs."""
        plan, (T, B, _), H = self.native.plan, x.shape, states[0].shape[1]
        P = padded(H)
        history = [buffers.empty(T + 1 if saving or not at else 2, B, P) for at in range(len(states))]
        for state, initial in zip(history, states, strict=True):
            state[0, :, :H] = initial
        last = [x.new_empty(B, P) for _ in states]
        slot = None
        if saving:
            slot = buffers.empty(T, B, plan.slots * P + -(-plan.scalars // 16) * 16)
        kept: list[Any] = [history, slot]
        call = self.call(x, H, weights, kept)
        call.saving = saving
        pointers = _addresses(last)
        call.last = ctypes.addressof(pointers)
        _functions()[0](call)
        return history[0][1:, :, :H], [state[:, :H] for state in last], kept

    def call(self, x: Tensor, H: int, weights: Sequence[Tensor], kept: list[Any]) -> CellCall:
        """Return a call; `kept` gets what must live as long as it."""
        history, slot = kept[:2]
        plan, P = self.native.plan, padded(H)
        call = self.native.call(x, H, self.state_count, self.options, self.mask, {"lengths": self.lengths, "seed": self.seed})
        by_name = {name: weight.contiguous() for name, weight in zip(self.names, weights, strict=True)}
        table = torch.cat([*(by_name[name] for name in plan.vectors), self.native.numbers.repeat_interleave(H)]).view(-1, H)
        table = table if P == H else functional.pad(table, (0, P - H))
        matrices = [[None if (name := getattr(s, kind)) is None else by_name[name] for s in plan.sums] for kind in "WU"]
        rows = [None if s.b is None else table[plan.vectors.index(s.b)] for s in plan.sums]
        pointers = [_addresses(tensors) for tensors in (*matrices, rows, history)]
        call.W, call.U, call.b, call.history = (ctypes.addressof(array) for array in pointers)
        call.vector = table.data_ptr()
        call.slot = None if slot is None else slot.data_ptr()
        kept += [by_name, table, pointers]
        return call

    def backward(
        self, x: Tensor, weights: Sequence[Tensor], kept: list[Any], grads: Sequence[Tensor | None], needs_x: bool, needs_state: bool
    ) -> list[Tensor | None]:
        """Return the gradients of x, the states before the first step, and the weights."""
        plan, (T, B, I) = self.native.plan, x.shape  # noqa: E741
        H = len(next(weight for weight in weights if weight.dim() == 2))
        P, n = padded(H), len(plan.sums)
        grad_output, carry = _pad(grads[0], P), []
        for grad in grads[1:]:
            carry.append(x.new_zeros(B, P))
            if grad is not None:
                carry[-1][:, :H] = grad
        steps = min(T, max(1, BACKWARD_ROWS // B))
        grad_sums = x.new_empty(steps, B, n * P)
        grad_W, grad_U = x.new_zeros(n, P, I), x.new_zeros(n, P, H)
        grad_vector = x.new_zeros(len(plan.vectors) + len(plan.numbers), P)
        grad_x = x.new_empty(x.shape) if needs_x else None
        call = self.call(x, H, weights, kept)
        pointers = _addresses(carry)
        call.saving, call.carry = True, ctypes.addressof(pointers)
        for name, tensor in (("grad_sums", grad_sums), ("grad_W", grad_W), ("grad_U", grad_U), ("grad_vector", grad_vector)):
            setattr(call, name, tensor.data_ptr())
        call.grad_output = None if grad_output is None else grad_output.data_ptr()
        call.base.stop_at_first = not needs_state
        stacked = self.stacked(weights, P) if needs_x else None
        for end in range(T, 0, -steps):
            begin = max(0, end - steps)
            call.base.begin, call.base.end = begin, end
            _functions()[1](call)
            if grad_x is not None and stacked is not None:
                torch.mm(grad_sums[: end - begin].view(-1, n * P), stacked, out=grad_x[begin:end].view(-1, I))
        found: dict[str, Tensor] = {}
        for at, s in enumerate(plan.sums):
            for name, grad in ((s.W, grad_W), (s.U, grad_U)):
                if name is not None:  # a matrix may stand in several sums
                    found[name] = found[name] + grad[at, :H] if name in found else grad[at, :H]
        found |= {name: grad_vector[at, :H] for at, name in enumerate(plan.vectors)}
        return [grad_x, *(state[:, :H] if needs_state else None for state in carry), *(found.get(name) for name in self.names)]

    def stacked(self, weights: Sequence[Tensor], P: int) -> Tensor:
        """Return the matrices on x of all sums, [sums · P, I], 0 where there is none."""
        by_name = dict(zip(self.names, weights, strict=True))
        some = next(by_name[s.W] for s in self.native.plan.sums if s.W is not None)
        result = some.new_zeros(len(self.native.plan.sums), P, some.shape[1])
        for at, s in enumerate(self.native.plan.sums):
            if s.W is not None:
                result[at, : len(some)] = by_name[s.W]
        return result.view(-1, some.shape[1])


class _CellFunction(torch.autograd.Function):
    """A pass over a batch with its gradient."""

    @staticmethod
    def forward(ctx: Any, calls: _Call, x: Tensor, *tensors: Tensor) -> Any:
        states, weights = tensors[: calls.state_count], tensors[calls.state_count :]
        saving = any(ctx.needs_input_grad)
        output, last, kept = calls.forward(x, states, weights, saving)
        if saving:
            ctx.calls, ctx.kept = calls, kept[:2]
            ctx.save_for_backward(x, output, *tensors)
            ctx.set_materialize_grads(False)
        return output, *last

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        calls: _Call = ctx.calls
        x, _, *tensors = ctx.saved_tensors
        if torch.is_grad_enabled() or is_batched(grads):  # create_graph=True, is_grads_batched=True
            return None, *_differentiable(calls.again, (x, *tensors), grads)
        needs_x, needs_state = ctx.needs_input_grad[1], any(ctx.needs_input_grad[2 : 2 + calls.state_count])
        found = calls.backward(x, tensors[calls.state_count :], [*ctx.kept], grads, needs_x, needs_state)
        return None, *found


def _differentiable(again: Callable[..., tuple[Tensor, ...]], inputs: Iterable[Tensor], grads: Sequence[Any]) -> list[Any]:
    """Return the gradients of `inputs` by autograd over the reference, connected to `inputs` and `grads`."""
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        views = [tensor.view_as(tensor) for tensor in inputs]
        used = [(output, grad) for output, grad in zip(again(*views), grads, strict=True) if grad is not None]
        wanted = [view for view in views if view.requires_grad]
        outputs, output_grads = zip(*used, strict=True)
        found = iter(torch.autograd.grad(outputs, wanted, output_grads, create_graph=create_graph, allow_unused=True))
    return [next(found) if view.requires_grad else None for view in views]


def _pad(grad: Tensor | None, P: int) -> Tensor | None:
    """Return a gradient [T, B, H] with rows of P numbers, contiguous."""
    if grad is None:
        return None
    return (grad if grad.shape[2] == P else functional.pad(grad, (0, P - grad.shape[2]))).contiguous()


def _addresses(tensors: Sequence[Tensor | None]) -> Any:
    """Return the addresses of tensors as an array of pointers."""
    return (ctypes.c_void_p * len(tensors))(*(None if tensor is None else tensor.data_ptr() for tensor in tensors))
