"""The native pass of a cell over a sequence, with its gradient: a call of the compiled library.

Shapes: B batch, T time, I input size, H hidden size, P the same padded to a multiple of 16, S steps of a chunk, n sums of a plan.

Weights come as tensors that hold the rows of one or several weights of the text, whose names are given: `nn.LSTM` stacks those of
its four gates.
"""

import ctypes
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from reviver.errors import DataError
from reviver.recurrent.grammar import Cell
from reviver.recurrent.instructions import PLACES, RESULT, Instructions, Place
from reviver.recurrent.kernel import library
from reviver.recurrent.plan import Plan
from reviver.recurrent.reference import by_name, round_to_bf16

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

    @property
    def plan_dropout(self) -> str:
        """Dropout of the plan."""
        return {"none": "none", "step": "scaled", "variational": "scaled"}.get(self.kind, "zoneout")


class Inputs(NamedTuple):
    """What a pass reads."""

    cell: Cell
    names: Names
    x: Tensor  # [T, B, I]
    start: Sequence[Tensor]  # states before the first step, [B, H] each
    weights: Sequence[Tensor]
    lengths: Tensor | None  # steps of each sequence, [B] int64; None: all T
    seed: Tensor | None  # of the dropout masks, [] int64


class PassResult(NamedTuple):
    """What a forward pass returns."""

    output: Tensor  # h after each step, [T, B, P]
    last: Sequence[Tensor]  # states after the last step, [B, P] each
    saved: Sequence[Tensor]
    """For the backward pass: of `SAVE_ALL` the other states after each step, and the slots; else the states before each chunk."""


class Gradients(NamedTuple):
    """What a backward pass returns."""

    x: Tensor  # [T, B, I], empty unless it is needed
    start: Sequence[Tensor]
    weights: Sequence[Tensor]


# Plans ----------------------------------------------------------------------------------------------------------------


class Held(NamedTuple):
    """What a tensor of weights holds."""

    kind: str  # W, matrices on x; U, others; b, vectors
    places: list[list[int]]  # of each weight the sums or vectors that it occurs in
    first: int | None  # of the places, if they are one after another


@dataclass(frozen=True, eq=False)
class Bound:
    """A plan with the places of its weights in tensors, as the library takes it."""

    plan: Plan
    address: int
    held: list[Held]
    kept: list[Any]

    def slot_size(self, P: int) -> int:
        """Return the numbers of a row of slots."""
        return self.plan.sizes[Place.SLOT] * P + padded(self.plan.scalars)


@lru_cache(64)
def bind(cell: Cell, dropout: str, names: Names) -> Bound:
    """Return the plan of a cell for weights that come in tensors with these names."""
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
        tensors.append(Held(places_of[members[0]][0], at, first))
    return Bound(plan, ctypes.addressof(arrays), tensors, kept)


def _local(program: Instructions) -> tuple[list[Sequence[int]], list[int]]:
    """Return a program whose operands are indices in a list of codes, and this list."""
    codes = [*dict.fromkeys(code for row in program for code in row.places() if code != RESULT)]
    index = {code: at for at, code in enumerate(codes)} | {RESULT: RESULT}
    rows = [
        row._replace(**{name: index[code] for name, code in zip(PLACES, row.places(), strict=True)}) for row in program
    ]
    return [*rows], codes


@lru_cache(256)
def _shapes(bound: Bound, B: int, I: int, H: int, P: int) -> tuple[list[torch.Size], list[torch.Size]]:  # noqa: E741
    """Return the shapes of weights and states."""
    columns = {"W": (I,), "U": (H,), "b": ()}
    weights = [torch.Size((len(held.places) * H, *columns[held.kind])) for held in bound.held]
    return weights, [torch.Size((B, P))] * len(bound.plan.states)


