"""The kernel as operators of torch: `reviver::lstm_forward` and `reviver::lstm_backward`.

Shapes: B batch, T time, I input size, H hidden size, S steps of a chunk.

Each operator has a fake implementation, which gives torch.compile the shapes, and the forward one its gradient.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._subclasses import FakeTensor

from reviver.errors import DataError
from reviver.recurrent.equations import round_to_bf16
from reviver.recurrent.kernel import buffers, library
from reviver.recurrent.kernel.library import SAVE_ALL, SAVE_NOTHING, Inputs, Mode
from reviver.recurrent.transforms import is_batched

BACKWARD_ROWS = 2048
"""Rows (steps × batch) per chunk of the backward pass: enough for efficient matmuls, few enough for the cache."""

Equations = Callable[[Inputs], tuple[Tensor, Tensor, Tensor]]
"""Function that computes from `Inputs` what the kernel does, with operators that autograd can differentiate again."""


def run(inputs: Inputs, mode: Mode, equations: Equations) -> tuple[Tensor, Tensor, Tensor]:
    """Run an LSTM cell over a sequence, with a gradient; `equations` serve second derivatives and batches of gradients.

    Return the hidden state after each step, [T, B, H], and h and c after the last one, [B, H].
    """
    # An operator is what the compiler, dispatch modes and subclasses such as fake tensors can see.
    if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() or isinstance(inputs.x, FakeTensor):
        return lstm_forward(*inputs, *mode)[:3]  # type: ignore[no-any-return]
    if mode.save == SAVE_NOTHING:
        return _forward(*inputs, *mode)[:3]
    return _LSTMFunction.apply(equations, mode, *inputs)  # type: ignore[no-any-return]


def _forward(*arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the output, h and c after the last step, and the activations of `_shapes_of_saved`, given `Inputs` and `Mode`."""
    inputs, mode = _checked(Inputs(*arguments[:9])), Mode(*arguments[9:])
    x, h, save = inputs.x, inputs.h, mode.save
    output, h_last, c_last = x.new_empty(*x.shape[:2], h.shape[1]), torch.empty_like(h), torch.empty_like(h)
    gates, cells = (buffers.empty(*shape) for shape in _shapes_of_saved(x, h, save))
    if inputs.lengths is not None:  # the kernel does not write beyond the end of a sequence
        gates.zero_()
        cells.zero_()
    call = library.make_call(inputs, mode)
    call.output, call.h_last, call.c_last = output.data_ptr(), h_last.data_ptr(), c_last.data_ptr()
    if save == SAVE_ALL:
        call.point_to(gates=gates, cells=cells)
    if save <= 0:
        library.load().reviver_lstm_forward(call)
    else:
        state = h, inputs.c
        for begin, end in _chunks(len(x), save, last_first=mode.reverse):
            before = cells[begin // save]  # [2, B, H]
            before[0], before[1] = state
            state = h_last, c_last
            call.select_steps(begin, end, before[0], before[1])
            library.load().reviver_lstm_forward(call)
    return output, h_last, c_last, gates, cells


def _backward(*arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of x (empty unless needed), h, c, W, U and of either bias, given the arguments of the operator."""
    grad_output, grad_h, grad_c, output, gates, cells, needs_x, needs_state = arguments[:8]
    inputs, mode = _map(torch.Tensor.contiguous, Inputs(*arguments[8:17])), Mode(*arguments[17:])
    x, h, W, save = inputs.x, inputs.h, inputs.W, mode.save
    (T, B, I), H = x.shape, h.shape[1]  # noqa: E741
    grad_x = x.new_empty(x.shape if needs_x else (0,))
    grad_W, grad_U, grad_b = torch.zeros_like(W), torch.zeros_like(inputs.U), x.new_zeros(4 * H)
    grad_h, grad_c = (
        torch.zeros_like(h) if grad is None else grad.clone(memory_format=torch.contiguous_format)
        for grad in (grad_h, grad_c)
    )
    grad_output = None if grad_output is None else grad_output.contiguous()
    to_operand = round_to_bf16 if mode.precision == "bf16" else torch.Tensor.detach
    W = to_operand(W) if needs_x else W

    S = min(T, max(1, BACKWARD_ROWS // B) if save == SAVE_ALL else save)  # steps per chunk
    grad_gates = x.new_empty(S, B, 4 * H)
    call = library.make_call(inputs, mode)
    call.point_to(grad_output=grad_output, grad_h=grad_h, grad_c=grad_c, grad_gates=grad_gates)
    call.point_to(grad_W=grad_W, grad_U=grad_U, grad_b=grad_b, output=output, gates=gates, cells=cells)
    if save != SAVE_ALL:  # buffers for the recomputed activations of a chunk
        gates, cells_of_chunk, chunk_output = x.new_empty(S, B, 4, H), x.new_empty(S, B, H), x.new_empty(S, B, H)
        h_last, c_last = torch.empty_like(h), torch.empty_like(h)
        call.point_to(gates=gates, cells=cells_of_chunk, h_last=h_last, c_last=c_last)

    chunks = _chunks(T, S, last_first=not mode.reverse)
    for begin, end in chunks:
        if save == SAVE_ALL:
            call.begin, call.end = begin, end
        else:
            before = cells[begin // save]  # [2, B, H]
            call.select_steps(begin, end, before[0], before[1])
            # The address of step 0, of which only the steps from begin to end are accessed.
            call.output = chunk_output.data_ptr() - begin * B * H * 4
            library.load().reviver_lstm_forward(call)
        call.stop_at_first = not needs_state and (begin, end) == chunks[-1]
        library.load().reviver_lstm_backward(call)
        if needs_x:
            operand = to_operand(grad_gates[: end - begin].view(-1, 4 * H))  # [S·B, 4H]
            torch.mm(operand, W, out=grad_x[begin:end].view(-1, I))
    return grad_x, grad_h, grad_c, grad_W, grad_U, grad_b


# Registration -------------------------------------------------------------------------------------------------------

# An operator takes its arguments one by one.
_ARGUMENTS = (
    "Tensor x, Tensor h, Tensor c, Tensor W, Tensor U, Tensor? b_ih, Tensor? b_hh, Tensor? lengths, Tensor? seed, "
    "float dropout, str kind, bool reverse, int save, str precision"
)
_GRADIENTS = "Tensor? grad_output, Tensor? grad_h, Tensor? grad_c, Tensor output, Tensor gates, Tensor cells"


lstm_forward: Any = torch.library.custom_op(
    "reviver::lstm_forward", _forward, mutates_args=(), schema=f"({_ARGUMENTS}) -> ({', '.join(['Tensor'] * 5)})"
)
lstm_backward: Any = torch.library.custom_op(
    "reviver::lstm_backward",
    _backward,
    mutates_args=(),
    schema=f"({_GRADIENTS}, bool needs_x, bool needs_state, {_ARGUMENTS}) -> ({', '.join(['Tensor'] * 6)})",
)


@lstm_forward.register_fake  # type: ignore[untyped-decorator]
def _(x: Tensor, h: Tensor, c: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    *_, save, _ = rest
    output = x.new_empty(*x.shape[:2], h.shape[1])
    return output, h.new_empty(h.shape), c.new_empty(c.shape), *map(x.new_empty, _shapes_of_saved(x, h, save))


@lstm_backward.register_fake  # type: ignore[untyped-decorator]
def _(*arguments: Any) -> tuple[Tensor, ...]:
    needs_x, (x, h, c, W, U) = arguments[6], arguments[8:13]
    grad_x, grad_b = x.new_empty(x.shape if needs_x else (0,)), W.new_empty(len(W))
    return grad_x, *(tensor.new_empty(tensor.shape) for tensor in (h, c, W, U)), grad_b


def _save_for_backward(ctx: Any, inputs: Sequence[Any], output: Sequence[Tensor]) -> None:
    """Save what `_gradient` needs; `inputs` are the arguments of an operator."""
    tensors = Inputs(*inputs[:9])
    outputs, _, _, *saved = output
    ctx.save_for_backward(*tensors, outputs, *saved)
    ctx.set_materialize_grads(False)
    ctx.mode, ctx.needs_x = Mode(*inputs[9:]), tensors.x.requires_grad
    ctx.needs_state = tensors.h.requires_grad or tensors.c.requires_grad
    ctx.biases = tuple(bias is not None for bias in (tensors.b_ih, tensors.b_hh))


def _gradient(backward: Any, ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
    """Return the gradients of `Inputs` from those of the output, h and c, by `_backward` or its operator."""
    *inputs, output, gates, cells = ctx.saved_tensors
    grad_x, grad_h, grad_c, grad_W, grad_U, grad_b = backward(
        *grads[:3], output, gates, cells, ctx.needs_x, ctx.needs_state, *inputs, *ctx.mode
    )
    has_ih, has_hh = ctx.biases
    grad_hh = grad_b.clone() if has_ih and has_hh else grad_b  # two parameters must not share a gradient
    return (
        grad_x if ctx.needs_x else None,
        *((grad_h, grad_c) if ctx.needs_state else (None, None)),
        *(grad_W, grad_U, grad_b if has_ih else None, grad_hh if has_hh else None),
        *(None, None),
    )


lstm_forward.register_autograd(
    lambda ctx, *grads: (*_gradient(lstm_backward, ctx, *grads), *[None] * len(Mode._fields)),
    setup_context=_save_for_backward,
)


class _LSTMFunction(torch.autograd.Function):
    """`lstm_forward` with its gradient, without torch's dispatch of Python operators (0.3 ms per call)."""

    @staticmethod
    def forward(ctx: Any, equations: Equations, mode: Mode, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        ctx.equations = equations
        result = _forward(*inputs, *mode)
        _save_for_backward(ctx, (*inputs, *mode), result)
        return result[:3]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        if torch.is_grad_enabled() or is_batched(grads):  # create_graph=True, is_grads_batched=True
            return (
                None,
                None,
                *differentiable_gradients(lambda views: ctx.equations(Inputs(*views)), ctx.saved_tensors[:9], grads),
            )
        return None, None, *_gradient(_backward, ctx, *grads)


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


# Helpers ------------------------------------------------------------------------------------------------------------


def _map(function: Callable[[Tensor], Tensor], inputs: Inputs) -> Inputs:
    return Inputs(*(None if tensor is None else function(tensor) for tensor in inputs))  # type: ignore[arg-type]


def _checked(inputs: Inputs) -> Inputs:
    """Return contiguous tensors; raise DataError if the native code would read beyond the end of one."""
    library.check(inputs)
    if inputs.lengths is not None:  # in a compiled graph, which checks them at any time, nobody else has done so
        low, high = torch.aminmax(inputs.lengths)
        if low < 1 or high > len(inputs.x):
            raise DataError(f"lengths must be from 1 to T = {len(inputs.x)}, got {inputs.lengths.tolist()}")
    return _map(torch.Tensor.contiguous, inputs)


def _shapes_of_saved(x: Tensor, h: Tensor, save: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of the activations that `_forward` saves: gates and cell states, or h and c before every k steps."""
    (T, B, _), H = x.shape, h.shape[1]
    if save == SAVE_ALL:
        return (T, B, 4, H), (T, B, H)
    return (0,), (0,) if save == SAVE_NOTHING else (-(-T // save), 2, B, H)


def _chunks(T: int, steps: int, *, last_first: bool) -> list[tuple[int, int]]:
    """Return (begin, end) of each chunk of at most `steps` steps out of T."""
    chunks = [(begin, min(begin + steps, T)) for begin in range(0, T, steps)]
    return chunks[::-1] if last_first else chunks
