"""The native pass of a cell over a sequence, with its gradient, and as an operator of torch.

Shapes: B batch, T time, I input size, H hidden size, P the same padded to a multiple of 16, S steps of a chunk.

Weights come as tensors that hold the rows of one or several weights of the text, whose names are given: `nn.LSTM` stacks those of
its four gates.
"""

import ctypes
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._subclasses import FakeTensor
from torch.nn import functional

from reviver.errors import DataError
from reviver.recurrent import kernel
from reviver.recurrent.grammar import Cell, load_cell
from reviver.recurrent.instructions import PLACES, RESULT, Instructions, Place
from reviver.recurrent.kernel import buffers, library
from reviver.recurrent.plan import Plan
from reviver.recurrent.reference import by_name, round_to_bf16, unroll
from reviver.recurrent.transforms import is_batched
from reviver.settings.lstm_network import LSTMOptions

SAVE_ALL, SAVE_NOTHING = -1, 0
BACKWARD_ROWS = 2048
"""Rows (steps × batch) per chunk of the backward pass: enough for efficient matmuls, few enough for the cache."""

Names = tuple[str, ...]
"""For each tensor of weights the names of those that it holds, one after another, separated by spaces."""


class Mode(NamedTuple):
    """How a pass computes."""

    dropout: float  # probability p of hidden dropout
    kind: str  # kind of dropout, one of `KINDS`
    reverse: bool  # run from the last step to the first
    save: int  # what the backward pass gets: `SAVE_ALL`, `SAVE_NOTHING`, or the state before every k > 0 steps
    precision: str  # "fp32" or "bf16"


def run(
    cell: Cell,
    names: Names,
    weights: Sequence[Tensor],
    x: Tensor,
    start: Sequence[Tensor],
    lengths: Tensor | None,
    options: LSTMOptions,
    seed: Tensor | None,
    reverse: bool = False,
) -> tuple[Tensor, Sequence[Tensor]]:
    """Run a cell over a sequence, natively where that is possible; see `reference.unroll` for the arguments and the result."""
    if x.shape[1] == 0 or not kernel.applies(x, *start, *weights):
        return unroll(cell, names, weights, x, start, lengths, options, seed, reverse)
    kind: str = options.hidden_dropout_kind
    if seed is None:
        kind = "zoneout_mean" if kind == "zoneout" and options.hidden_dropout > 0.0 else "none"
    precision = "bf16" if torch.is_autocast_enabled("cpu") else options.precision
    save = SAVE_NOTHING
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, *start, *weights)):
        save = options.activation_checkpoint_steps or SAVE_ALL
    mode = Mode(options.hidden_dropout, kind, reverse, save, precision)
    seed = None if seed is None else seed.to(x.device)
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() or isinstance(x, FakeTensor):
        # what the compiler, dispatch modes and subclasses such as fake tensors can see
        outputs = cell_forward(cell.text, names, x, start, weights, lengths, seed, *mode)
    elif save == SAVE_NOTHING:
        outputs = forward(cell, names, x, start, weights, lengths, seed, mode)
    else:
        options = options if precision == options.precision else replace(options, precision=precision)
        outputs = _CellFunction.apply(cell, names, lengths, seed, mode, options, x, *start, *weights)
    H = start[0].shape[1]
    output, *last = outputs[: 1 + len(start)] if H % 16 == 0 else [o[..., :H] for o in outputs[: 1 + len(start)]]
    return output, last


# Plans ----------------------------------------------------------------------------------------------------------------


class _Held(NamedTuple):
    """What a tensor of weights holds."""

    kind: str  # W, matrices on x; U, others; b, vectors
    places: list[list[int]]  # of each weight the sums or vectors that it occurs in
    first: int | None  # of the places, if they are one after another


@dataclass(frozen=True, eq=False)
class _Bound:
    """A plan with the places of its weights in tensors, as the library takes it."""

    plan: Plan
    address: int
    held: list[_Held]
    kept: list[Any]


