"""LSTM networks made of cells: sequences, layers and directions.

Shapes: B batch, T time, I input size, H hidden size, L layers, D directions (1 or 2).
"""

from collections.abc import Sequence
from typing import Self, TypeVar, Unpack, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from reviver.config import Count, Probability
from reviver.errors import DataError
from reviver.lstm import convert, kernel, scan
from reviver.lstm.cell import LSTMCell, LSTMState
from reviver.lstm.dropout import apply_dropout, draw_seed, hidden_masks
from reviver.lstm.options import LSTMKeywords, LSTMOptions
from reviver.lstm.precision import bf16_linear
from reviver.lstm.transforms import autocast_dtype, plain_values
from reviver.validation import check

Batch = TypeVar("Batch", Tensor, PackedSequence)


def unroll(
    cell: LSTMCell,
    x: Tensor,
    state: LSTMState,
    lengths: Tensor | None,
    *,
    reverse: bool,
    options: LSTMOptions,
    seed: Tensor | None,
) -> tuple[Tensor, LSTMState]:
    """Run a cell over a sequence, step by step.

    This is the reference that `kernel.unroll` is tested against.

    Args:
        cell: the cell.
        x: input, [T, B, I].
        state: state before the first step, [B, H] each.
        lengths: number of steps of each sequence of the batch, [B] int64; all T if None. After its last step a
            sequence keeps its state, and its output is 0.
        reverse: run from the last step to the first.
        options: dropout of the hidden state. The precision is that of `cell.linear`.
        seed: seed of the dropout masks in training, [] int64; None in eval mode.

    Returns:
        The hidden state after each step, [T, B, H] in the order of x, and the state after the last step.
    """
    if torch.compiler.is_exporting():
        return scan.unroll(cell, x, state, lengths, reverse=reverse, options=options, seed=seed)
    masks = hidden_masks(x, cell.hidden_size, options, seed)  # [T, B, H] or None
    steps = range(len(x))
    outputs = [state.h] * len(x)
    for t in reversed(steps) if reverse else steps:
        new, _ = cell(x[t], state)
        if masks is not None:
            new = LSTMState(apply_dropout(new.h, state.h, masks[t], options.hidden_dropout_kind), new.c)
        if lengths is None:
            state, outputs[t] = new, new.h
        else:
            active = (t < lengths).unsqueeze(1)  # [B, 1]
            state = LSTMState(torch.where(active, new.h, state.h), torch.where(active, new.c, state.c))
            outputs[t] = torch.where(active, new.h, 0.0)
    return torch.stack(outputs), state


