"""The kernel as operators of torch: `reviver::lstm_forward` and `reviver::lstm_backward`.

Shapes: B batch, T time, I input size, H hidden size, S steps of a chunk.

Each operator has a fake implementation, which gives torch.compile the shapes, and the forward one its gradient.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from reviver.errors import DataError
from reviver.lstm.kernel import library, memory
from reviver.lstm.kernel.second_derivatives import Equations, differentiable_gradients
from reviver.lstm.precision import round_to_bf16

SAVE_ALL, SAVE_NOTHING = -1, 0
"""Values of `save`, the activations saved for the backward pass; k > 0 saves the state before every k steps."""

_BACKWARD_ROWS = 2048
"""Rows (steps × batch) per chunk of the backward pass: enough for efficient matmuls, few enough for the cache."""


def run(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    weights: list[Tensor],
    lengths: Tensor | None,
    seed: Tensor | None,
    *,
    dropout: float,
    kind: str,
    reverse: bool,
    save: int,
    precision: str,
    equations: Equations | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run an LSTM cell over a sequence, with a gradient.

    Args:
        x: input, [T, B, I].
        h: hidden state before the first step, [B, H].
        c: cell state before the first step, [B, H].
        weights: W [H, I], U [H, H] and b [H] of the gates as `LSTMCell.weights` returns them.
        lengths: number of steps of each sequence, [B] int64; all T if None.
        seed: seed of the dropout masks, [] int64 (see `dropout.draw_seed`); None for "none" and "zoneout_mean".
        dropout: probability p of hidden dropout.
        kind: kind of dropout, one of `library.KINDS`.
        reverse: run from the last step to the first.
        save: `SAVE_ALL`, `SAVE_NOTHING` or k > 0.
        precision: "fp32" or "bf16".
        equations: function that computes the same, for second derivatives; they raise an error if None.

    Returns:
        The hidden state after each step, [T, B, H], and h and c after the last one, [B, H].

    Raises:
        DataError: if shapes or dtypes do not fit.
    """
    # An operator is what the compiler, dispatch modes and subclasses such as fake tensors can see.
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() or type(x) is not Tensor:
        output, h, c, _, _ = lstm_forward(x, h, c, weights, lengths, seed, dropout, kind, reverse, save, precision)
    elif save == SAVE_NOTHING:
        output, h, c, _, _ = _forward(x, h, c, weights, lengths, seed, dropout, kind, reverse, save, precision)
    else:
        output, h, c = _LSTMFunction.apply(
            x, h, c, equations, lengths, seed, dropout, kind, reverse, save, precision, *weights
        )
    return output, h, c


# Forward and backward pass ------------------------------------------------------------------------------------------