@lru_cache(64)
def _bind(cell: Cell, dropout: str, names: Names) -> _Bound:
    plan, kept = Plan(cell, dropout), list[Any]()
    held = [tensor.split() for tensor in names]
    places: dict[str, list[tuple[int, int]]] = {}
    for tensor, members in enumerate(held):
        for block, name in enumerate(members):
            places.setdefault(name, []).append((tensor, block))

    def address(values: Iterable[float], kind: Any = ctypes.c_int32) -> int:
        numbers = [*values]
        kept.append((kind * max(1, len(numbers)))(*numbers))
        return ctypes.addressof(kept[-1])

    def source(name: str | None, count: int = 1) -> list[int]:
        found = [number for place in places.get(name or "", [])[:count] for number in place]
        return found + [-1] * (2 * count - len(found))

    arrays = library.PlanArrays(
        states=len(plan.states),
        sums=len(plan.sums),
        slots=plan.sizes[Place.SLOT],
        scalars=plan.scalars,
        registers=plan.sizes[Place.REGISTER],
        spills=plan.sizes[Place.SPILL],
        operand_gradients=plan.sizes[Place.GRAD_OPERAND],
        vectors=len(plan.vectors),
        numbers=len(plan.numbers),
        forward_segments=len(plan.forward),
        backward_segments=len(plan.backward),
        W=address(number for s in plan.sums for number in source(s.W)),
        U=address(number for s in plan.sums for number in source(s.U)),
        b=address(-1 if s.b is None else plan.vectors.index(s.b) for s in plan.sums),
        vector=address(number for name in plan.vectors for number in source(name, 2)),
        number=address(plan.numbers, ctypes.c_float),
    )
    lists: dict[str, Any] = {"groups": [*plan.groups], "products": [*plan.products]}
    for name in ("forward", "backward"):
        pairs = [_local(program) for program in getattr(plan, name)]
        lists |= {
            name: [rows for rows, _ in pairs],
            f"{name}_places": [[(code,) for code in codes] for _, codes in pairs],
        }
    for name, segments in lists.items():
        setattr(arrays, name, address(number for segment in segments for row in segment for number in row))
        setattr(arrays, f"{name}_ends", address(accumulate(map(len, segments))))
    kept.append(arrays)
    places_of = {
        name: ("W" if on_x else "U", [k for k, s in enumerate(plan.sums) if name in s[:2]])
        for name, on_x in cell.matrices.items()
    }
    places_of |= {name: ("b", [k]) for k, name in enumerate(plan.vectors)}
    tensors = []
    for members in held:
        at = [places_of[name][1] for name in members]
        first = at[0][0] if at[0] and at == [[at[0][0] + k] for k in range(len(at))] else None
        tensors.append(_Held(places_of[members[0]][0], at, first))
    return _Bound(plan, ctypes.addressof(arrays), tensors, kept)


def _local(program: Instructions) -> tuple[list[Sequence[int]], list[int]]:
    """Return a program whose operands are indices in a list of codes, and this list."""
    codes = [*dict.fromkeys(code for row in program for code in row.places() if code != RESULT)]
    index = {code: at for at, code in enumerate(codes)} | {RESULT: RESULT}
    rows = [
        row._replace(**{name: index[code] for name, code in zip(PLACES, row.places(), strict=True)}) for row in program
    ]
    return [*rows], codes


@lru_cache(256)
def _shapes(bound: _Bound, B: int, I: int, H: int, P: int) -> tuple[list[torch.Size], list[torch.Size]]:  # noqa: E741
    """Return the shapes of weights and states."""
    columns = {"W": (I,), "U": (H,), "b": ()}
    weights = [torch.Size((len(held.places) * H, *columns[held.kind])) for held in bound.held]
    return weights, [torch.Size((B, P))] * len(bound.plan.states)


@cache
def _cell_of(text: str) -> Cell:
    return load_cell(text)


def _plan_dropout(kind: str) -> str:
    return {"none": "none", "step": "scaled", "variational": "scaled"}.get(kind, "zoneout")