class LSTM(nn.Module):
    """A multi-layer LSTM, called like `torch.nn.LSTM`.

    Without `hidden_dropout` it computes the same as `torch.nn.LSTM` with the same weights.

    Args:
        input_size: I.
        hidden_size: H, the units per layer and direction.
        num_layers: L; each layer reads the output of the layer below.
        batch_first: x and output are [B, T, ...] instead of [T, B, ...]; states are [D·L, B, H] either way.
        dropout: probability to drop a unit between two layers in training, in [0, 1).
        bidirectional: add a cell per layer that reads the sequence backward, and concatenate the outputs.
        device: device of the parameters.
        dtype: dtype of the parameters.
        **options: fields of `LSTMOptions`: `hidden_dropout`, `hidden_dropout_kind`, `precision` and
            `activation_checkpoint_steps`.

    Attributes:
        layers: cells in the order of the state: layer 0 forward, layer 0 backward, layer 1 forward, ...
        options: the `LSTMOptions` of all cells.

    Raises:
        ConfigError: if an argument is out of range.
        TypeError: if an option is unknown.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Unpack[LSTMKeywords],
    ) -> None:
        super().__init__()
        check("num_layers", num_layers, Count)
        check("dropout", dropout, Probability)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.batch_first = batch_first
        self.dropout = dropout
        self.bidirectional = bidirectional
        self.options = LSTMOptions(**options)
        linear = bf16_linear if self.options.precision == "bf16" else functional.linear
        self.layers = nn.ModuleList(
            LSTMCell(size, hidden_size, linear=linear, device=device, dtype=dtype)
            for size in [input_size] + [self.num_directions * hidden_size] * (num_layers - 1)
            for _ in range(self.num_directions)
        )

    @property
    def num_directions(self) -> int:
        """D: 2 if bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    @property
    def cells(self) -> list[LSTMCell]:
        """The modules of `layers`, typed."""
        return cast("list[LSTMCell]", list(self.layers))

    def cells_by_layer(self) -> list[list[LSTMCell]]:
        """Return the D cells of each layer, forward first."""
        cells, D = self.cells, self.num_directions
        return [cells[begin : begin + D] for begin in range(0, len(cells), D)]

    def reset_parameters(self, rng: torch.Generator | None = None) -> None:
        """Sample new weights for every cell, see `LSTMCell.reset_parameters`."""
        for cell in self.cells:
            cell.reset_parameters(rng)

    def forward(
        self,
        x: Batch,
        state: LSTMState | tuple[Tensor, Tensor] | None = None,
        lengths: Tensor | Sequence[int] | None = None,
        *,
        rng: torch.Generator | None = None,
    ) -> tuple[Batch, LSTMState]:
        """Run over a batch of sequences or over a single one.

        Args:
            x: [T, B, I], or [B, T, I] with `batch_first`, or [T, I] for a single sequence, with T and B at least 1;
                or a `PackedSequence`, then the output is one, too.
            state: (h, c) before the first step, [D·L, B, H] each ([D·L, H] for a single sequence); zeros if None.
            lengths: number of steps of each sequence of the batch, from 1 to T, [B]; all T if None. The final state
                is the one after the last step of each sequence; the output after it is 0.
            rng: source of the dropout masks; torch's default generator if None.

        Returns:
            The hidden state of the top layer after each step, [T, B, D·H] in the layout of x, and the final state
            of all cells, [D·L, B, H] each. In training with hidden dropout, h is the state after dropout.

        Raises:
            DataError: if a shape or a length does not fit.
        """
        if isinstance(x, PackedSequence):
            if lengths is not None:
                raise DataError("lengths must be None for a PackedSequence, which has its own; remove them")
            padded, lengths = pad_packed_sequence(x, self.batch_first)
            padded, last = self(padded, state, lengths, rng=rng)
            packed = pack_padded_sequence(padded, lengths, self.batch_first, enforce_sorted=False)
            return PackedSequence(packed.data, *x[1:]), last

        batched, dtype = x.dim() == 3, autocast_dtype(x)
        x, h, c = self._as_time_first(x, state)  # [T, B, I], [D·L, B, H] each
        lengths = None if lengths is None else self._checked_lengths(lengths, x)
        drops_hidden = self.training and self.options.hidden_dropout > 0.0

        finals: list[LSTMState] = []  # [B, H] each
        for layer, cells in enumerate(self.cells_by_layer()):
            outputs = []
            for direction, cell in enumerate(cells):
                start = LSTMState(h[len(finals)], c[len(finals)])  # [B, H] each
                seed = draw_seed(rng) if drops_hidden else None
                run = kernel.unroll if kernel.applies(x, *start, *cell.weights()) else unroll
                output, final = run(
                    cell, x, start, lengths, reverse=direction == 1, options=self.options, seed=seed
                )  # [T, B, H], [B, H] each
                outputs.append(output)
                finals.append(final)
            x = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)  # [T, B, D·H]
            if self.training and self.dropout > 0.0 and layer < self.num_layers - 1:
                uniform = torch.rand(x.shape, device=x.device, dtype=x.dtype, generator=rng)
                x = x * (uniform >= self.dropout) / (1.0 - self.dropout)

        last = LSTMState(*(torch.stack(states) for states in zip(*finals, strict=True)))  # [D·L, B, H] each
        if x.dtype != dtype:
            x, last = x.to(dtype), LSTMState(last.h.to(dtype), last.c.to(dtype))
        if not batched:
            return x.squeeze(1), LSTMState(last.h.squeeze(1), last.c.squeeze(1))
        return x.transpose(0, 1) if self.batch_first else x, last

    def _checked_lengths(self, lengths: Tensor | Sequence[int], x: Tensor) -> Tensor:
        """Validate the lengths of a batch x [T, B, I]; return them as int64 [B] on the device of x."""
        steps, batch, _ = x.shape
        checked = torch.as_tensor(lengths, dtype=torch.int64, device=x.device)
        if checked.shape != (batch,):
            raise DataError(f"lengths must have the shape [B] = [{batch}], got {list(checked.shape)}")
        values = checked if torch.compiler.is_compiling() else plain_values(checked)
        outside = ((values < 1) | (values > steps)).any()
        if torch.compiler.is_compiling():  # the graph checks them when it runs
            torch._assert_async(~outside, "lengths must be from 1 to T, the number of steps of x")
        elif bool(outside):
            raise DataError(f"lengths must be from 1 to T = {steps}, got {values.tolist()}")
        return checked

    def _as_time_first(
        self, x: Tensor, state: LSTMState | tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Validate the shapes of a call; return x as [T, B, I] and the initial h and c as [D·L, B, H]."""
        if x.dim() not in (2, 3) or x.shape[-1] != self.input_size or 0 in x.shape:
            allowed = f"{'[B, T, I]' if self.batch_first else '[T, B, I]'} or [T, I] with I = {self.input_size}"
            raise DataError(f"x must be {allowed} and no empty axis, got shape {list(x.shape)}")
        if x.dim() == 2:
            x = x.unsqueeze(1)
            state = None if state is None else (state[0].unsqueeze(1), state[1].unsqueeze(1))
        elif self.batch_first:
            x = x.transpose(0, 1)
        shape = (len(self.layers), x.shape[1], self.hidden_size)
        if state is None:
            zeros = x.new_zeros(shape)
            return x, zeros, zeros
        for name, tensor in zip(("h", "c"), state, strict=True):
            if tensor.shape != shape:
                raise DataError(f"{name} must have the shape [D·L, B, H] = {list(shape)}, got {list(tensor.shape)}")
        return x, state[0], state[1]

    @classmethod
    def from_torch(cls, lstm: nn.LSTM, **options: Unpack[LSTMKeywords]) -> Self:
        """Return an LSTM with the weights of a `torch.nn.LSTM`, see `convert.from_torch`."""
        return convert.from_torch(cls, lstm, **options)

    def to_torch(self) -> nn.LSTM:
        """Return a `torch.nn.LSTM` with these weights, see `convert.to_torch`."""
        return convert.to_torch(self)

    def extra_repr(self) -> str:
        """Return the arguments that `print` shows."""
        shown = f"{self.input_size}, {self.hidden_size}, hidden_dropout={self.options.hidden_dropout}"
        return shown if self.options.precision == "fp32" else f"{shown}, precision={self.options.precision}"