def _forward(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    weights: Sequence[Tensor],
    lengths: Tensor | None,
    seed: Tensor | None,
    dropout: float,
    kind: str,
    reverse: bool,
    save: int,
    precision: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the output, h and c after the last step, and two tensors of saved activations.

    For `SAVE_ALL` these are the gates [T, B, 4, H] and the cell states [T, B, H]; for `SAVE_NOTHING` both are empty;
    for `save` = k > 0 the first is empty and the second holds h and c before every k steps, [chunks, 2, B, H].
    """
    x, h, c = x.contiguous(), h.contiguous(), c.contiguous()
    T, B, _ = x.shape
    _check(x, h, c, weights, lengths, seed)
    W, U, b = _stacked(weights)
    lengths = None if lengths is None else lengths.contiguous()
    output, h_last, c_last = x.new_empty(T, B, h.shape[1]), torch.empty_like(h), torch.empty_like(c)
    gates, cells = (memory.empty(*shape) for shape in _shapes_of_saved(x, h, save))
    if lengths is not None:  # the kernel does not write beyond the end of a sequence
        gates.zero_()
        cells.zero_()
    call = library.make_call(
        x, h, c, W, U, b, None, lengths, seed, dropout=dropout, kind=kind, reverse=reverse, precision=precision
    )
    call.output, call.h_last, call.c_last = output.data_ptr(), h_last.data_ptr(), c_last.data_ptr()
    if save == SAVE_ALL:
        call.gates, call.cells = gates.data_ptr(), cells.data_ptr()
    if save <= 0:
        library.load().reviver_lstm_forward(call)
    else:
        state = h, c
        for begin, end in _chunks(T, save, last_first=reverse):
            before = cells[begin // save]  # [2, B, H]
            before[0], before[1] = state
            state = h_last, c_last
            library.select_steps(call, begin, end, before[0], before[1])
            library.load().reviver_lstm_forward(call)
    return output, h_last, c_last, gates, cells


def _backward(
    grad_output: Tensor | None,
    grad_h: Tensor | None,
    grad_c: Tensor | None,
    x: Tensor,
    h: Tensor,
    c: Tensor,
    weights: Sequence[Tensor],
    lengths: Tensor | None,
    seed: Tensor | None,
    output: Tensor,
    gates: Tensor,
    cells: Tensor,
    dropout: float,
    kind: str,
    reverse: bool,
    save: int,
    precision: str,
    needs_x: bool,
    needs_state: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of x (empty unless needed), h, c, and of W [4, H, I], U [4, H, H], b [4, H] of all gates."""
    x, h, c = x.contiguous(), h.contiguous(), c.contiguous()
    W, U, b = _stacked(weights)
    T, B, I = x.shape  # noqa: E741
    H = h.shape[1]
    lengths = None if lengths is None else lengths.contiguous()
    grad_x = x.new_empty(x.shape if needs_x else (0,))
    grad_W, grad_U, grad_b = x.new_zeros(4, H, I), x.new_zeros(4, H, H), x.new_zeros(4, H)
    grad_h = torch.zeros_like(h) if grad_h is None else grad_h.clone(memory_format=torch.contiguous_format)
    grad_c = torch.zeros_like(c) if grad_c is None else grad_c.clone(memory_format=torch.contiguous_format)
    grad_output = None if grad_output is None else grad_output.contiguous()
    to_operand = round_to_bf16 if precision == "bf16" else torch.Tensor.detach
    operand_W = to_operand(W) if needs_x else None  # [4H, I]

    S = min(T, max(1, _BACKWARD_ROWS // B) if save == SAVE_ALL else save)  # steps per chunk
    grad_gates = x.new_empty(S, B, 4 * H)
    call = library.make_call(
        x, h, c, W, U, b, None, lengths, seed, dropout=dropout, kind=kind, reverse=reverse, precision=precision
    )
    call.grad_output = None if grad_output is None else grad_output.data_ptr()
    call.grad_h, call.grad_c, call.grad_gates = grad_h.data_ptr(), grad_c.data_ptr(), grad_gates.data_ptr()
    call.grad_W, call.grad_U, call.grad_b = grad_W.data_ptr(), grad_U.data_ptr(), grad_b.data_ptr()
    if save == SAVE_ALL:
        call.gates, call.cells, call.output = gates.data_ptr(), cells.data_ptr(), output.data_ptr()
    else:  # buffers for the recomputed activations of a chunk
        buffers = x.new_empty(S, B, 4, H), x.new_empty(S, B, H), torch.empty_like(h), torch.empty_like(c)
        call.gates, call.cells, call.h_last, call.c_last = (buffer.data_ptr() for buffer in buffers)
        chunk_output = x.new_empty(S, B, H)

    chunks = _chunks(T, S, last_first=not reverse)
    for begin, end in chunks:
        if save == SAVE_ALL:
            call.begin, call.end = begin, end
        else:
            before = cells[begin // save]  # [2, B, H]
            library.select_steps(call, begin, end, before[0], before[1])
            call.output = (
                chunk_output.data_ptr() - begin * B * H * 4
            )  # address of step 0; only begin to end is accessed
            library.load().reviver_lstm_forward(call)
        call.stop_at_first = not needs_state and (begin, end) == chunks[-1]
        library.load().reviver_lstm_backward(call)

        if operand_W is not None:
            operand = to_operand(grad_gates[: end - begin].view(-1, 4 * H))  # [S·B, 4H]
            torch.mm(operand, operand_W, out=grad_x[begin:end].view(-1, I))
    return grad_x, grad_h, grad_c, grad_W, grad_U, grad_b


# Registration -------------------------------------------------------------------------------------------------------

lstm_forward = torch.library.custom_op("reviver::lstm_forward", _forward, mutates_args=())
lstm_backward = torch.library.custom_op("reviver::lstm_backward", _backward, mutates_args=())


@lstm_forward.register_fake
def _(x: Tensor, h: Tensor, c: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    *_, save, _ = rest
    return (
        x.new_empty(*x.shape[:2], h.shape[1]),
        h.new_empty(h.shape),
        c.new_empty(c.shape),
        *map(x.new_empty, _shapes_of_saved(x, h, save)),
    )


@lstm_backward.register_fake
def _(grad_output: Any, grad_h: Any, grad_c: Any, x: Tensor, h: Tensor, c: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    *_, needs_x, _ = rest
    H, I = h.shape[1], x.shape[2]  # noqa: E741
    grad_x = x.new_empty(x.shape if needs_x else (0,))
    weights = x.new_empty(4, H, I), x.new_empty(4, H, H), x.new_empty(4, H)
    return grad_x, h.new_empty(h.shape), c.new_empty(c.shape), *weights


def _setup_context(
    ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...], backward: Any = lstm_backward
) -> None:
    """Save for the gradient what the backward pass needs; `backward` computes it."""
    x, h, c, weights, lengths, seed, *ctx.options = inputs
    outputs, _, _, gates, cells = output
    ctx.save_for_backward(x, h, c, *weights, lengths, seed, outputs, gates, cells)
    ctx.set_materialize_grads(False)
    ctx.needs_x, ctx.needs_state = x.requires_grad, h.requires_grad or c.requires_grad
    ctx.backward = backward


def _gradient(ctx: Any, grad_output: Tensor | None, grad_h: Tensor | None, grad_c: Tensor | None, *_: None) -> Any:
    """Return the gradients of the arguments of `_forward`: x, h, c, the list of weights, and None for the others."""
    x, h, c, *weights, lengths, seed, output, gates, cells = ctx.saved_tensors
    dropout, kind, reverse, save, precision = ctx.options
    grad_x, grad_h, grad_c, *grads = ctx.backward(
        grad_output,
        grad_h,
        grad_c,
        x,
        h,
        c,
        weights,
        lengths,
        seed,
        output,
        gates,
        cells,
        dropout,
        kind,
        reverse,
        save,
        precision,
        ctx.needs_x,
        ctx.needs_state,
    )
    grad_weights = [grad for grads_of_gates in grads for grad in grads_of_gates.unbind()]
    grad_state = (grad_h, grad_c) if ctx.needs_state else (None, None)
    return grad_x if ctx.needs_x else None, *grad_state, grad_weights, *([None] * 7)


def _refuse_second_derivative(ctx: Any, *_: Any) -> Any:
    raise RuntimeError(
        "the native LSTM kernel has no second derivatives; compute inside `with reviver.lstm.kernel.reference():`"
    )


lstm_forward.register_autograd(_gradient, setup_context=_setup_context)
lstm_backward.register_autograd(_refuse_second_derivative)


class _LSTMFunction(torch.autograd.Function):
    """`lstm_forward` with its gradient, without torch's dispatch of Python operators (0.3 ms per call)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, h: Tensor, c: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
        ctx.equations, lengths, seed, dropout, kind, reverse, save, precision, *weights = rest
        inputs = (x, h, c, weights, lengths, seed, dropout, kind, reverse, save, precision)
        result = _forward(x, h, c, weights, lengths, seed, dropout, kind, reverse, save, precision)
        _setup_context(ctx, inputs, result, _backward)
        return result[:3]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        if torch.is_grad_enabled():  # create_graph=True
            if ctx.equations is None:
                _refuse_second_derivative(ctx)
            *inputs, lengths, seed, _, _, _ = ctx.saved_tensors
            found = differentiable_gradients(ctx.equations, inputs, lengths, seed, grads)
            return *found[:3], *([None] * 8), *found[3:]
        grad_x, grad_h, grad_c, grad_weights, *rest = _gradient(ctx, *grads)
        return grad_x, grad_h, grad_c, None, *rest, *grad_weights


# Helpers ------------------------------------------------------------------------------------------------------------


def _stacked(weights: Sequence[Tensor]) -> list[Tensor]:
    """Return the weights of the four gates as W [4H, I], U [4H, H] and b [4H]."""
    return [torch.cat(list(weights[first : first + 4])) for first in (0, 4, 8)]


def _check(
    x: Tensor, h: Tensor, c: Tensor, weights: Sequence[Tensor], lengths: Tensor | None, seed: Tensor | None
) -> None:
    """Raise DataError for arguments that would make the native code read beyond the end of a tensor."""
    T, B, I = x.shape  # noqa: E741
    H = h.shape[1]
    shapes = [(H, I)] * 4 + [(H, H)] * 4 + [(H,)] * 4
    fits = h.shape == (B, H) == c.shape and [weight.shape for weight in weights] == shapes
    if not fits or 0 in x.shape:
        raise DataError(f"x {list(x.shape)}, h {list(h.shape)}, c {list(c.shape)} and the weights do not fit together")
    for name, tensor, n in (("lengths", lengths, B), ("seed", seed, 1)):
        if tensor is not None and (tensor.dtype != torch.int64 or tensor.numel() != n or not tensor.is_cpu):
            raise DataError(f"{name} must be {n} of torch.int64 on the CPU, got {tensor.numel()} of {tensor.dtype}")
    if lengths is not None:  # in a compiled graph, which checks them at any time, nobody else has done so
        low, high = torch.aminmax(lengths)
        if low < 1 or high > T:
            raise DataError(f"lengths must be from 1 to T = {T}, got {lengths.tolist()}")


def _shapes_of_saved(x: Tensor, h: Tensor, save: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of the two tensors of activations that `_forward` saves."""
    T, B, _ = x.shape
    H = h.shape[1]
    if save == SAVE_ALL:
        return (T, B, 4, H), (T, B, H)
    return (0,), (0,) if save == SAVE_NOTHING else (-(-T // save), 2, B, H)


def _chunks(T: int, steps: int, *, last_first: bool) -> list[tuple[int, int]]:
    """Return (begin, end) of each chunk of at most `steps` steps out of T."""
    chunks = [(begin, min(begin + steps, T)) for begin in range(0, T, steps)]
    return chunks[::-1] if last_first else chunks
