"""The engine of every cell: it runs a text over a sequence, natively where that is possible, and knows its gradient.

The native pass (`kernel/passes.py`) is an operator of torch, `cell_forward`, which compilers and dispatch modes see; else it is called
as a function of autograd, which takes 0.3 ms less.

Shapes: B batch, T time, I input size, H hidden size, P the same padded to a multiple of 16.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from reviver.recurrent import kernel
from reviver.recurrent.grammar import Cell, load_cell
from reviver.recurrent.kernel.passes import (
    SAVE_ALL,
    SAVE_NOTHING,
    Gradients,
    Inputs,
    Mode,
    Names,
    Pass,
    PassResult,
    bind,
    padded,
)
from reviver.recurrent.reference import unroll
from reviver.settings.lstm_network import LSTMOptions


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
    inputs = Inputs(cell, names, x, start, weights, lengths, None if seed is None else seed.to(x.device))
    if kernel.is_recorded(x):
        outputs = cell_forward(cell.text, *inputs[1:], *mode)
    elif save == SAVE_NOTHING:
        result = forward(inputs, mode)
        outputs = result.output, *result.last
    else:
        options = options if precision == options.precision else replace(options, precision=precision)
        outputs = _CellFunction.apply(cell, names, lengths, inputs.seed, mode, options, x, *start, *weights)
    H = start[0].shape[1]
    output, *last = outputs[: 1 + len(start)] if H % 16 == 0 else [o[..., :H] for o in outputs[: 1 + len(start)]]
    return output, last


def forward(inputs: Inputs, mode: Mode, *, clean: bool = False) -> PassResult:
    """Run the native pass forward, see `Pass.forward`."""
    return Pass(inputs, mode).forward(clean=clean)


# Operators --------------------------------------------------------------------------------------------------------------

# An operator takes its arguments one by one: those of `Inputs`, with the text of the cell, and those of `Mode`.
_ARGUMENTS = (
    "str text, str[] names, Tensor x, Tensor[] start, Tensor[] weights, Tensor? lengths, Tensor? seed, "
    "float dropout, str kind, bool reverse, int save, str precision"
)


@cache
def _cell_of(text: str) -> Cell:
    return load_cell(text)


def _read_arguments(text: str, names: Sequence[str], *rest: Any) -> tuple[Inputs, Mode]:
    return Inputs(_cell_of(text), tuple(names), *rest[:5]), Mode(*rest[5:])


def _forward(*arguments: Any) -> list[Tensor]:
    output, last, saved = forward(*_read_arguments(*arguments), clean=True)
    return [output, *last, *saved]


def _backward(
    grads: list[Tensor | None], output: Tensor, saved: list[Tensor], needs_x: bool, needs_state: bool, *arguments: Any
) -> list[Tensor]:
    result = PassResult(output, (), saved)
    found = Pass(*_read_arguments(*arguments)).backward(grads, result, needs_x, needs_state)
    return [grad.clone(memory_format=torch.contiguous_format) for grad in (found.x, *found.start, *found.weights)]


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
def _(*arguments: Any) -> list[Tensor]:
    inputs, mode = _read_arguments(*arguments)
    x, count, save = inputs.x, len(inputs.start), mode.save
    T, B, _ = x.shape
    P = padded(inputs.start[0].shape[1])
    result = [x.new_empty(T, B, P), *(x.new_empty(B, P) for _ in range(count))]
    if save == SAVE_ALL:
        slot = bind(inputs.cell, mode.plan_dropout, inputs.names).slot_size(P)
        return [*result, *(x.new_empty(T, B, P) for _ in range(1, count)), x.new_empty(T, B, slot)]
    return result if save == SAVE_NOTHING else [*result, x.new_empty(-(-T // save), count, B, P)]


@cell_backward.register_fake  # type: ignore[untyped-decorator]
def _(grads: Any, output: Any, saved: Any, needs_x: bool, needs_state: bool, *arguments: Any) -> list[Tensor]:
    inputs, _ = _read_arguments(*arguments)
    x = inputs.x
    return [
        x.new_empty(x.shape if needs_x else (0,)),
        *(t.new_empty(t.shape) for t in (*inputs.start, *inputs.weights)),
    ]


def _save_for_backward(ctx: Any, inputs: Sequence[Any], output: Sequence[Tensor]) -> None:
    """Save what `_gradients` needs; `inputs` are the arguments of the operator."""
    ctx.text, ctx.names, x, start, weights, lengths, seed, *ctx.mode = inputs
    ctx.counts = len(start), len(weights)
    ctx.save_for_backward(x, lengths, seed, output[0], *start, *weights, *output[1 + len(start) :])
    ctx.set_materialize_grads(False)
    ctx.needs_x, ctx.needs_state = x.requires_grad, any(entry.requires_grad for entry in start)


def _gradients(ctx: Any, grads: Sequence[Tensor | None]) -> tuple[Any, ...]:
    x, lengths, seed, output, *tensors = ctx.saved_tensors
    start, weights, saved = _split(tensors, *ctx.counts)
    arguments = ctx.text, ctx.names, x, start, weights, lengths, seed, *ctx.mode
    found = cell_backward([*grads[: 1 + len(start)]], output, saved, ctx.needs_x, ctx.needs_state, *arguments)
    grad_start, grad_weights, _ = _split(found[1:], *ctx.counts)
    of_states = grad_start if ctx.needs_state else [None] * len(start)
    return None, None, found[0] if ctx.needs_x else None, of_states, grad_weights, *[None] * 7


def _split(tensors: Sequence[Tensor], states: int, weights: int) -> tuple[Sequence[Tensor], ...]:
    """Return tensors of so many states, of so many weights, and the others."""
    return tensors[:states], tensors[states : states + weights], tensors[states + weights :]


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
        start, weights, _ = _split(tensors, len(cell.states), len(names))
        result = forward(Inputs(cell, names, x, start, weights, lengths, seed), mode)
        # which checks that nobody has changed them
        ctx.save_for_backward(x, lengths, seed, result.output, *tensors, *result.saved)
        ctx.set_materialize_grads(False)
        ctx.cell, ctx.names, ctx.mode, ctx.options = cell, names, mode, options
        return result.output, *result.last

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, lengths, seed, output, *tensors = ctx.saved_tensors  # once: with checkpoints each access computes them again
        start, weights, saved = _split(tensors, len(ctx.cell.states), len(ctx.names))
        needs_x, *needs = ctx.needs_input_grad[6:]
        if torch.is_grad_enabled() or not all(map(kernel.has_memory, grads)):  # create_graph, is_grads_batched
            H = start[0].shape[1]

            def again(x: Tensor, *views: Tensor) -> Sequence[Tensor]:
                states, held, _ = _split(views, len(start), len(weights))
                inputs = ctx.cell, ctx.names, held, x, states, lengths, ctx.options, seed, ctx.mode.reverse
                result, after = unroll(*inputs)
                return result, *after

            of_units = [None if grad is None else grad[..., :H] for grad in grads]
            return *[None] * 6, *differentiable_gradients(again, (x, *start, *weights), of_units)
        job = Pass(Inputs(ctx.cell, ctx.names, x, start, weights, lengths, seed), ctx.mode)
        needs_state = any(needs[: len(start)])
        found: Gradients = job.backward(grads, PassResult(output, (), saved), needs_x, needs_state)
        needed = zip((found.x, *found.start, *found.weights), (needs_x, *needs), strict=True)
        return *[None] * 6, *(gradient if is_needed else None for gradient, is_needed in needed)


def differentiable_gradients(
    equations: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor], grads: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """Return the gradients of `inputs` by autograd, connected to `inputs` and to the gradients of the outputs."""
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad(), torch.autocast("cpu", enabled=False):
        # Views, so that the gradient of x leaves out what x contributes through an h that depends on it.
        views = [tensor.view_as(tensor) for tensor in inputs]
        used = [(output, grad) for output, grad in zip(equations(*views), grads, strict=True) if grad is not None]
        wanted = [tensor for tensor in views if tensor.requires_grad]
        outputs, output_grads = zip(*used, strict=True)
        found = iter(torch.autograd.grad(outputs, wanted, output_grads, create_graph=create_graph, allow_unused=True))
    return [next(found) if tensor.requires_grad else None for tensor in views]