def padded(size: int) -> int:
    """Return the numbers that a row of units takes."""
    return -(-size // 16) * 16


class Pass:
    """A call of the library, with what must live as long as it."""

    def __init__(self, inputs: Inputs, mode: Mode) -> None:
        x, lengths, seed = inputs.x, inputs.lengths, inputs.seed
        self.bound = bound = bind(inputs.cell, mode.plan_dropout, inputs.names)
        self.names, self.mode, self.x = inputs.names, mode, x.contiguous()
        self.T, self.B, self.I = x.shape
        self.H = inputs.start[0].shape[1]
        self.P = padded(self.H)
        self.start = [self.widened(entry) for entry in inputs.start]
        self.weights = [weight.contiguous() for weight in inputs.weights]
        self.lengths = None if lengths is None else lengths.contiguous()
        self.seed, self.kept = seed, dict[str, Any]()
        self.check()
        self.call = library.Call(
            T=self.T,
            B=self.B,
            I=self.I,
            H=self.H,
            P=self.P,
            end=self.T,
            saved_end=self.T,
            reverse=mode.reverse,
            threads=torch.get_num_threads(),
            kind=library.KINDS.index(mode.kind),
            bf16=mode.precision == "bf16",
            dropout=mode.dropout,
            seed=None if seed is None else seed.data_ptr(),
            lengths=None if self.lengths is None else self.lengths.data_ptr(),
            x=self.x.data_ptr(),
            plan=bound.address,
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

    def forward(self, *, clean: bool = False) -> PassResult:
        """Run forward. If `clean`, what nobody reads of the result is 0: padded units, and steps after the end of a sequence."""
        x, T, B, P, count, save = self.x, self.T, self.B, self.P, len(self.start), self.mode.save
        is_full = P == self.H and self.lengths is None and not self.bound.plan.scalars
        empty: Any = x.new_zeros if clean and not is_full else library.empty if T > 1 else x.new_empty
        output, *others = [empty(T if save == SAVE_ALL or not at else 2, B, P) for at in range(count)]
        last, saved = [empty(B, P) for _ in range(count)], list[Tensor]()
        self.point(weights=self.weights, initial=self.start, history=[output, *others], last=last)
        if save == SAVE_ALL:
            saved = [*others, empty(T, B, self.bound.slot_size(P))]
            self.call.saving, self.call.slot = True, saved[-1].data_ptr()
        if save <= 0:
            library.load().reviver_cell_forward(self.call)
            return PassResult(output, last, saved)
        starts, state = empty(-(-T // save), count, B, P), self.start
        for begin, end in self.chunks(save, self.mode.reverse):
            torch.stack(state, out=starts[begin // save])
            state = last
            self.steps(begin, end, starts[begin // save].unbind())
            library.load().reviver_cell_forward(self.call)
        return PassResult(output, last, [starts])

    def backward(
        self, grads: Sequence[Tensor | None], result: PassResult, needs_x: bool, needs_state: bool
    ) -> Gradients:
        """Run backward from the gradients of the output and of the last states."""
        x, B, P, call, plan = self.x, self.B, self.P, self.call, self.bound.plan
        saves_all = self.mode.save == SAVE_ALL
        S = min(self.T, max(1, BACKWARD_ROWS // B) if saves_all else self.mode.save)  # steps per chunk
        n, states = len(plan.sums), range(len(self.start))
        grad_output, *grad_last = (None if grad is None else grad.contiguous() for grad in grads)
        zero = None if None not in grad_last else x.new_zeros(B, P)
        initial = [x.new_empty(B, P) for _ in states]
        of_weights = {
            "W": x.new_zeros(n, P, self.I),
            "U": x.new_zeros(n, P, self.H),
            "b": x.new_zeros(len(plan.vectors), P),
        }
        grad_sums = x.new_empty(S, B, n * P)
        call.grad_output = None if grad_output is None else grad_output.data_ptr()
        call.grad_W, call.grad_U, call.grad_vector = (grad.data_ptr() for grad in of_weights.values())
        call.grad_sums, call.saving = grad_sums.data_ptr(), True
        if saves_all:
            *others, slot = result.saved
            history, last = [result.output, *others], list[Tensor]()
            call.slot = slot.data_ptr()
        else:  # buffers for what is computed again of a chunk
            history, last = [x.new_empty(S, B, P) for _ in states], [x.new_empty(B, P) for _ in states]
            slot = x.new_empty(S, B, self.bound.slot_size(P))
        self.point(
            weights=self.weights,
            initial=self.start,
            history=history,
            last=last,
            grad_last=[zero if grad is None else grad for grad in grad_last],
            grad_initial=initial,
            carry=[x.new_empty(2, B, P) for _ in states],
        )
        to_operand = round_to_bf16 if self.mode.precision == "bf16" else torch.Tensor.detach
        grad_x = x.new_empty(x.shape if needs_x else (0,))
        on_x = to_operand(self.matrices_on_x()) if needs_x else None
        chunks = self.chunks(S, not self.mode.reverse)
        for begin, end in chunks:
            if saves_all:
                call.begin, call.end = begin, end
            else:
                self.steps(begin, end, result.saved[0][begin // S].unbind())
                self.point(begin, history=history)
                call.slot = slot.data_ptr() - begin * slot.stride(0) * 4
                library.load().reviver_cell_forward(call)
            call.stop_at_first = not needs_state and (begin, end) == chunks[-1]
            library.load().reviver_cell_backward(call)
            if on_x is not None:
                rows = to_operand(grad_sums[: end - begin].view(-1, n * P))
                torch.mm(rows, on_x, out=grad_x[begin:end].view(-1, self.I))
        held = self.bound.held
        weights = [self.gathered(of_weights[each.kind], each) for each in held]
        if len(held) > 1 and held[-1] == held[-2]:  # two biases, which must not share a gradient
            weights[-1] = weights[-1].clone()
        return Gradients(grad_x, initial if self.H == P else [grad[:, : self.H] for grad in initial], weights)

    def matrices_on_x(self) -> Tensor:
        """Return the matrices on x of all sums, 0 where a sum has none, [n·P, I]."""
        sums = self.bound.plan.sums
        for weight, held in zip(self.weights, self.bound.held, strict=True):
            if self.P == self.H and held.kind == "W" and held.first == 0 and len(held.places) == len(sums):
                return weight
        matrices = by_name(self.names, self.weights)
        stacked = torch.stack([self.x.new_zeros(self.H, self.I) if s.W is None else matrices[s.W] for s in sums])
        return (stacked if self.P == self.H else functional.pad(stacked, (0, 0, 0, self.P - self.H))).flatten(0, 1)

    def gathered(self, all_sums: Tensor, held: Held) -> Tensor:
        """Return the gradient of a tensor of weights from those of all sums or vectors."""
        H = self.H
        if self.P == H and held.first is not None:  # they stand side by side
            count = len(held.places)
            part = all_sums if count == len(all_sums) else all_sums[held.first : held.first + count]
            return part.flatten(0, 1)
        parts = [all_sums[at, :H].sum(0) if len(at) != 1 else all_sums[at[0], :H] for at in held.places]
        return parts[0] if len(parts) == 1 else torch.cat(parts)