def padded(size: int) -> int:
    """Return the numbers that a row of units takes."""
    return -(-size // 16) * 16


class _Pass:
    """A call of the library, with what must live as long as it."""

    def __init__(
        self,
        cell: Cell,
        names: Names,
        mode: Mode,
        x: Tensor,
        start: Sequence[Tensor],
        weights: Sequence[Tensor],
        lengths: Tensor | None,
        seed: Tensor | None,
    ) -> None:
        self.bound = bound = _bind(cell, _plan_dropout(mode.kind), names)
        self.cell, self.names, self.mode, self.x = cell, names, mode, x.contiguous()
        self.T, self.B, self.I = x.shape
        self.H = start[0].shape[1]
        self.P = padded(self.H)
        self.start = [self.widened(entry) for entry in start]
        self.weights = [weight.contiguous() for weight in weights]
        self.lengths = None if lengths is None else lengths.contiguous()
        self.seed, self.kept = seed, dict[str, Any]()
        self.check()
        self.call = library.Call(
            *(self.T, self.B, self.I, self.H, self.P, 0, self.T, 0, self.T, mode.reverse, torch.get_num_threads()),
            *(library.KINDS.index(mode.kind), mode.precision == "bf16", False, mode.dropout),
            None if seed is None else seed.data_ptr(),
            None if self.lengths is None else self.lengths.data_ptr(),
            *(self.x.data_ptr(), bound.address),
        )

    def check(self) -> None:
        """Raise DataError if the library would read beyond the end of a tensor, or take it for another."""
        shapes = [weight.shape for weight in self.weights], [entry.shape for entry in self.start]
        if shapes != (expected := _shapes(self.bound, self.B, self.I, self.H, self.P)):
            raise DataError(f"weights and states of the cell must be {expected}, got {shapes}")
        if self.lengths is not None:  # in a compiled graph, which checks them at any time, nobody else has done so
            low, high = torch.aminmax(self.lengths)
            if self.lengths.shape != (self.B,) or self.lengths.dtype != torch.int64 or low < 1 or high > self.T:
                raise DataError(
                    f"lengths must be {self.B} integers from 1 to T = {self.T}, got {self.lengths.tolist()}"
                )

    def widened(self, tensor: Tensor) -> Tensor:
        """Return a tensor [..., H] as contiguous [..., P]."""
        return tensor.contiguous() if self.P == self.H else functional.pad(tensor, (0, self.P - self.H))

    def point(self, offset: int = 0, **fields: Sequence[Tensor | None]) -> None:
        """Let fields of the call point to arrays of addresses, those of step 0 if the tensors begin at step `offset`."""
        addresses = [
            None if t is None else t.data_ptr() - (offset and offset * t.stride(0) * 4)
            for tensors in fields.values()
            for t in tensors
        ]
        array = (ctypes.c_void_p * len(addresses))(*addresses)
        at = ctypes.addressof(array)
        for name, tensors in fields.items():
            self.kept[name] = tensors, array
            setattr(self.call, name, at)
            at += 8 * len(tensors)

    def steps(self, begin: int, end: int, initial: Sequence[Tensor]) -> None:
        """Restrict the call to some steps, before which the states are `initial`."""
        self.call.begin, self.call.end = self.call.saved_begin, self.call.saved_end = begin, end
        self.point(initial=initial)

    def chunks(self, steps: int, last_first: bool) -> list[tuple[int, int]]:
        """Return (begin, end) of each chunk of at most `steps` steps, in the order in which they are computed."""
        chunks = [(begin, min(begin + steps, self.T)) for begin in range(0, self.T, steps)]
        return chunks[::-1] if last_first else chunks

    def slot_size(self) -> int:
        """Return the numbers of a row of slots."""
        return self.bound.plan.sizes[Place.SLOT] * self.P + padded(self.bound.plan.scalars)

    def forward(self, *, clean: bool = False) -> list[Tensor]:
        """Return h after each step [T, B, P], the states after the last one [B, P], and what the backward pass needs.

        That is of `SAVE_ALL` the other states after each step, and the slots; else the states before each chunk. If `clean`, what
        nobody reads of them is 0: padded units, and steps after the end of a sequence.
        """
        x, T, B, P, count, save = self.x, self.T, self.B, self.P, len(self.start), self.mode.save
        is_full = P == self.H and self.lengths is None and not self.bound.plan.scalars
        empty: Any = x.new_zeros if clean and not is_full else buffers.empty if T > 1 else x.new_empty
        output, *others = [empty(T if save == SAVE_ALL or not at else 2, B, P) for at in range(count)]
        last, saved = [empty(B, P) for _ in range(count)], list[Tensor]()
        self.point(weights=self.weights, initial=self.start, history=[output, *others], last=last)
        if save == SAVE_ALL:
            saved = [*others, empty(T, B, self.slot_size())]
            self.call.saving, self.call.slot = True, saved[-1].data_ptr()
        if save <= 0:
            library.load().reviver_cell_forward(self.call)
            return [output, *last, *saved]
        starts, state = empty(-(-T // save), count, B, P), self.start
        for begin, end in self.chunks(save, self.mode.reverse):
            torch.stack(state, out=starts[begin // save])
            state = last
            self.steps(begin, end, starts[begin // save].unbind())
            library.load().reviver_cell_forward(self.call)
        return [output, *last, starts]

    def backward(
        self, grads: Sequence[Tensor | None], output: Tensor, saved: Sequence[Tensor], needs_x: bool, needs_state: bool
    ) -> list[Tensor]:
        """Return the gradients of x (empty unless needed), the states before the first step, and the weights."""
        x, T, B, P, I, H, save, call = self.x, self.T, self.B, self.P, self.I, self.H, self.mode.save, self.call  # noqa: E741
        plan = self.bound.plan
        grad_output, *grad_last = grads
        grad_output = None if grad_output is None else grad_output.contiguous()
        call.grad_output = None if grad_output is None else grad_output.data_ptr()
        zero = None if None not in grad_last else x.new_zeros(B, P)
        grad_last = [zero if grad is None else grad.contiguous() for grad in grad_last]
        grad_initial, carry = [x.new_empty(B, P) for _ in self.start], [x.new_empty(2, B, P) for _ in self.start]
        S = min(T, max(1, BACKWARD_ROWS // B) if save == SAVE_ALL else save)  # steps per chunk
        n = len(plan.sums)
        grad_W, grad_U, grad_vector = x.new_zeros(n, P, I), x.new_zeros(n, P, H), x.new_zeros(len(plan.vectors), P)
        grad_sums = x.new_empty(S, B, n * P)
        call.grad_W, call.grad_U, call.grad_vector = grad_W.data_ptr(), grad_U.data_ptr(), grad_vector.data_ptr()
        call.grad_sums, call.saving = grad_sums.data_ptr(), True
        if save == SAVE_ALL:
            *others, slot = saved
            history, last = [output, *others], list[Tensor]()
            call.slot = slot.data_ptr()
        else:  # buffers for what is computed again of a chunk
            history, last = [x.new_empty(S, B, P) for _ in self.start], [x.new_empty(B, P) for _ in self.start]
            slot = x.new_empty(S, B, self.slot_size())
        self.point(
            weights=self.weights,
            initial=self.start,
            history=history,
            last=last,
            grad_last=grad_last,
            grad_initial=grad_initial,
            carry=carry,
        )
        grad_x, on_x = x.new_empty(x.shape if needs_x else (0,)), None
        to_operand = round_to_bf16 if self.mode.precision == "bf16" else torch.Tensor.detach
        if needs_x:
            on_x = to_operand(self.matrices_on_x())
        chunks = self.chunks(S, not self.mode.reverse)
        for begin, end in chunks:
            if save == SAVE_ALL:
                call.begin, call.end = begin, end
            else:
                self.steps(begin, end, saved[0][begin // save].unbind())
                self.point(begin, history=history)
                call.slot = slot.data_ptr() - begin * slot.stride(0) * 4
                library.load().reviver_cell_forward(call)
            call.stop_at_first = not needs_state and (begin, end) == chunks[-1]
            library.load().reviver_cell_backward(call)
            if on_x is not None:
                rows = to_operand(grad_sums[: end - begin].view(-1, n * P))
                torch.mm(rows, on_x, out=grad_x[begin:end].view(-1, I))
        found = {"W": grad_W, "U": grad_U, "b": grad_vector}
        held = self.bound.held
        weights = [self.gathered(found, each) for each in held]
        if len(held) > 1 and held[-1] == held[-2]:  # two biases, which must not share a gradient
            weights[-1] = weights[-1].clone()
        return [grad_x, *(grad_initial if P == H else [grad[:, :H] for grad in grad_initial]), *weights]

    def matrices_on_x(self) -> Tensor:
        """Return the matrices on x of all sums, 0 where a sum has none, [n·P, I]."""
        sums = self.bound.plan.sums
        for weight, held in zip(self.weights, self.bound.held, strict=True):
            if self.P == self.H and held.kind == "W" and held.first == 0 and len(held.places) == len(sums):
                return weight
        matrices = by_name(self.names, self.weights)
        stacked = torch.stack([self.x.new_zeros(self.H, self.I) if s.W is None else matrices[s.W] for s in sums])
        return (stacked if self.P == self.H else functional.pad(stacked, (0, 0, 0, self.P - self.H))).flatten(0, 1)

    def gathered(self, found: dict[str, Tensor], held: _Held) -> Tensor:
        """Return the gradient of a tensor of weights."""
        all_sums, H = found[held.kind], self.H
        if self.P == H and held.first is not None:  # they stand side by side
            count = len(held.places)
            part = all_sums if count == len(all_sums) else all_sums[held.first : held.first + count]
            return part.flatten(0, 1)
        parts = [all_sums[at, :H].sum(0) if len(at) != 1 else all_sums[at[0], :H] for at in held.places]
        return parts[0] if len(parts) == 1 else torch.cat(parts)


def forward(
    cell: Cell,
    names: Names,
    x: Tensor,
    start: Sequence[Tensor],
    weights: Sequence[Tensor],
    lengths: Tensor | None,
    seed: Tensor | None,
    mode: Mode,
    *,
    clean: bool = False,
) -> list[Tensor]:
    """Return h after each step [T, B, P], the states after the last one [B, P], and what the backward pass needs.

    See `_Pass.forward`, also for `clean`; the other arguments are those of `run`.
    """
    return _Pass(cell, names, mode, x, start, weights, lengths, seed).forward(clean=clean)


# Operators --------------------------------------------------------------------------------------------------------------

# An operator takes its arguments one by one.
_ARGUMENTS = (
    "str text, str[] names, Tensor x, Tensor[] start, Tensor[] weights, Tensor? lengths, Tensor? seed, "
    "float dropout, str kind, bool reverse, int save, str precision"
)


def _forward(
    text: str, names: Sequence[str], x: Tensor, start: list[Tensor], weights: list[Tensor], *rest: Any
) -> list[Tensor]:
    lengths, seed, *mode = rest
    return forward(_cell_of(text), tuple(names), x, start, weights, lengths, seed, Mode(*mode), clean=True)


def _backward(
    grads: list[Tensor | None], output: Tensor, saved: list[Tensor], needs_x: bool, needs_state: bool, *arguments: Any
) -> list[Tensor]:
    text, names, x, start, weights, lengths, seed, *mode = arguments
    job = _Pass(_cell_of(text), tuple(names), Mode(*mode), x, start, weights, lengths, seed)
    return [
        grad.clone(memory_format=torch.contiguous_format)
        for grad in job.backward(grads, output, saved, needs_x, needs_state)
    ]


cell_forward: Any = torch.library.custom_op(
    "reviver::cell_forward", _forward, mutates_args=(), schema=f"({_ARGUMENTS}) -> Tensor[]"
)
cell_backward: Any = torch.library.custom_op(
    "reviver::cell_backward",
    _backward,
    mutates_args=(),
    schema=f"(Tensor?[] grads, Tensor output, Tensor[] saved, bool needs_x, bool needs_state, {_ARGUMENTS}) -> Tensor[]",
)


@cell_forward.register_fake  # type: ignore[untyped-decorator]
def _(
    text: str, names: Sequence[str], x: Tensor, start: list[Tensor], weights: list[Tensor], *rest: Any
) -> list[Tensor]:
    _, _, _, kind, _, save, _ = rest
    (T, B, _), count = x.shape, len(start)
    P = padded(start[0].shape[1])
    result = [x.new_empty(T, B, P), *(x.new_empty(B, P) for _ in start)]
    if save == SAVE_ALL:
        sizes = _bind(_cell_of(text), _plan_dropout(kind), tuple(names)).plan
        slot = sizes.sizes[Place.SLOT] * P + padded(sizes.scalars)
        return [*result, *(x.new_empty(T, B, P) for _ in start[1:]), x.new_empty(T, B, slot)]
    return result if save == SAVE_NOTHING else [*result, x.new_empty(-(-T // save), count, B, P)]


@cell_backward.register_fake  # type: ignore[untyped-decorator]
def _(*arguments: Any) -> list[Tensor]:
    needs_x, x, start, weights = arguments[3], *arguments[7:10]
    return [x.new_empty(x.shape if needs_x else (0,)), *(t.new_empty(t.shape) for t in (*start, *weights))]


def _save_for_backward(ctx: Any, inputs: Sequence[Any], output: Sequence[Tensor]) -> None:
    """Save what `_gradients` needs; `inputs` are the arguments of the operator."""
    text, names, x, start, weights, lengths, seed, *mode = inputs
    ctx.save_for_backward(x, lengths, seed, *start, *weights, output[0], *output[1 + len(start) :])
    ctx.set_materialize_grads(False)
    ctx.text, ctx.names, ctx.mode, ctx.counts = text, names, mode, (len(start), len(weights))
    ctx.needs_x, ctx.needs_state = x.requires_grad, any(entry.requires_grad for entry in start)


def _gradients(ctx: Any, grads: Sequence[Tensor | None]) -> tuple[Any, ...]:
    count, size = ctx.counts
    x, lengths, seed, *tensors = ctx.saved_tensors
    start, weights, (output, *saved) = tensors[:count], tensors[count : count + size], tensors[count + size :]
    found = cell_backward(
        [*grads[: 1 + count]],
        output,
        saved,
        ctx.needs_x,
        ctx.needs_state,
        ctx.text,
        ctx.names,
        x,
        start,
        weights,
        lengths,
        seed,
        *ctx.mode,
    )
    grad_x, grads_start, grads_weights = found[0], found[1 : 1 + count], found[1 + count :]
    states = grads_start if ctx.needs_state else [None] * count
    return None, None, grad_x if ctx.needs_x else None, states, grads_weights, *[None] * 7


cell_forward.register_autograd(_gradients, setup_context=_save_for_backward)


class _CellFunction(torch.autograd.Function):
    """`cell_forward` with its gradient, without torch's dispatch of Python operators (0.3 ms per call)."""

    @staticmethod
    def forward(
        ctx: Any,
        cell: Cell,
        names: Names,
        lengths: Tensor | None,
        seed: Tensor | None,
        mode: Mode,
        options: LSTMOptions,
        x: Tensor,
        *tensors: Tensor,
    ) -> Any:
        count = len(cell.states)
        outputs = forward(cell, names, x, tensors[:count], tensors[count:], lengths, seed, mode)
        ctx.save_for_backward(
            x, *tensors, lengths, seed, outputs[0], *outputs[1 + count :]
        )  # which checks that nobody has changed them
        ctx.set_materialize_grads(False)
        ctx.cell, ctx.names, ctx.mode, ctx.options = cell, names, mode, options
        return tuple(outputs[: 1 + count])

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        count, end = len(ctx.cell.states), 1 + len(ctx.cell.states) + len(ctx.names)
        found = ctx.saved_tensors  # once: with checkpoints each access computes them again
        (x, *tensors), (lengths, seed, output, *saved) = found[:end], found[end:]
        if torch.is_grad_enabled() or is_batched(grads):  # create_graph=True, is_grads_batched=True
            H = tensors[0].shape[1]

            def again(views: Sequence[Any]) -> Sequence[Tensor]:
                inputs = ctx.names, views[1 + count :], views[0], views[1 : 1 + count]
                result, after = unroll(ctx.cell, *inputs, lengths, ctx.options, seed, ctx.mode.reverse)
                return result, *after

            of_units = [None if grad is None else grad[..., :H] for grad in grads]
            return *[None] * 6, *differentiable_gradients(again, (x, *tensors), of_units)
        job = _Pass(ctx.cell, ctx.names, ctx.mode, x, tensors[:count], tensors[count:], lengths, seed)
        needs_x, needs_state = ctx.needs_input_grad[6], any(ctx.needs_input_grad[7 : 7 + count])
        gradients = job.backward(grads, output, saved, needs_x, needs_state)
        needed = zip(gradients, ctx.needs_input_grad[6:], strict=True)
        return *[None] * 6, *(gradient if needs else None for gradient, needs in needed)


def differentiable_gradients(
    equations: Callable[[Sequence[Any]], Sequence[Tensor]],
    inputs: Sequence[Tensor | None],
    grads: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """Return the gradients of `inputs` by autograd, connected to `inputs` and to the gradients of the outputs."""
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad(), torch.autocast("cpu", enabled=False):
        # Views, so that the gradient of x leaves out what x contributes through an h that depends on it.
        views = [None if tensor is None else tensor.view_as(tensor) for tensor in inputs]
        used = [(output, grad) for output, grad in zip(equations(views), grads, strict=True) if grad is not None]
        wanted = [tensor for tensor in views if tensor is not None and tensor.requires_grad]
        outputs, output_grads = zip(*used, strict=True)
        found = iter(torch.autograd.grad(outputs, wanted, output_grads, create_graph=create_graph, allow_unused=True))
    return [next(found) if tensor is not None and tensor.requires_grad else None for tensor in views]
