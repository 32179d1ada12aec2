"""What all recurrent layers share: layouts of a batch, layers and directions, lengths.

Shapes: B batch, T time, I input size, H hidden size, P projection size (H if there is no projection), L layers,
D directions (1 or 2).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from reviver.errors import DataError
from reviver.recurrent import kernel, native_pass
from reviver.recurrent.dropout import draw_seed
from reviver.recurrent.grammar import Cell
from reviver.rng import Rng, rand
from reviver.settings.lstm_network import OPTIONS, LSTMOptions


class RecurrentLayers(nn.Module):
    """What `LSTM` and `RNN` share: options as attributes, the layouts of a batch, layers and directions."""

    options: LSTMOptions
    input_size: int
    num_layers: int
    num_directions: int
    batch_first: bool
    dropout: float
    state_sizes: tuple[int, ...]
    """Sizes of the states of a cell; the first is h."""
    cell: Cell
    held_weights: Any
    """Function that returns the weights of cell `at`, 0 forward, 0 backward, 1 ..., and what each holds, see `native_pass.run`."""

    @property
    def weight_dtype(self) -> torch.dtype:
        """Dtype of the weights."""
        return next(self.parameters()).dtype

    def __getattr__(self, name: str) -> Any:
        """Return an option by its name."""
        return getattr(self.options, name) if name in OPTIONS else super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; an option becomes a part of `options`."""
        if name in OPTIONS:
            name, value = "options", replace(self.options, **{name: value})
        super().__setattr__(name, value)

    def fits(self, x: Tensor) -> bool:
        """Return whether an input has a shape and a dtype that `forward` takes."""
        time = 1 if self.batch_first and x.dim() == 3 else 0
        if x.dim() not in (2, 3) or x.shape[-1] != self.input_size or x.shape[time] == 0:
            return False
        return x.dtype == self.weight_dtype or (kernel.autocast_dtype(x) is not None and x.is_floating_point())

    def run_batch(
        self,
        x: Tensor,
        state: Sequence[Tensor | None],
        lengths: Tensor | Sequence[int] | None,
        rng: Rng,
        run: Callable[..., tuple[Tensor, Sequence[Tensor]]],
    ) -> tuple[Tensor, list[Tensor]]:
        """Run over a batch or a single sequence in the layout of `forward`; return the output and the final states.

        A state that is None is 0. `run` is `run_layers`, or another function with its arguments.
        """
        batched = x.dim() == 3
        # as in `torch.nn.LSTM`, autocast leaves float64
        dtype = x.dtype if x.dtype == torch.float64 else kernel.autocast_dtype(x) or x.dtype
        x = self._widened(x)
        x = x if batched else x.unsqueeze(1)
        x = x.transpose(0, 1) if self.batch_first and batched else x  # [T, B, I]
        depth = self.num_layers * self.num_directions
        start = [
            x.new_zeros(depth, x.shape[1], size)
            if entry is None
            else self._widened(entry if batched else entry.unsqueeze(1))
            for entry, size in zip(state, self.state_sizes, strict=True)
        ]
        output, end = run(x, start, None if lengths is None else checked_lengths(lengths, x), rng)
        return self.in_layout(output.to(dtype), batched), [(e if batched else e.squeeze(1)).to(dtype) for e in end]

    def _widened(self, tensor: Tensor) -> Tensor:
        """Return a tensor that autocast may have rounded, in the layer or the call before, in the dtype of the weights."""
        return tensor.to(self.weight_dtype) if tensor.dtype in (torch.bfloat16, torch.float16) else tensor

    def in_layout(self, values: Tensor, batched: bool) -> Tensor:
        """Return values of every step [T, B, ...] in the layout of the input."""
        if not batched:
            return values.squeeze(1)
        return values.transpose(0, 1) if self.batch_first else values

    def run_packed(
        self, sequence: PackedSequence, lengths: object, run: Callable[[Tensor, Tensor], tuple[Tensor, Any]]
    ) -> tuple[PackedSequence, Any]:
        """Run over a `PackedSequence` by `run(padded, lengths)`; the output has its order of rows, which nothing sorts again."""
        if lengths is not None:
            raise DataError("lengths must be None for a PackedSequence, which has its own; remove them")
        data, batch_sizes, order, _ = sequence
        sizes = batch_sizes.to(data.device)  # sequences that have a step t, [T]
        steps, batch = len(sizes), int(batch_sizes[0])
        column = torch.arange(batch, device=data.device)
        inside = column < sizes.unsqueeze(1)  # [T, B], longest sequence first
        lengths = inside.sum(0)
        if order is not None:
            column, lengths = order, torch.empty_like(lengths).index_copy(0, order, lengths)
        time = torch.arange(steps, device=data.device).unsqueeze(1)
        # [T, B], rows of the padded batch
        places = column * steps + time if self.batch_first else time * batch + column
        rows, shape = places[inside], (batch, steps) if self.batch_first else (steps, batch)
        padded = data.new_zeros(steps * batch, data.shape[1]).index_copy(0, rows, data).view(*shape, -1)
        output, state = run(padded, lengths)
        return PackedSequence(output.flatten(0, 1).index_select(0, rows), *sequence[1:]), state

    def run_cell(
        self, at: int, x: Tensor, start: Sequence[Tensor], lengths: Tensor | None, seed: Tensor | None
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """Run cell `at`, 0 forward, 0 backward, 1 ..., over x [T, B, I]; return each h and the last states, [B, ...]."""
        names, weights = self.held_weights(at)
        reverse = at % self.num_directions == 1
        return native_pass.run(self.cell, names, weights, x, start, lengths, self.options, seed, reverse)

    def run_layers(
        self, x: Tensor, start: Sequence[Tensor], lengths: Tensor | None, rng: Rng, run_cell: Any = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Run all cells over x [T, B, I]; return the output [T, B, D·H] and the final states, [D·L, B, ...] each.

        With `run_cell`, which then runs each cell, there is no dropout.
        """
        training = self.training and run_cell is None
        finals: list[Sequence[Tensor]] = []  # torch.compile reads no list[...]()
        for layer in range(self.num_layers):
            outputs = []
            for _ in range(self.num_directions):
                seed = draw_seed(rng) if training and self.options.hidden_dropout > 0.0 else None
                at = len(finals)
                output, final = (run_cell or self.run_cell)(at, x, [entry[at] for entry in start], lengths, seed)
                outputs.append(output)  # [T, B, H]
                finals.append(final)
            x = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)  # [T, B, D·H]
            if training and layer < self.num_layers - 1 and self.dropout > 0.0:
                uniform = rand(x.shape, rng, dim=1, device=x.device, dtype=x.dtype)
                x = x * (uniform >= self.dropout) / ((1.0 - self.dropout) or 1.0)  # all 0 for dropout 1
        if len(finals) == 1:
            return x, [entry.unsqueeze(0) for entry in finals[0]]  # without copies
        return x, [torch.stack(entries) for entries in zip(*finals, strict=True)]


@torch.no_grad()
def chrono(layer: Any, max_length: int, rng: torch.Generator | None = None) -> None:
    """Set the gate biases of every cell so that its units forget over a range of time scales (chrono initialization).

    Tallec & Ollivier (2018), "Can recurrent neural networks warp time?", with T_max the `max_length` in steps:

        b_f ~ log U(1, T_max - 1)
        b_i = -b_f

    A unit with forget gate σ(b_f) = 1 - 1/τ remembers for about τ = 1 + exp(b_f) steps, so τ is uniform from 2 to
    T_max. b_i scales the input by the part that is forgotten; a text may lack it.

    `layer` is an `LSTM` with biases or an `RNN`, whose text must have a vector b_f, else this is a ConfigError.
    """
    for b_i, b_f in layer.gate_biases():
        b_f.uniform_(1.0, max(1.0, max_length - 1.0), generator=rng).log_()
        if b_i is not None:
            b_i.copy_(-b_f)


def integer_lengths(lengths: Tensor | Sequence[int], device: torch.device) -> Tensor:
    """Return lengths as int64 on a device; raise DataError unless they are integers."""
    given = torch.as_tensor(lengths, device=device)
    if given.numel() and (given.is_floating_point() or given.is_complex() or given.dtype == torch.bool):
        raise DataError(f"lengths must be integers, got {str(given.dtype).removeprefix('torch.')}; round them yourself")
    return given.to(torch.int64)


def checked_lengths(lengths: Tensor | Sequence[int], x: Tensor) -> Tensor:
    """Validate the lengths of a batch x [T, B, I]; return them as int64 [B] on the device of x."""
    steps, batch, _ = x.shape
    checked = integer_lengths(lengths, x.device)
    if checked.shape != (batch,):
        raise DataError(f"lengths must have the shape [B] = [{batch}], got {list(checked.shape)}")
    values = checked if torch.compiler.is_compiling() else torch.func.debug_unwrap(checked)  # under vmap all of them
    outside = ((values < 1) | (values > steps)).any()
    if torch.compiler.is_compiling():  # the graph checks them when it runs
        # Private: it alone stays in an exported program.
        torch._assert_async(~outside, "lengths must be from 1 to T, the number of steps of x")
    elif not x.is_meta and bool(outside):
        raise DataError(f"lengths must be from 1 to T = {steps}, got {values.tolist()}")
    return checked


def is_inside(lengths: Tensor, steps: int) -> Tensor:
    """Return whether each of T = `steps` steps is one of its sequence, [B, T, 1] bool, for the lengths [B] of a batch."""
    return (torch.arange(steps, device=lengths.device) < lengths.unsqueeze(1)).unsqueeze(2)
