"""The LSTM over a whole sequence as one operator of torch, for float32 on a CPU.

Shapes: B batch, T time, I input size, H hidden size, S steps that are kept.

`operator.cpp` computes what `LSTMLayer` says, `native.py` compiles it, and this file makes it known to torch:
`reviver::lstm_forward` and `reviver::lstm_backward`, with shapes for the compiler and the gradient for autograd.
"""

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from reviver.errors import DataError
from reviver.lstm import native
from reviver.lstm.precision import rounded

KINDS = ("none", "step", "variational", "zoneout", "zoneout_mean")
"""What happens to the hidden state, in the order of `Kind` in `operator.cpp`."""

KEEP_ALL, KEEP_NOTHING = -1, 0
"""What the forward pass keeps for the backward pass; a number n > 0 stands for the state before every n steps."""

_BACKWARD_ROWS = 2048
"""Rows (steps × batch) whose gradients are held at a time: enough for fast products, few enough for the cache."""

_switched_off: ContextVar[bool] = ContextVar("_switched_off", default=False)


@contextmanager
def reference() -> Iterator[None]:
    """Compute by the equations of `network.py`, not by the operator, while this context lasts."""
    token = _switched_off.set(True)
    try:
        yield
    finally:
        _switched_off.reset(token)


def available() -> bool:
    """Whether the operator works on this machine and is not switched off. The first call compiles it."""
    return not _switched_off.get() and native.OPERATOR.library() is not None


# What torch.compiler.assume_constant_result does, which would import the whole compiler, for seconds.
available._dynamo_marked_constant = True  # type: ignore[attr-defined]


def applies(x: Tensor, *others: Tensor) -> bool:
    """Whether the operator takes these tensors: float32 on a CPU, not under autocast."""
    for tensor in (x, *others):
        if tensor.dtype != torch.float32 or not tensor.is_cpu:
            return False
    return not torch.is_autocast_enabled("cpu") and not torch._C._get_tracing_state() and available()


def lstm(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    weights: list[Tensor],
    lengths: Tensor | None = None,
    *,
    reverse: bool = False,
    dropout: float = 0.0,
    kind: str = "none",
    seed: Tensor | None = None,
    checkpoint_steps: int | None = None,
    precision: str = "fp32",
) -> tuple[Tensor, Tensor, Tensor]:
    """Run an LSTM layer over a sequence: x [T, B, I], h and c [B, H]; arguments and result as of `LSTMLayer.forward`.

    `weights` are W_i W_f W_c W_o [H, I], U_i U_f U_c U_o [H, H] and b_i b_f b_c b_o [H]. `dropout` is p of the hidden state,
    `kind` one of `KINDS`, and `seed` that of the masks, int64, [], see `dropout.draw_seed`; `none` and `zoneout_mean` use
    no seed. `checkpoint_steps` and `precision` are those of `LSTM`.
    """
    keep = KEEP_NOTHING
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, h, c, *weights)):
        keep = KEEP_ALL if checkpoint_steps is None else checkpoint_steps
    rest = (lengths, seed, dropout, kind, reverse, keep, precision)
    if torch.compiler.is_compiling() or type(x) is not Tensor:  # the compiler, and tensors that stand for others
        output, h_last, c_last, _, _ = lstm_forward(x, h, c, weights, *rest)
    elif keep == KEEP_NOTHING:
        output, h_last, c_last, _, _ = _forward(x, h, c, weights, *rest)
    else:
        output, h_last, c_last = _Direct.apply(x, h, c, *rest, *weights)
    return output, h_last, c_last


# What the operator does ---------------------------------------------------------------------------------------------


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
    keep: int,
    precision: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return output, h and c after the last step, and two tensors that the backward pass needs.

    For `KEEP_ALL` these are the gates [T, B, 4, H] and the cells [T, B, H]; for `KEEP_NOTHING` they are empty; for
    `keep` > 0 there are no gates, but h and c before every `keep` steps, [chunks, 2, B, H].
    """
    x, h, c, weights = _dense(x, h, c, weights)
    T, B, _ = x.shape
    _check(x, h, c, weights, lengths, seed)
    lengths = None if lengths is None else lengths.contiguous()
    output, h_last, c_last = x.new_empty(T, B, h.shape[1]), h.clone(), c.clone()
    gates, cells = _kept(x, h, keep)
    if lengths is not None:  # nothing is written where a row takes no part
        gates.zero_()
        cells.zero_()
    options = {"dropout": dropout, "kind": KINDS.index(kind), "reverse": reverse, "bf16": precision == "bf16"}
    call = _call(x, h, c, weights, lengths, seed, **options)
    call.output, call.h_last, call.c_last = output.data_ptr(), h_last.data_ptr(), c_last.data_ptr()
    if keep == KEEP_ALL:
        call.gates, call.cells = gates.data_ptr(), cells.data_ptr()
    if keep <= 0:
        _library().reviver_lstm_forward(call)
    else:
        for begin, end in _chunks(T, keep, last_first=reverse):
            before = cells[begin // keep]  # [2, B, H]
            before[0], before[1] = h_last, c_last
            _cover(call, begin, end, before[0], before[1])
            _library().reviver_lstm_forward(call)
    return output, h_last, c_last, gates, cells


def _gradients(
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
    keep: int,
    precision: str,
    needs_x: bool,
    needs_state: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of x (empty unless needed), h, c, and of W [4, H, I], U [4, H, H], b [4, H] of all gates."""
    x, h, c, weights = _dense(x, h, c, weights)
    T, B, I = x.shape  # noqa: E741
    H = h.shape[1]
    lengths = None if lengths is None else lengths.contiguous()
    grad_x = x.new_empty(x.shape if needs_x else (0,))
    grad_W, grad_U, grad_b = x.new_zeros(4, H, I), x.new_zeros(4, H, H), x.new_zeros(4, H)
    grad_h = torch.zeros_like(h) if grad_h is None else grad_h.clone(memory_format=torch.contiguous_format)
    grad_c = torch.zeros_like(c) if grad_c is None else grad_c.clone(memory_format=torch.contiguous_format)
    grad_output = None if grad_output is None else grad_output.contiguous()
    factor = rounded if precision == "bf16" else torch.Tensor.detach  # of a product
    W = factor(torch.cat(list(weights[:4]))) if needs_x else None  # [4H, I]

    S = min(T, max(1, _BACKWARD_ROWS // B) if keep == KEEP_ALL else keep)  # steps at a time
    held = x.new_empty(S, B, 4 * H)
    options = {"dropout": dropout, "kind": KINDS.index(kind), "reverse": reverse, "bf16": precision == "bf16"}
    call = _call(x, h, c, weights, lengths, seed, **options)
    call.grad_output = None if grad_output is None else grad_output.data_ptr()
    call.grad_h, call.grad_c, call.grad_gates = grad_h.data_ptr(), grad_c.data_ptr(), held.data_ptr()
    call.grad_W, call.grad_U, call.grad_b = grad_W.data_ptr(), grad_U.data_ptr(), grad_b.data_ptr()
    if keep == KEEP_ALL:
        call.gates, call.cells, call.output = gates.data_ptr(), cells.data_ptr(), output.data_ptr()
    else:
        again = x.new_empty(S, B, 4, H), x.new_empty(S, B, H), torch.empty_like(h), torch.empty_like(c)
        call.gates, call.cells, call.h_last, call.c_last = (tensor.data_ptr() for tensor in again)
        outputs_again = x.new_empty(S, B, H)

    chunks = _chunks(T, S, last_first=not reverse)
    for begin, end in chunks:
        if keep == KEEP_ALL:
            call.begin, call.end = begin, end
        else:
            before = cells[begin // keep]  # [2, B, H]
            _cover(call, begin, end, before[0], before[1])
            call.output = outputs_again.data_ptr() - begin * B * H * 4  # where step 0 would be; only these are touched
            _library().reviver_lstm_forward(call)
        call.stop_at_first = not needs_state and (begin, end) == chunks[-1]
        _library().reviver_lstm_backward(call)

        if W is not None:
            torch.mm(factor(held[: end - begin].view(-1, 4 * H)), W, out=grad_x[begin:end].view(-1, I))
    return grad_x, grad_h, grad_c, grad_W, grad_U, grad_b


# The operator as torch sees it --------------------------------------------------------------------------------------

lstm_forward = torch.library.custom_op("reviver::lstm_forward", _forward, mutates_args=())
lstm_backward = torch.library.custom_op("reviver::lstm_backward", _gradients, mutates_args=())


@lstm_forward.register_fake
def _(x: Tensor, h: Tensor, c: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    *_, keep, _ = rest
    return x.new_empty(*x.shape[:2], h.shape[1]), h.new_empty(h.shape), c.new_empty(c.shape), *_kept(x, h, keep)


@lstm_backward.register_fake
def _(grad_output: Any, grad_h: Any, grad_c: Any, x: Tensor, h: Tensor, c: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    *_, needs_x, _ = rest
    H, I = h.shape[1], x.shape[2]  # noqa: E741
    grad_x = x.new_empty(x.shape if needs_x else (0,))
    weights = x.new_empty(4, H, I), x.new_empty(4, H, H), x.new_empty(4, H)
    return grad_x, h.new_empty(h.shape), c.new_empty(c.shape), *weights


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...], gradients: Any = lstm_backward) -> None:
    x, h, c, weights, lengths, seed, *ctx.options = inputs
    outputs, _, _, gates, cells = output
    ctx.save_for_backward(x, h, c, *weights, lengths, seed, outputs, gates, cells)
    ctx.set_materialize_grads(False)
    ctx.needs = x.requires_grad, h.requires_grad or c.requires_grad
    ctx.gradients = gradients


def _backward(ctx: Any, grad_output: Tensor | None, grad_h: Tensor | None, grad_c: Tensor | None, *_: None) -> Any:
    x, h, c, *weights, lengths, seed, output, gates, cells = ctx.saved_tensors
    needs_x, needs_state = ctx.needs
    grad_x, grad_h, grad_c, *grads = ctx.gradients(
        *(grad_output, grad_h, grad_c, x, h, c, weights, lengths, seed, output, gates, cells),
        *(*ctx.options, needs_x, needs_state),
    )
    grad_weights = [grad for grads_of_gates in grads for grad in grads_of_gates.unbind()]
    grad_state = (grad_h, grad_c) if needs_state else (None, None)
    return grad_x if needs_x else None, *grad_state, grad_weights, *([None] * 7)


def _no_second_derivative(ctx: Any, *_: Any) -> Any:
    raise RuntimeError(
        "the native LSTM operator has no second derivatives; compute inside `with reviver.lstm.operator.reference():`"
    )


lstm_forward.register_autograd(_backward, setup_context=_save)
lstm_backward.register_autograd(_no_second_derivative)


class _Direct(torch.autograd.Function):
    """`lstm_forward` with its gradient, without torch's dispatch of operators written in Python (0.3 ms a call)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, h: Tensor, c: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
        options, weights = rest[:7], list(rest[7:])
        result = _forward(x, h, c, weights, *options)
        _save(ctx, (x, h, c, weights, *options), result, _gradients)
        return result[:3]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        if torch.is_grad_enabled():  # create_graph=True
            _no_second_derivative(ctx)
        grad_x, grad_h, grad_c, grad_weights, *rest = _backward(ctx, *grads)
        return grad_x, grad_h, grad_c, *rest, *grad_weights


# Helpers ------------------------------------------------------------------------------------------------------------


def _library() -> ctypes.CDLL:
    library = native.OPERATOR.library()
    if library is None:
        raise RuntimeError("the native LSTM operator is not available on this machine; see `operator.available()`")
    return library


def _dense(x: Tensor, h: Tensor, c: Tensor, weights: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    return x.contiguous(), h.contiguous(), c.contiguous(), [weight.contiguous() for weight in weights]


def _check(
    x: Tensor, h: Tensor, c: Tensor, weights: Sequence[Tensor], lengths: Tensor | None, seed: Tensor | None
) -> None:
    """Refuse what would make the native code read beyond a tensor."""
    _, B, I = x.shape  # noqa: E741
    H = h.shape[1]
    shapes = [(H, I)] * 4 + [(H, H)] * 4 + [(H,)] * 4
    fits = h.shape == (B, H) == c.shape and [weight.shape for weight in weights] == shapes
    if not fits or 0 in x.shape:
        raise DataError(f"x {list(x.shape)}, h {list(h.shape)}, c {list(c.shape)} and the weights do not fit together")
    for name, tensor, n in (("lengths", lengths, B), ("seed", seed, 1)):
        if tensor is not None and (tensor.dtype != torch.int64 or tensor.numel() != n or not tensor.is_cpu):
            raise DataError(f"{name} must be {n} of torch.int64 on the CPU, got {tensor.numel()} of {tensor.dtype}")


def _kept(x: Tensor, h: Tensor, keep: int) -> tuple[Tensor, Tensor]:
    """Room for what `lstm_forward` keeps for the backward pass."""
    T, B, _ = x.shape
    H = h.shape[1]
    if keep == KEEP_ALL:
        return x.new_empty(T, B, 4, H), x.new_empty(T, B, H)
    return x.new_empty(0), x.new_empty(0 if keep == KEEP_NOTHING else (-(-T // keep), 2, B, H))


def _chunks(T: int, steps: int, *, last_first: bool) -> list[tuple[int, int]]:
    """Divide the steps 0 to T: (begin, end) of each chunk."""
    chunks = [(begin, min(begin + steps, T)) for begin in range(0, T, steps)]
    return chunks[::-1] if last_first else chunks


def _cover(call: native.Call, begin: int, end: int, h: Tensor, c: Tensor) -> None:
    """Restrict a call to some steps, before which the state is h and c."""
    call.begin, call.end = call.kept_begin, call.kept_end = begin, end
    call.h, call.c = h.data_ptr(), c.data_ptr()


def _call(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    weights: Sequence[Tensor],
    lengths: Tensor | None,
    seed: Tensor | None,
    **options: Any,
) -> native.Call:
    """Arguments for all steps; the caller keeps the tensors alive."""
    call = native.Call(**options)
    call.T, call.B, call.I = x.shape
    call.H, call.end, call.kept_end, call.threads = h.shape[1], call.T, call.T, torch.get_num_threads()
    call.x, call.h, call.c = x.data_ptr(), h.data_ptr(), c.data_ptr()
    pointers = [weight.data_ptr() for weight in weights]
    call.W, call.U, call.b = _four(*pointers[:4]), _four(*pointers[4:8]), _four(*pointers[8:])
    call.seed = None if seed is None else seed.data_ptr()
    call.lengths = None if lengths is None else lengths.data_ptr()
    return call


_four = ctypes.c_void_p * 4
